"""The algorithms that we know, by the names of the RFCs and by object identifier.

Sources: RFC 3370, RFC 3565 (AES-CBC), RFC 5084 (AES-GCM), RFC 5753 (ECDH), RFC 5754 (SHA-2), RFC 8017
(RSA), RFC 8418 (X25519), RFC 8419 (Ed25519), RFC 9709 (bound content keys).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from nta_milter.errors import MalformedCms, UnsupportedCms
from nta_milter.smime import tlv
from nta_milter.smime.tlv import Element, dotted, identifier

CipherName = Literal["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "aes-128-gcm", "aes-192-gcm", "aes-256-gcm"]

DATA = identifier("1.2.840.113549.1.7.1")
SIGNED_DATA = identifier("1.2.840.113549.1.7.2")
ENVELOPED_DATA = identifier("1.2.840.113549.1.7.3")
COMPRESSED_DATA = identifier("1.2.840.113549.1.9.16.1.9")
AUTH_ENVELOPED_DATA = identifier("1.2.840.113549.1.9.16.1.23")

RSA_ENCRYPTION = identifier("1.2.840.113549.1.1.1")
RSAES_OAEP = identifier("1.2.840.113549.1.1.7")
MGF1 = identifier("1.2.840.113549.1.1.8")
P_SPECIFIED = identifier("1.2.840.113549.1.1.9")
RSASSA_PSS = identifier("1.2.840.113549.1.1.10")
EC_PUBLIC_KEY = identifier("1.2.840.10045.2.1")
X25519 = identifier("1.3.101.110")
X448 = identifier("1.3.101.111")
ED25519 = identifier("1.3.101.112")
CEK_HKDF_SHA256 = identifier("1.2.840.113549.1.9.16.3.31")
ZLIB = identifier("1.2.840.113549.1.9.16.3.8")


@dataclass(frozen=True, slots=True)
class Cipher:
    """A content-encryption algorithm; ``key_length`` in octets. ``weak`` ones are opened, never written."""

    name: str
    oid: bytes
    key_length: int
    mode: Literal["cbc", "gcm"]
    block: Literal["aes", "3des"] = "aes"

    @property
    def authenticated(self) -> bool:
        """Whether the algorithm itself detects a change."""
        return self.mode == "gcm"

    @property
    def weak(self) -> bool:
        """Whether a reader should be told that it is out of date."""
        return self.block != "aes"


_CIPHERS = (
    Cipher("aes-128-cbc", identifier("2.16.840.1.101.3.4.1.2"), 16, "cbc"),
    Cipher("aes-192-cbc", identifier("2.16.840.1.101.3.4.1.22"), 24, "cbc"),
    Cipher("aes-256-cbc", identifier("2.16.840.1.101.3.4.1.42"), 32, "cbc"),
    Cipher("aes-128-gcm", identifier("2.16.840.1.101.3.4.1.6"), 16, "gcm"),
    Cipher("aes-192-gcm", identifier("2.16.840.1.101.3.4.1.26"), 24, "gcm"),
    Cipher("aes-256-gcm", identifier("2.16.840.1.101.3.4.1.46"), 32, "gcm"),
    Cipher("3des-cbc", identifier("1.2.840.113549.3.7"), 24, "cbc", "3des"),
)
_BY_OID = {cipher.oid: cipher for cipher in _CIPHERS}
_BY_NAME = {cipher.name: cipher for cipher in _CIPHERS if not cipher.weak}
_REFUSED = {
    identifier("1.2.840.113549.3.2"): "RC2-CBC",
    identifier("1.2.840.113549.3.4"): "RC4",
    identifier("1.3.14.3.2.7"): "DES-CBC",
    identifier("1.2.840.113549.1.9.16.3.18"): "ChaCha20-Poly1305",
}


def cipher(name: str) -> Cipher:
    """The cipher that we may write by its name in the configuration.

    Raises:
        UnsupportedCms: there is none of this name.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnsupportedCms(f"no content encryption {name!r}; known are {', '.join(_BY_NAME)}") from None


def cipher_of(oid: bytes) -> Cipher:
    """The cipher that we may open by its object identifier.

    Raises:
        UnsupportedCms: refused (RC2, RC4, DES) or unknown.
    """
    try:
        return _BY_OID[oid]
    except KeyError:
        name = _REFUSED.get(oid)
        raise UnsupportedCms(
            f"content encryption {name} is refused" if name else f"unknown content encryption {dotted(oid)}"
        ) from None


@dataclass(frozen=True, slots=True)
class Digest:
    """A message digest; ``weak`` ones are computed, and a signature over them is not good."""

    name: str
    oid: bytes
    length: int
    new: Callable[..., Any]
    primitive: Callable[[], hashes.HashAlgorithm]
    weak: bool = False


def _md5(data: bytes = b"") -> Any:
    return hashlib.md5(data, usedforsecurity=False)


def _sha1(data: bytes = b"") -> Any:
    return hashlib.sha1(data, usedforsecurity=False)


SHA1 = Digest("sha1", identifier("1.3.14.3.2.26"), 20, _sha1, hashes.SHA1, weak=True)
SHA224 = Digest("sha224", identifier("2.16.840.1.101.3.4.2.4"), 28, hashlib.sha224, hashes.SHA224)
SHA256 = Digest("sha256", identifier("2.16.840.1.101.3.4.2.1"), 32, hashlib.sha256, hashes.SHA256)
SHA384 = Digest("sha384", identifier("2.16.840.1.101.3.4.2.2"), 48, hashlib.sha384, hashes.SHA384)
SHA512 = Digest("sha512", identifier("2.16.840.1.101.3.4.2.3"), 64, hashlib.sha512, hashes.SHA512)
MD5 = Digest("md5", identifier("1.2.840.113549.2.5"), 16, _md5, hashes.MD5, weak=True)
SHA3_256 = Digest("sha3-256", identifier("2.16.840.1.101.3.4.2.8"), 32, hashlib.sha3_256, hashes.SHA3_256)
SHA3_384 = Digest("sha3-384", identifier("2.16.840.1.101.3.4.2.9"), 48, hashlib.sha3_384, hashes.SHA3_384)
SHA3_512 = Digest("sha3-512", identifier("2.16.840.1.101.3.4.2.10"), 64, hashlib.sha3_512, hashes.SHA3_512)
DIGESTS = {
    digest.oid: digest for digest in (SHA1, SHA224, SHA256, SHA384, SHA512, MD5, SHA3_256, SHA3_384, SHA3_512)
}


def digest_of(oid: bytes) -> Digest:
    """The digest by its object identifier.

    Raises:
        UnsupportedCms: unknown.
    """
    try:
        return DIGESTS[oid]
    except KeyError:
        raise UnsupportedCms(f"unknown digest {dotted(oid)}") from None


@dataclass(frozen=True, slots=True)
class AlgorithmIdentifier:
    """An AlgorithmIdentifier (RFC 5280 section 4.1.1.2) as received; ``parameters`` is None when absent."""

    oid: bytes
    parameters: Element | None
    raw: bytes

    def no_parameters(self, what: str) -> None:
        """Parameters must be absent or NULL.

        Raises:
            MalformedCms: there are some.
        """
        if self.parameters is not None and self.parameters.raw != tlv.NULL_VALUE:
            raise MalformedCms(f"{what} has parameters")


def algorithm_identifier(element: Element, what: str) -> AlgorithmIdentifier:
    """Read one.

    Raises:
        MalformedCms: it is not one.
    """
    children = element.expect(tlv.SEQUENCE, what).children
    if not 1 <= len(children) <= 2:
        raise MalformedCms(f"{what} is not an AlgorithmIdentifier")
    return AlgorithmIdentifier(
        children[0].object_identifier(what), children[1] if len(children) == 2 else None, bytes(element.raw)
    )


def encode_algorithm(oid: bytes, *parameters: bytes) -> bytes:
    """Write one; no parameters means absent ones."""
    return tlv.sequence(tlv.object_identifier(oid), *parameters)


@dataclass(frozen=True, slots=True)
class HashParameters:
    """The hash, the mask generation hash and the label (OAEP) or salt length (PSS) of RFC 8017."""

    digest: Digest
    mask: Digest
    label: bytes = b""
    salt_length: int = 20


def hash_parameters(element: Element | None, what: str) -> HashParameters:
    """RSAES-OAEP-params or RSASSA-PSS-params; both default to SHA-1 (RFC 8017 appendix A.2).

    Raises:
        MalformedCms: they are not such parameters.
        UnsupportedCms: an unknown hash, mask generation or label source.
    """
    digest = mask = SHA1
    label, salt = b"", 20
    if element is None or element.raw == tlv.NULL_VALUE:
        return HashParameters(digest, mask)
    fields = element.fields(tlv.SEQUENCE, what)
    if found := fields.optional(tlv.context(0)):
        digest = digest_of(algorithm_identifier(_only(found, what), what).oid)
    if found := fields.optional(tlv.context(1)):
        generation = algorithm_identifier(_only(found, what), what)
        if generation.oid != MGF1 or generation.parameters is None:
            raise UnsupportedCms(f"{what}: unknown mask generation {dotted(generation.oid)}")
        mask = digest_of(algorithm_identifier(generation.parameters, what).oid)
    if found := fields.optional(tlv.context(2)):
        inner = _only(found, what)
        if inner.tag == tlv.INTEGER:
            salt = inner.integer(what)
        else:
            source = algorithm_identifier(inner, what)
            if source.oid != P_SPECIFIED or source.parameters is None:
                raise UnsupportedCms(f"{what}: unknown label source {dotted(source.oid)}")
            label = source.parameters.octet_string(what)
    if (found := fields.optional(tlv.context(3))) and _only(found, what).integer(what) != 1:
        raise UnsupportedCms(f"{what}: unknown trailer field")
    fields.finish()
    if not 0 <= salt <= 1024 or len(label) > 1024:
        raise MalformedCms(f"{what}: salt or label out of bounds")
    return HashParameters(digest, mask, label, salt)


def _only(element: Element, what: str) -> Element:
    children = element.children
    if len(children) != 1:
        raise MalformedCms(f"{what}: an explicit tag around {len(children)} values")
    return children[0]


def encode_hash_parameters(digest: Digest, salt_length: int | None = None) -> bytes:
    """RSAES-OAEP-params, or RSASSA-PSS-params when there is a salt length, with MGF1 of the same hash."""
    hash_algorithm = encode_algorithm(digest.oid)
    mask = encode_algorithm(MGF1, hash_algorithm)
    salt = b"" if salt_length is None else tlv.tlv(tlv.context(2), tlv.integer(salt_length))
    return tlv.sequence(tlv.tlv(tlv.context(0), hash_algorithm), tlv.tlv(tlv.context(1), mask), salt)


CURVES: dict[str, Callable[[], ec.EllipticCurve]] = {
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
    "brainpoolP256r1": ec.BrainpoolP256R1,
    "brainpoolP384r1": ec.BrainpoolP384R1,
    "brainpoolP512r1": ec.BrainpoolP512R1,
}
"""The curves that we agree keys and verify signatures on, by their name in ``cryptography``."""


def digest_for_size(bits: int) -> Digest:
    """The SHA-2 digest that matches a curve of this many bits (RFC 5753 section 7, RFC 5754)."""
    return SHA256 if bits <= 256 else SHA384 if bits <= 384 else SHA512
