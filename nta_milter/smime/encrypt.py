"""Encrypt a MIME entity: EnvelopedData (RFC 5652) and AuthEnvelopedData (RFC 5083) in one pass.

All lengths are known beforehand, so the definite-length header goes first and the ciphertext is made
behind it, a piece at a time that stays in the processor's cache, and encoded in base64 from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nta_milter.errors import CertificateError, UnsupportedCms
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Buffer, Entity, LongBody
from nta_milter.message.spool import Spool
from nta_milter.smime import algorithm, key_agreement, key_transport, tlv
from nta_milter.smime.algorithm import CEK_HKDF_SHA256, Cipher, encode_algorithm
from nta_milter.smime.certificate import Certificate, RecipientCertificate
from nta_milter.smime.transfer import CHUNK, Writer, encoded_length

TAG_LENGTH = 16
NONCE_LENGTH = 12
BLOCK = 16

_VERSION_0, _VERSION_2 = tlv.integer(0), tlv.integer(2)
_DATA = tlv.object_identifier(algorithm.DATA)


def encrypt(
    entity: Entity,
    recipients: Sequence[RecipientCertificate],
    *,
    cipher: str,
    identify_by: Literal["issuer", "key"] = "issuer",
    bind_key: bool = False,
    spool: Spool | None = None,
) -> Entity:
    """The entity as application/pkcs7-mime in base64 for all these recipients.

    ``cipher`` is a name of :data:`nta_milter.smime.algorithm.CipherName`. ``identify_by`` says whether
    recipients are named by issuer and serial number or by subject key identifier. ``bind_key`` derives the
    key from the one that is sent and the algorithm (RFC 9709), which the recipients must announce.
    ``spool`` takes the body as it is made, so that a long one never is in memory.

    Raises:
        CertificateError: a recipient's key cannot be used.
        UnsupportedCms: an unknown cipher, or no recipients.
        TemporaryError: the spool cannot be written.
    """
    content = (b"%b\r\n" % bytes(entity.headers), entity.body)
    length = sum(map(len, content))
    headers, body = envelope(
        content, length, recipients, cipher=cipher, identify_by=identify_by, bind_key=bind_key
    )
    if spool is None:
        return Entity(headers, body.joined())
    body.write(lambda piece: spool.write(bytes(piece)))
    return Entity(headers, spool.close_for_reading())


def envelope(
    content: Iterable[Buffer],
    length: int,
    recipients: Sequence[RecipientCertificate],
    *,
    cipher: str,
    identify_by: Literal["issuer", "key"] = "issuer",
    bind_key: bool = False,
) -> tuple[Headers, LongBody]:
    """The same as ``encrypt``, with the body yet to be made.

    ``content`` are the pieces of a MIME entity, ``length`` octets together, taken while the body is made.

    Raises:
        CertificateError: a recipient's key cannot be used.
        UnsupportedCms: an unknown cipher, or no recipients.
    """
    if not recipients:
        raise UnsupportedCms("nobody to encrypt for")
    chosen = algorithm.cipher(cipher)
    content_key = os.urandom(chosen.key_length)
    vector = os.urandom(NONCE_LENGTH if chosen.authenticated else BLOCK)
    content_algorithm = _content_algorithm(chosen, vector)
    used_key = content_key
    if bind_key:
        used_key = bound_key(content_key, content_algorithm)
        content_algorithm = encode_algorithm(CEK_HKDF_SHA256, content_algorithm)
    infos, simple = _recipient_infos(recipients, identify_by, content_key)
    padding = b""
    if not chosen.authenticated:
        count = BLOCK - length % BLOCK
        padding = bytes((count,)) * count
    size = length + len(padding)
    tail = TAG_LENGTH + 2 if chosen.authenticated else 0
    content = chain(content, (padding,))
    if size <= CHUNK:  # one call of the cipher instead of one for each piece
        content = (b"".join(content),)
    head, total = _shell(chosen, content_algorithm, infos, simple, size, tail)

    def write(take: Callable[[Buffer], object]) -> None:
        _write(chosen, used_key, vector, head, content, size, Writer(total, take))

    return (
        _headers("authEnveloped-data" if chosen.authenticated else "enveloped-data"),
        LongBody(encoded_length(total), write),
    )


def agreed_cipher(recipients: Sequence[RecipientCertificate], default: str) -> str:
    """The best cipher that every recipient reads; of whom nothing is known, the default is taken to be it.

    All of them must read AES-GCM to get it, and the shortest key decides.
    """
    read = [(recipient.cipher or default).split("-") for recipient in recipients]
    mode = "gcm" if all(name[2] == "gcm" for name in read) else "cbc"
    return f"aes-{min(int(name[1]) for name in read)}-{mode}"


def bound_key(content_key: bytes, content_algorithm: bytes) -> bytes:
    """The key that RFC 9709 section 2 derives for this algorithm, parameters included."""
    kdf = HKDF(SHA256(), len(content_key), salt=b"The Cryptographic Message Syntax", info=content_algorithm)
    return kdf.derive(content_key)


def identifier(certificate: Certificate, identify_by: Literal["issuer", "key"], tag: int) -> bytes:
    """How CMS names a certificate: IssuerAndSerialNumber, or the key identifier under ``tag``.

    Raises:
        CertificateError: the certificate has no subject key identifier.
    """
    if identify_by == "issuer":
        return issuer_and_serial(certificate.issuer, certificate.serial)
    if certificate.subject_key_identifier is None:
        raise CertificateError("no subject key identifier", where=certificate.subject)
    if tag & tlv.CONSTRUCTED:
        return tlv.tlv(tag, tlv.octet_string(certificate.subject_key_identifier))
    return tlv.tlv(tag, certificate.subject_key_identifier)


@lru_cache(maxsize=4096)
def issuer_and_serial(issuer: bytes, serial: int) -> bytes:
    """An IssuerAndSerialNumber (RFC 5652 section 10.2.4)."""
    return tlv.sequence(issuer, tlv.integer(serial))


def _recipient_infos(
    recipients: Sequence[RecipientCertificate], identify_by: Literal["issuer", "key"], content_key: bytes
) -> tuple[bytes, bool]:
    """The RecipientInfos, and whether all are of version 0 (RFC 5652 section 6.1)."""
    infos = []
    simple = identify_by == "issuer"
    for recipient in recipients:
        certificate = recipient.certificate
        key = certificate.public_key
        if isinstance(key, rsa.RSAPublicKey):
            named = identifier(certificate, identify_by, tlv.context(0, constructed=False))
            version = 0 if identify_by == "issuer" else 2
            try:
                infos.append(key_transport.write(key, named, version, recipient.key_transport, content_key))
            except ValueError as error:
                raise CertificateError(
                    f"its key does not encrypt ({error})", where=certificate.subject
                ) from None
        elif isinstance(key, ec.EllipticCurvePublicKey | x25519.X25519PublicKey | x448.X448PublicKey):
            if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in algorithm.CURVES:
                raise CertificateError(f"curve {key.curve.name} is not used", where=certificate.subject)
            simple = False
            infos.append(
                key_agreement.write(key, identifier(certificate, identify_by, tlv.context(0)), content_key)
            )
        else:
            raise CertificateError("its key cannot encrypt", where=certificate.subject)
    return tlv.set_of(infos), simple


@lru_cache(maxsize=16)
def _algorithm_around(chosen: Cipher) -> tuple[bytes, bytes]:
    """What stands before and behind the vector in a contentEncryptionAlgorithm."""
    vector = bytes(NONCE_LENGTH if chosen.authenticated else BLOCK)
    parameters = tlv.octet_string(vector)
    if chosen.authenticated:  # RFC 5084 section 3.2: an absent tag length would mean 12
        parameters = tlv.sequence(parameters, tlv.integer(TAG_LENGTH))
    before, _, behind = encode_algorithm(chosen.oid, parameters).partition(vector)
    return before, behind


def _content_algorithm(chosen: Cipher, vector: bytes) -> bytes:
    before, behind = _algorithm_around(chosen)
    return before + vector + behind


def _write(
    chosen: Cipher,
    key: bytes,
    vector: bytes,
    head: bytes,
    plaintext: Iterable[Buffer],
    size: int,
    writer: Writer,
) -> None:
    """The structure up to its encrypted content, that content, and what follows it."""
    writer.write(head)
    mode: Any = modes.GCM(vector) if chosen.authenticated else modes.CBC(vector)
    encryptor: Any = BlockCipher(algorithms.AES(key), mode).encryptor()
    scratch = memoryview(writer.buffer)
    for piece in plaintext:
        view = memoryview(piece)
        size -= len(view)
        at = 0
        while at < len(view):
            part = view[at : at + writer.room]
            writer.advance(encryptor.update_into(part, scratch[writer.filled :]))
            at += len(part)
    if size:
        raise RuntimeError(f"the content is not as long as was said: {-size:+d} octets")
    writer.write(encryptor.finalize())
    if chosen.authenticated:
        writer.write(tlv.octet_string(encryptor.tag))
    writer.finish()


def _shell(
    chosen: Cipher, content_algorithm: bytes, infos: bytes, simple: bool, size: int, tail: int
) -> tuple[bytes, int]:
    """Everything before the encrypted content of ``size`` octets, and the length of the whole."""
    content = tlv.header(tlv.context(0, constructed=False), size)
    inside = _DATA + content_algorithm + content
    inside = tlv.header(tlv.SEQUENCE, len(inside) + size) + inside
    version = _VERSION_0 if chosen.authenticated or simple else _VERSION_2
    inside = version + infos + inside
    after = size + tail
    inside = tlv.header(tlv.SEQUENCE, len(inside) + after) + inside
    inside = tlv.header(tlv.context(0), len(inside) + after) + inside
    kind = algorithm.AUTH_ENVELOPED_DATA if chosen.authenticated else algorithm.ENVELOPED_DATA
    inside = tlv.object_identifier(kind) + inside
    inside = tlv.header(tlv.SEQUENCE, len(inside) + after) + inside
    return inside, len(inside) + after


def _headers(kind: str) -> Headers:
    return pkcs7_headers("application/pkcs7-mime", kind, "smime.p7m")


@lru_cache(maxsize=16)
def pkcs7_headers(content_type: str, kind: str, name: str) -> Headers:
    """The MIME header fields of a CMS body part (RFC 8551 section 3.2)."""
    smime_type = f" smime-type={kind};" if kind else ""
    return Headers(
        tuple(
            HeaderField(field, b" " + value.encode("ascii"))
            for field, value in (
                (b"Content-Type", f'{content_type};{smime_type}\r\n name="{name}"'),
                (b"Content-Transfer-Encoding", "base64"),
                (b"Content-Disposition", f'attachment; filename="{name}"'),
            )
        )
    )
