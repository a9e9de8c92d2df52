"""Key agreement: ECDH-ES and X9.63 KDF (RFC 5753), X25519 and X448 with HKDF (RFC 8418), AES key wrap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives import constant_time, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from nta_milter.errors import MalformedCms, UnsupportedCms
from nta_milter.smime import tlv
from nta_milter.smime.algorithm import (
    CURVES,
    EC_PUBLIC_KEY,
    SHA1,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
    X448,
    X25519,
    AlgorithmIdentifier,
    Digest,
    algorithm_identifier,
    digest_for_size,
    encode_algorithm,
)
from nta_milter.smime.compatibility import PARSE_ERRORS, triple_des
from nta_milter.smime.tlv import identifier

_UNWRAP_ERRORS: tuple[type[Exception], ...] = (*PARSE_ERRORS, InvalidUnwrap)

AgreementKey = ec.EllipticCurvePublicKey | x25519.X25519PublicKey | x448.X448PublicKey

_STANDARD = {
    SHA1: identifier("1.3.133.16.840.63.0.2"),
    SHA224: identifier("1.3.132.1.11.0"),
    SHA256: identifier("1.3.132.1.11.1"),
    SHA384: identifier("1.3.132.1.11.2"),
    SHA512: identifier("1.3.132.1.11.3"),
}
_COFACTOR = {
    SHA1: identifier("1.3.133.16.840.63.0.3"),
    SHA224: identifier("1.3.132.1.14.0"),
    SHA256: identifier("1.3.132.1.14.1"),
    SHA384: identifier("1.3.132.1.14.2"),
    SHA512: identifier("1.3.132.1.14.3"),
}
_HKDF = {
    SHA256: identifier("1.2.840.113549.1.9.16.3.19"),
    SHA384: identifier("1.2.840.113549.1.9.16.3.20"),
    SHA512: identifier("1.2.840.113549.1.9.16.3.21"),
}
_WRAPS = {
    identifier("2.16.840.1.101.3.4.1.5"): 16,
    identifier("2.16.840.1.101.3.4.1.25"): 24,
    identifier("2.16.840.1.101.3.4.1.45"): 32,
}
_WRAP_BY_LENGTH = {length: oid for oid, length in _WRAPS.items()}
_TRIPLE_DES_WRAP = identifier("1.2.840.113549.1.9.16.3.6")
_TRIPLE_DES_VECTOR = bytes.fromhex("4adda22c79e82105")


@dataclass(frozen=True, slots=True)
class Scheme:
    """One keyEncryptionAlgorithm of a KeyAgreeRecipientInfo; the key wrap's length is in octets."""

    name: str
    digest: Digest
    hkdf: bool
    wrap: bytes
    wrap_length: int
    triple_des: bool = False


# Cofactor and standard Diffie-Hellman are the same on these curves, whose cofactor is 1 (RFC 5753, 7.1.4).
_SCHEMES = {
    **{oid: (f"ecdh-std-{digest.name}kdf", digest, False) for digest, oid in _STANDARD.items()},
    **{oid: (f"ecdh-cofactor-{digest.name}kdf", digest, False) for digest, oid in _COFACTOR.items()},
    **{oid: (f"ecdh-std-hkdf-{digest.name}", digest, True) for digest, oid in _HKDF.items()},
}


def scheme(algorithm: AlgorithmIdentifier) -> Scheme:
    """Read a keyEncryptionAlgorithm.

    Raises:
        MalformedCms: it does not name a key wrap.
        UnsupportedCms: a key derivation or key wrap that we do not know.
    """
    if algorithm.oid not in _SCHEMES:
        raise UnsupportedCms(f"unknown key agreement {tlv.dotted(algorithm.oid)}")
    if algorithm.parameters is None:
        raise MalformedCms("a key agreement without a key wrap")
    wrap = algorithm_identifier(algorithm.parameters, "key wrap")
    name, digest, hkdf = _SCHEMES[algorithm.oid]
    if wrap.oid == _TRIPLE_DES_WRAP:
        return Scheme(name, digest, hkdf, wrap.raw, 24, triple_des=True)
    if wrap.oid not in _WRAPS:
        raise UnsupportedCms(f"unknown key wrap {tlv.dotted(wrap.oid)}")
    return Scheme(name, digest, hkdf, wrap.raw, _WRAPS[wrap.oid])


def derive(how: Scheme, secret: bytes, user_keying_material: bytes | None) -> bytes:
    """The key-encryption key (RFC 5753 section 7.2, RFC 8418 section 2.2)."""
    material = b"" if user_keying_material is None else tlv.octet_string(user_keying_material)
    info = tlv.sequence(
        how.wrap,
        tlv.tlv(tlv.context(0), material) if material else b"",
        tlv.tlv(tlv.context(2), tlv.octet_string((how.wrap_length * 8).to_bytes(4, "big"))),
    )
    if how.hkdf:
        return HKDF(how.digest.primitive(), how.wrap_length, salt=None, info=info).derive(secret)
    return x963(how.digest, secret, info, how.wrap_length)


def x963(digest: Digest, secret: bytes, info: bytes, length: int) -> bytes:
    """The key derivation function of ANSI X9.63 (RFC 5753 section 7.2 names it); ``length`` in octets."""
    blocks = range(1, -(-length // digest.length) + 1)
    return b"".join(digest.new(secret + block.to_bytes(4, "big") + info).digest() for block in blocks)[
        :length
    ]


def _point(key: AgreementKey) -> bytes:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@lru_cache(maxsize=64)
def _choice(kind: str, bits: int, wrap_length: int) -> tuple[Scheme, bytes, bytes]:
    """What we write for a type of key: scheme, keyEncryptionAlgorithm, originator's algorithm."""
    digest = digest_for_size(bits)
    wrap = encode_algorithm(_WRAP_BY_LENGTH[wrap_length])
    hkdf = kind != "ec"
    oid = (_HKDF if hkdf else _STANDARD)[digest]
    originator = encode_algorithm({"ec": EC_PUBLIC_KEY, "x25519": X25519, "x448": X448}[kind])
    return Scheme(_SCHEMES[oid][0], digest, hkdf, wrap, wrap_length), encode_algorithm(oid, wrap), originator


def write(public_key: AgreementKey, identifier: bytes, content_key: bytes) -> bytes:
    """A KeyAgreeRecipientInfo (RFC 5652 section 6.2.2) with an ephemeral key for this content key."""
    ephemeral: Any
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        ephemeral = ec.generate_private_key(public_key.curve)
        secret = ephemeral.exchange(ec.ECDH(), public_key)
        kind, bits = "ec", public_key.curve.key_size
    elif isinstance(public_key, x25519.X25519PublicKey):
        ephemeral = x25519.X25519PrivateKey.generate()
        secret = ephemeral.exchange(public_key)
        kind, bits = "x25519", 256
    else:
        ephemeral = x448.X448PrivateKey.generate()
        secret = ephemeral.exchange(public_key)
        kind, bits = "x448", 512
    how, algorithm, originator = _choice(kind, bits, 32 if len(content_key) > 16 else 16)
    wrapped = aes_key_wrap(derive(how, secret, None), content_key)
    public = tlv.tlv(tlv.context(1), originator, tlv.bit_string(_point(ephemeral.public_key())))
    return tlv.tlv(
        tlv.context(1),
        tlv.integer(3),
        tlv.tlv(tlv.context(0), public),
        algorithm,
        tlv.sequence(tlv.sequence(identifier, tlv.octet_string(wrapped))),
    )


def unwrap(
    key: Any, how: Scheme, originator: bytes, user_keying_material: bytes | None, wrapped: bytes
) -> bytes | None:
    """The content key by our private key and the originator's point; None when it does not come out."""
    try:
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
            point = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, originator)
            secret = key.exchange(ec.ECDH(), point)
        elif isinstance(key, x25519.X25519PrivateKey):
            secret = key.exchange(x25519.X25519PublicKey.from_public_bytes(originator))
        elif isinstance(key, x448.X448PrivateKey):
            secret = key.exchange(x448.X448PublicKey.from_public_bytes(originator))
        else:
            return None
        wrapping_key = derive(how, secret, user_keying_material)
        return (triple_des_unwrap if how.triple_des else aes_key_unwrap)(wrapping_key, wrapped)
    except _UNWRAP_ERRORS:
        return None


def triple_des_unwrap(wrapping_key: bytes, wrapped: bytes) -> bytes:
    """The 3DES key in a 3DES key wrap (RFC 3217 section 3.2), for mail of the past.

    Raises:
        InvalidUnwrap: it is not intact.
    """
    if len(wrapped) != 40:
        raise InvalidUnwrap
    block = triple_des(wrapping_key)
    outer = Cipher(block, modes.CBC(_TRIPLE_DES_VECTOR)).decryptor().update(wrapped)[::-1]
    inner = Cipher(block, modes.CBC(outer[:8])).decryptor().update(outer[8:])
    if not constant_time.bytes_eq(SHA1.new(inner[:24]).digest()[:8], inner[24:]):
        raise InvalidUnwrap
    return inner[:24]
