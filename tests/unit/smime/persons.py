"""Made-up people with keys and certificates for the tests of this folder; each is made once a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nta_milter.smime.certificate import Certificate, RecipientCertificate
from nta_milter.smime.keystore import KeyRing, PrivateKey
from nta_milter.smime.trust import Trust

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

KINDS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "other-rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "brainpool256": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "brainpool384": lambda: ec.generate_private_key(ec.BrainpoolP384R1()),
    "brainpool512": lambda: ec.generate_private_key(ec.BrainpoolP512R1()),
    "x25519": x25519.X25519PrivateKey.generate,
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "gateway": lambda: ec.generate_private_key(ec.SECP256R1()),
}
ENCRYPTING = tuple(kind for kind in KINDS if kind not in ("ed25519", "other-rsa", "gateway"))
SIGNING = tuple(kind for kind in KINDS if kind not in ("x25519", "other-rsa", "gateway"))


@lru_cache
def authority():
    # RSA, since node-forge writes certificates that ECDSA has signed anew, with NULL parameters
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Proef-CA")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2049, 1, 1))
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
    )
    return key, builder.sign(key, hashes.SHA256())


@lru_cache
def person(kind: str) -> PrivateKey:
    """Somebody at care.test whose key is of this kind; ``gateway`` is the domain itself."""
    issuer, issuer_certificate = authority()
    key = KINDS[kind]()
    names = [x509.DNSName("care.test")] if kind == "gateway" else [x509.RFC822Name(f"{kind}@care.test")]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Proefpersoon {kind}")]))
        .issuer_name(issuer_certificate.subject)
        .public_key(key.public_key())
        .serial_number(1000 + list(KINDS).index(kind))
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2046, 1, 1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    der = builder.sign(issuer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    certificate = Certificate.from_der(der)
    return PrivateKey(certificate, key, (), frozenset({f"{kind}@care.test"}), f"{kind}.p12")


def recipient(kind: str, transport: str = "v15") -> RecipientCertificate:
    return RecipientCertificate(person(kind).certificate, transport)


def ring(*kinds: str) -> KeyRing:
    return KeyRing(tuple(person(kind) for kind in kinds))


@lru_cache
def trust() -> Trust:
    der = authority()[1].public_bytes(serialization.Encoding.DER)
    return Trust([Certificate.from_der(der)])


def later(**span: int) -> datetime:
    return NOW + timedelta(**span)
