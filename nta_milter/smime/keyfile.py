"""One key file, PKCS#12 or PEM: its private keys, each with its certificates and their chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asn1crypto import keys, pem
from cryptography.hazmat.primitives import serialization

from nta_milter.errors import KeyStoreError
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.compatibility import PARSE_ERRORS, load_private_key
from nta_milter.smime.pkcs12 import Contents, WrongPassword, decrypt_private_key, read_pkcs12

CHAIN_LIMIT = 10

_CERTIFICATE_LABELS = {"CERTIFICATE", "X509 CERTIFICATE"}
_DER, _PKCS8 = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8


def read_key_file(
    data: bytes, passwords: Sequence[bytes] = ()
) -> list[tuple[Certificate, Any, tuple[Certificate, ...]]]:
    """Every certificate of ``data`` that has its private key there, with the key and the chain.

    ``passwords`` are tried in order, then none. Raises WrongPassword, KeyStoreError, CertificateError.
    """
    contents = _read(data, passwords)
    if not contents.keys:
        raise KeyStoreError("the file holds no private key")
    found = []
    for der in contents.keys:
        own, key = _load(der, contents.certificates)
        found += [(certificate, key, _chain(certificate, contents.certificates)) for certificate in own]
    return found


def _read(data: bytes, passwords: Sequence[bytes]) -> Contents:
    armored = b"-----BEGIN " in data[:65_536]
    if not armored and not data.startswith(b"\x30"):
        raise KeyStoreError("neither a PKCS#12 nor a PEM file")
    reader = _read_pem if armored else read_pkcs12
    for password in passwords:
        try:
            return reader(data, password)
        except WrongPassword:
            continue
    return reader(data, b"")


def _read_pem(data: bytes, password: bytes) -> Contents:
    """Read certificates and private keys of RFC 7468, the traditional forms of OpenSSL, armored PKCS#12."""
    try:
        blocks = list(pem.unarmor(data, multiple=True))
    except PARSE_ERRORS as error:
        raise KeyStoreError("the PEM text is damaged") from error
    found_keys = []
    certificates = []
    for label, headers, der in blocks:
        if label in _CERTIFICATE_LABELS:
            certificates.append(Certificate.from_der(der))
        elif label == "ENCRYPTED PRIVATE KEY":
            found_keys.append(decrypt_private_key(der, password))
        elif label.endswith("PRIVATE KEY"):
            found_keys.append(_to_pkcs8(label, headers, der, password))
        elif label == "PKCS12":
            inside = read_pkcs12(der, password)
            found_keys += inside.keys
            certificates += inside.certificates
    return Contents(tuple(dict.fromkeys(found_keys)), tuple(dict.fromkeys(certificates)))


def _to_pkcs8(label: str, headers: dict[str, str], der: bytes, password: bytes) -> bytes:
    encrypted = "DEK-Info" in headers
    try:
        if label == "PRIVATE KEY":
            return der
        if label == "RSA PRIVATE KEY" and not encrypted:
            wrapped: bytes = keys.PrivateKeyInfo.wrap(keys.RSAPrivateKey.load(der, strict=True), "rsa").dump()
            return wrapped
        text = pem.armor(label, der, headers)
        key = serialization.load_pem_private_key(text, password if encrypted else None)
        return key.private_bytes(_DER, _PKCS8, serialization.NoEncryption())
    except PARSE_ERRORS as error:
        if encrypted:
            raise WrongPassword("the password does not open the private key") from error
        raise KeyStoreError(f"the {label} is not one that we can read") from error


def _load(der: bytes, certificates: Sequence[Certificate]) -> tuple[list[Certificate], Any]:
    """Find the certificates of a private key and load it."""
    try:
        info = keys.PrivateKeyInfo.load(der, strict=True)
        if info["private_key_algorithm"]["algorithm"].native in {"rsa", "rsassa_pss"}:
            return _load_rsa(info, der, certificates)
        key = load_private_key(der)
        public = _spki(key.public_key())
        own = [c for c in certificates if _spki(c.public_key) == public]
    except PARSE_ERRORS as error:
        raise KeyStoreError(f"a private key cannot be read ({type(error).__name__})") from error
    if not own:
        raise KeyStoreError("a private key has no certificate in the file")
    return own, key


def _load_rsa(info: Any, der: bytes, certificates: Sequence[Certificate]) -> tuple[list[Certificate], Any]:
    """An RSA key: compared with the certificate and checked for consistency, so that it loads fast.

    The equations show that the numbers belong together: a wrong CRT exponent would betray a factor with
    the first signature. That the factors are primes is the word of whoever made the file.
    """
    numbers = info["private_key"].parsed
    n, e, d, p, q = (
        numbers[name].native
        for name in ("modulus", "public_exponent", "private_exponent", "prime1", "prime2")
    )
    own = [
        c
        for c in certificates
        if c.algorithm.startswith("rsa")
        and (c.public_key.public_numbers().n, c.public_key.public_numbers().e) == (n, e)
    ]
    if not own:
        raise KeyStoreError("a private key has no certificate in the file")
    consistent = (
        p > 1
        and q > 1
        and p * q == n
        and all(e * x % (y - 1) == 1 for x, y in ((d, p), (d, q)))
        and numbers["exponent1"].native == d % (p - 1)
        and numbers["exponent2"].native == d % (q - 1)
        and numbers["coefficient"].native * q % p == 1
    )
    if not consistent:
        raise KeyStoreError("the numbers of an RSA private key do not belong together")
    return own, load_private_key(der, checked=True)


def _spki(key: Any) -> bytes:
    der: bytes = key.public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def _chain(certificate: Certificate, others: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The issuers of ``certificate`` in ``others``, from the nearest upwards, without a root."""
    chain: list[Certificate] = []
    current = certificate
    while len(chain) < CHAIN_LIMIT and current.issuer != current.subject_name:
        issuers = [c for c in others if c.subject_name == current.issuer and c.is_authority]
        issuers = [c for c in issuers if c not in chain and c.issuer != c.subject_name]
        if not issuers:
            break
        current = max(issuers, key=lambda c: c.not_after)
        chain.append(current)
    return tuple(chain)
