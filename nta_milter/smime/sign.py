"""Sign a MIME entity: multipart/signed (RFC 1847) or opaque (RFC 8551 section 3.5), with SignedData."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from nta_milter.errors import CertificateError
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Buffer, Entity
from nta_milter.smime import algorithm as algorithms
from nta_milter.smime import tlv
from nta_milter.smime.algorithm import (
    DATA,
    SHA256,
    SHA512,
    SIGNED_DATA,
    Digest,
    digest_for_size,
    encode_algorithm,
    encode_hash_parameters,
)
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.encrypt import issuer_and_serial, pkcs7_headers
from nta_milter.smime.keystore import PrivateKey
from nta_milter.smime.prepare import is_canonical, prepare, stripped
from nta_milter.smime.signed import (
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    SMIME_CAPABILITIES,
)
from nta_milter.smime.tlv import identifier, object_identifier, octet_string, sequence, set_of
from nta_milter.smime.transfer import encode_lines

SignatureAlgorithm = Literal["rsassa-pkcs1-v1_5", "rsassa-pss", "ecdsa", "ed25519"]

_SHA256_WITH_RSA = encode_algorithm(algorithms.RSA_ENCRYPTION, tlv.NULL_VALUE)
_ECDSA_WITH = {
    256: identifier("1.2.840.10045.4.3.2"),
    384: identifier("1.2.840.10045.4.3.3"),
    512: identifier("1.2.840.10045.4.3.4"),
}
_VERSION_1 = tlv.integer(1)
_DATA = object_identifier(DATA)
_SIGNED_DATA = object_identifier(SIGNED_DATA)
_MICALG = {"sha256": "sha-256", "sha384": "sha-384", "sha512": "sha-512"}

_LONG = 1 << 20
"""Octets from which hashing takes longer than starting a thread."""

_SLICE = 1 << 16
"""Octets that are hashed and then encrypted while they are in the processor's cache."""

CAPABILITIES = sequence(
    *(
        encode_algorithm(algorithms.cipher(name).oid)
        for name in ("aes-256-gcm", "aes-128-gcm", "aes-256-cbc", "aes-192-cbc", "aes-128-cbc")
    ),
    encode_algorithm(algorithms.RSAES_OAEP, encode_hash_parameters(SHA256)),
    encode_algorithm(algorithms.CEK_HKDF_SHA256),
)
"""What we read, best first (RFC 8551 section 2.5.2)."""


def sign(
    entity: Entity,
    signer: PrivateKey,
    *,
    at: datetime,
    opaque: bool = False,
    enclosed: bool = False,
    algorithm: SignatureAlgorithm | None = None,
) -> Entity:
    """The entity with a signature: multipart/signed, or application/pkcs7-mime where ``opaque``.

    What is signed is the entity after 7-bit preparation (RFC 8551 section 3.1), so that relays have no
    reason to change it; where that cannot be had (an attached signed message with 8-bit lines), the
    signature is opaque. ``enclosed`` says that the result will be encrypted, where no relay sees it: then
    lines in canonical form are signed as they are. ``algorithm`` defaults to the key's own:
    RSASSA-PKCS1-v1_5 for RSA, ECDSA, Ed25519.

    Raises:
        CertificateError: the key cannot sign, or not by this algorithm.
    """
    headers, pieces = sign_pieces(
        entity, signer, at=at, opaque=opaque, enclosed=enclosed, algorithm=algorithm
    )
    return Entity(headers, pieces[0] if len(pieces) == 1 else b"".join(pieces))


def sign_pieces(
    entity: Entity,
    signer: PrivateKey,
    *,
    at: datetime,
    opaque: bool = False,
    enclosed: bool = False,
    algorithm: SignatureAlgorithm | None = None,
) -> tuple[Headers, tuple[Buffer, ...]]:
    """The same as ``sign``, with the body in pieces, so that a long one is not copied.

    Raises:
        CertificateError: the key cannot sign, or not by this algorithm.
    """
    chosen = _choose(signer, algorithm)
    prepared, robust, digest = _prepare_and_hash(entity, enclosed, chosen.digest)
    head = b"%b\r\n" % bytes(prepared.headers)
    if opaque or not robust:
        content = head + bytes(prepared.body)
        signed = _signed(signer, chosen, digest, at, content)
        headers = pkcs7_headers("application/pkcs7-mime", "signed-data", "smime.p7m")
        return headers, (encode_lines(signed),)
    signed = _signed(signer, chosen, digest, at)
    return _multipart(head, prepared, encode_lines(signed), _MICALG[chosen.digest.name])


def sign_in_passing(
    entity: Entity, signer: PrivateKey, *, at: datetime
) -> tuple[Headers, int, Iterator[Buffer]] | None:
    """What ``sign_pieces`` makes of a long entity that will be encrypted, hashed while its pieces are taken.

    The header fields, the length of the body and its pieces, to be taken once: the signature is the last of
    them, so whoever encrypts need not wait for the hash of all the rest. None where that cannot be had: the
    entity is short or not in canonical form, or the length of a signature is not known before.

    Raises:
        CertificateError: the key cannot sign.
    """
    chosen = _choose(signer, None)
    if len(entity.body) < _LONG or not chosen.length or not is_canonical(entity.body):
        return None
    head = b"%b\r\n" % bytes(entity.headers)
    nothing = _attributes(signer, bytes(chosen.digest.length), at)
    placeholder = encode_lines(_signed_data(signer, chosen, nothing, bytes(chosen.length)))
    headers, (before, _, after) = _multipart(head, entity, placeholder, _MICALG[chosen.digest.name])

    def pieces() -> Iterator[Buffer]:
        digest = chosen.digest.new(head)
        yield before
        view = memoryview(entity.body)
        for start in range(0, len(view), _SLICE):
            piece = view[start : start + _SLICE]
            digest.update(piece)
            yield piece
        attributes = _attributes(signer, digest.digest(), at)
        signed = _signed_data(signer, chosen, attributes, signer.key.sign(attributes, *chosen.arguments))
        signature = encode_lines(signed)
        if len(signature) != len(placeholder):
            raise CertificateError("its signature is of another length", where=signer.certificate.subject)
        yield bytes(after).replace(bytes(placeholder), bytes(signature))

    return headers, len(before) + len(entity.body) + len(after), pieces()


def _prepare_and_hash(entity: Entity, enclosed: bool, how: Digest) -> tuple[Entity, bool, bytes]:
    """The prepared entity, whether relays leave all of it alone, and its digest.

    Most entities need no preparation: a long one is hashed in another thread while that is found out.
    """
    headers = entity.headers if enclosed else stripped(entity.headers)
    early = how.new(b"%b\r\n" % bytes(headers))
    with ThreadPoolExecutor(1) if len(entity.body) > _LONG else nullcontext() as pool:
        hashing = None if pool is None else pool.submit(early.update, entity.body)
        prepared, robust = (entity, True) if enclosed and is_canonical(entity.body) else prepare(entity)
        if hashing is not None:
            hashing.result()
            if prepared.body is entity.body and prepared.headers == headers:
                return prepared, robust, early.digest()
    digest = how.new(b"%b\r\n" % bytes(prepared.headers))
    digest.update(prepared.body)
    return prepared, robust, digest.digest()


def _multipart(
    head: bytes, prepared: Entity, signature: Buffer, micalg: str
) -> tuple[Headers, tuple[Buffer, ...]]:
    # 144 bits by chance: nobody can have written the delimiter into the content before
    boundary = f"=_{secrets.token_hex(18)}"
    delimiter = b"\r\n--%b" % boundary.encode("ascii")
    fields = pkcs7_headers("application/pkcs7-signature", "", "smime.p7s")
    before = b"This is an S/MIME signed message\r\n%b\r\n%b" % (delimiter, head)
    after = b"".join((delimiter, b"\r\n", bytes(fields), b"\r\n", signature, delimiter, b"--\r\n"))
    kind = (
        f' multipart/signed; protocol="application/pkcs7-signature";\r\n micalg={micalg};'
        f'\r\n boundary="{boundary}"'
    )
    return Headers((HeaderField(b"Content-Type", kind.encode("ascii")),)), (before, prepared.body, after)


class _Choice:
    """How a key signs: the digest, the AlgorithmIdentifier, and the arguments of ``key.sign``.

    ``length`` is how many octets a signature has, 0 where that differs from one to the next.
    """

    __slots__ = ("arguments", "digest", "encoded", "length")

    def __init__(self, digest: Digest, encoded: bytes, *arguments: Any, length: int = 0) -> None:
        self.digest = digest
        self.encoded = encoded
        self.arguments = arguments
        self.length = length


def _choose(signer: PrivateKey, wanted: SignatureAlgorithm | None) -> _Choice:
    key = signer.key
    if isinstance(key, rsa.RSAPrivateKey) and wanted in (None, "rsassa-pkcs1-v1_5"):
        length = (key.key_size + 7) // 8
        return _Choice(SHA256, _SHA256_WITH_RSA, padding.PKCS1v15(), SHA256.primitive(), length=length)
    if isinstance(key, rsa.RSAPrivateKey) and wanted == "rsassa-pss":
        encoded = encode_algorithm(algorithms.RSASSA_PSS, encode_hash_parameters(SHA256, SHA256.length))
        how = padding.PSS(padding.MGF1(SHA256.primitive()), SHA256.length)
        return _Choice(SHA256, encoded, how, SHA256.primitive())
    if isinstance(key, ec.EllipticCurvePrivateKey) and wanted in (None, "ecdsa"):
        digest = digest_for_size(key.curve.key_size)
        return _Choice(digest, encode_algorithm(_ECDSA_WITH[digest.length * 8]), ec.ECDSA(digest.primitive()))
    if isinstance(key, ed25519.Ed25519PrivateKey) and wanted in (None, "ed25519"):
        return _Choice(SHA512, encode_algorithm(algorithms.ED25519), length=64)
    raise CertificateError(
        f"its key does not sign{f' by {wanted}' if wanted else ''}", where=signer.certificate.subject
    )


def _attribute(kind: bytes, *values: bytes) -> bytes:
    return sequence(object_identifier(kind), set_of(values))


@lru_cache(maxsize=256)
def _fixed_attributes(der: bytes) -> tuple[bytes, ...]:
    """The attributes that do not depend on the message: type, capabilities, the certificate's digest."""
    # RFC 5035 section 4: SHA-256 is the default and left out
    named = sequence(sequence(octet_string(SHA256.new(der).digest())))
    return (
        _attribute(CONTENT_TYPE, object_identifier(DATA)),
        _attribute(SMIME_CAPABILITIES, CAPABILITIES),
        _attribute(SIGNING_CERTIFICATE_V2, sequence(named)),
    )


@lru_cache(maxsize=16)
def _digest_algorithm(oid: bytes) -> bytes:
    return encode_algorithm(oid)


@lru_cache(maxsize=256)
def _certificates(chain: tuple[Certificate, ...]) -> bytes:
    return set_of(dict.fromkeys(certificate.der for certificate in chain), tlv.context(0))


def _time(moment: datetime) -> bytes:
    """UTCTime until 2049, GeneralizedTime after (RFC 5652 section 11.3)."""
    if moment.year < 2050:
        return tlv.tlv(tlv.UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return tlv.tlv(tlv.GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode("ascii"))


def _attributes(signer: PrivateKey, digest: bytes, at: datetime) -> bytes:
    return set_of(
        (
            *_fixed_attributes(signer.certificate.der),
            _attribute(MESSAGE_DIGEST, octet_string(digest)),
            _attribute(SIGNING_TIME, _time(at)),
        )
    )


def _signed(
    signer: PrivateKey, chosen: _Choice, digest: bytes, at: datetime, content: bytes | None = None
) -> bytes:
    attributes = _attributes(signer, digest, at)
    return _signed_data(signer, chosen, attributes, signer.key.sign(attributes, *chosen.arguments), content)


def _signed_data(
    signer: PrivateKey, chosen: _Choice, attributes: bytes, signature: bytes, content: bytes | None = None
) -> bytes:
    certificate = signer.certificate
    digest_algorithm = _digest_algorithm(chosen.digest.oid)
    info = sequence(
        _VERSION_1,
        issuer_and_serial(certificate.issuer, certificate.serial),
        digest_algorithm,
        bytes((tlv.context(0),)) + attributes[1:],
        chosen.encoded,
        octet_string(signature),
    )
    encapsulated = b"" if content is None else tlv.tlv(tlv.context(0), octet_string(content))
    signed = sequence(
        _VERSION_1,
        tlv.tlv(tlv.SET, digest_algorithm),
        sequence(_DATA, encapsulated),
        _certificates((certificate, *signer.chain)),
        tlv.tlv(tlv.SET, info),
    )
    return sequence(_SIGNED_DATA, tlv.tlv(tlv.context(0), signed))
