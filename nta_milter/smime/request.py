"""A new key pair and the request for its certificate (PKCS#10, RFC 2986)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nta_milter.errors import ConfigurationError

KEY_TYPES = ("rsa-3072", "rsa-2048", "rsa-4096", "p256", "p384")
"""What every S/MIME authority issues for; the first is the default."""

GATEWAY_LOCAL_PART = "domain-confidentiality-authority"
"""RFC 3183 section 3.2: by this name a sending gateway finds the certificate for a whole domain."""


@dataclass(frozen=True, slots=True)
class Request:
    """The private key (PKCS#8) and the request, both PEM, and the addresses that are asked for."""

    key: bytes
    request: bytes
    emails: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Request({', '.join(self.emails)})"


def make_request(
    names: Sequence[str],
    *,
    key_type: str = KEY_TYPES[0],
    common_name: str = "",
    organisation: str = "",
    password: bytes | None = None,
) -> Request:
    """Make a key pair and ask for ``names``: addresses, or domains for which a gateway's names are asked.

    ``password`` encrypts the private key (PBES2). Raises ConfigurationError for a name, an organisation
    or a key type that cannot be asked for.
    """
    emails = tuple(name if "@" in name else f"{GATEWAY_LOCAL_PART}@{name}" for name in names)
    domains = [name for name in names if "@" not in name]
    key = _generate(key_type)
    try:
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name or names[0])]
        if organisation:
            subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        alternative: list[x509.GeneralName] = [x509.RFC822Name(email) for email in emails]
        alternative += [x509.DNSName(domain) for domain in domains]
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name(subject))
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(_key_usage(rsa=isinstance(key, rsa.RSAPrivateKey)), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
            .sign(key, hashes.SHA256())
        )
    except (ValueError, TypeError, IndexError) as error:
        raise ConfigurationError(f"cannot be asked for: {error}", where=", ".join(names)) from error
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    return Request(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption),
        request.public_bytes(pem),
        emails,
    )


def _generate(key_type: str) -> Any:
    if key_type not in KEY_TYPES:
        raise ConfigurationError(f"{key_type} is not one of {', '.join(KEY_TYPES)}")
    if key_type == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if key_type == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65537, int(key_type.removeprefix("rsa-")))


def _key_usage(*, rsa: bool) -> x509.KeyUsage:
    """One key that signs and is encrypted to (RFC 8550 section 4.4.2)."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=rsa,
        data_encipherment=False,
        key_agreement=not rsa,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
