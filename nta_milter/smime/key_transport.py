"""RSA key transport: RSAES-PKCS1-v1_5 (RFC 3370) and RSAES-OAEP (RFC 3560, RFC 8017)."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from nta_milter.errors import UnsupportedCms
from nta_milter.smime import tlv
from nta_milter.smime.algorithm import (
    RSA_ENCRYPTION,
    RSAES_OAEP,
    SHA256,
    AlgorithmIdentifier,
    encode_algorithm,
    encode_hash_parameters,
    hash_parameters,
)
from nta_milter.smime.compatibility import PARSE_ERRORS

_V15 = padding.PKCS1v15()
_OAEP = padding.OAEP(mgf=padding.MGF1(SHA256.primitive()), algorithm=SHA256.primitive(), label=None)
_V15_ALGORITHM = encode_algorithm(RSA_ENCRYPTION, tlv.NULL_VALUE)
_OAEP_ALGORITHM = encode_algorithm(RSAES_OAEP, encode_hash_parameters(SHA256))


@lru_cache(maxsize=4096)
def _prepared(identifier: bytes, version: int, transport: str, size: int) -> bytes:
    """Everything of a KeyTransRecipientInfo before the encrypted key of ``size`` octets."""
    algorithm = _OAEP_ALGORITHM if transport == "oaep" else _V15_ALGORITHM
    fixed = tlv.integer(version) + identifier + algorithm + tlv.header(tlv.OCTET_STRING, size)
    return tlv.header(tlv.SEQUENCE, len(fixed) + size) + fixed


def write(
    public_key: rsa.RSAPublicKey,
    identifier: bytes,
    version: int,
    transport: Literal["v15", "oaep"],
    content_key: bytes,
) -> bytes:
    """A KeyTransRecipientInfo (RFC 5652 section 6.2.1) for this content key."""
    encrypted = public_key.encrypt(content_key, _OAEP if transport == "oaep" else _V15)
    return _prepared(identifier, version, transport, len(encrypted)) + encrypted


def scheme(algorithm: AlgorithmIdentifier) -> tuple[str, padding.AsymmetricPadding]:
    """The name and the padding that a keyEncryptionAlgorithm stands for.

    Raises:
        MalformedCms: its parameters are not what RFC 8017 says.
        UnsupportedCms: it is no RSA key transport that we know.
    """
    if algorithm.oid == RSA_ENCRYPTION:
        return "rsaes-pkcs1-v1_5", _V15
    if algorithm.oid != RSAES_OAEP:
        raise UnsupportedCms(f"unknown key transport {tlv.dotted(algorithm.oid)}")
    found = hash_parameters(algorithm.parameters, "RSAES-OAEP parameters")
    return "rsaes-oaep", padding.OAEP(
        mgf=padding.MGF1(found.mask.primitive()),
        algorithm=found.digest.primitive(),
        label=found.label or None,
    )


def unwrap(key: rsa.RSAPrivateKey, how: padding.AsymmetricPadding, encrypted: bytes) -> bytes | None:
    """The content key, or None: the caller must not let the difference show (RFC 3218)."""
    try:
        return key.decrypt(encrypted, how)
    except PARSE_ERRORS:
        return None
