"""Open EnvelopedData (RFC 5652 section 6) and AuthEnvelopedData (RFC 5083).

Every way in which opening fails after the structure is read ends in the same error with the same text
(RFC 3218, EFAIL): a key that does not fit is replaced by a random one and the work goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from nta_milter.errors import MalformedCms, OpenFailed, UnsupportedCms
from nta_milter.smime import algorithm, key_agreement, key_transport, tlv
from nta_milter.smime.algorithm import AlgorithmIdentifier, Cipher, algorithm_identifier, cipher_of
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.compatibility import PARSE_ERRORS, triple_des
from nta_milter.smime.encrypt import bound_key
from nta_milter.smime.keystore import KeyRing, PrivateKey, same_name
from nta_milter.smime.limits import Work
from nta_milter.smime.report import EncryptedLayer
from nta_milter.smime.tlv import Element, Fields

MINIMUM_TAG = 12
_DECRYPT_ERRORS: tuple[type[Exception], ...] = (*PARSE_ERRORS, InvalidTag)
NOT_INTACT = "what it opens to is not intact"


@dataclass(frozen=True, slots=True)
class Identifier:
    """Which certificate a structure means: by issuer and serial number, or by subject key identifier."""

    issuer: bytes | None
    serial: int
    key_identifier: bytes | None

    def key(self, keys: KeyRing) -> PrivateKey | None:
        """Our private key for it."""
        if self.key_identifier is not None:
            return keys.find_by_ski(self.key_identifier)
        return keys.find(self.issuer or b"", self.serial)

    def names(self, certificate: Certificate) -> bool:
        """Whether it means this certificate."""
        if self.key_identifier is not None:
            return certificate.subject_key_identifier == self.key_identifier
        if certificate.serial != self.serial or self.issuer is None:
            return False
        return certificate.issuer == self.issuer or same_name(certificate.issuer, self.issuer)


@dataclass(frozen=True, slots=True)
class _Transport:
    identifier: Identifier
    algorithm: AlgorithmIdentifier
    encrypted: bytes


@dataclass(frozen=True, slots=True)
class _Agreement:
    identifier: Identifier
    algorithm: AlgorithmIdentifier
    originator: bytes
    user_keying_material: bytes | None
    encrypted: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """An enveloped content, read and not yet opened."""

    recipients: tuple[_Transport | _Agreement, ...]
    cipher: Cipher
    vector: bytes
    bound: bytes | None
    pieces: tuple[memoryview, ...]
    additional: bytes
    tag: bytes | None


def issuer_and_serial(element: Element) -> Identifier:
    """Read an IssuerAndSerialNumber (RFC 5652 section 10.2.4); raises MalformedCms."""
    fields = element.fields(tlv.SEQUENCE, "issuer and serial number")
    issuer = bytes(fields.next(tlv.SEQUENCE).raw)
    return Identifier(issuer, fields.next().integer("serial number"), None)


def read(content: Element, authenticated: bool, work: Work) -> Envelope:
    """Read an EnvelopedData or AuthEnvelopedData.

    Raises:
        MalformedCms: not what the RFC says.
        UnsupportedCms: a cipher that is refused or unknown, or content that is not data.
        LimitExceeded: too many recipients or values.
    """
    fields = content.fields(tlv.SEQUENCE, "enveloped data")
    fields.next().integer("version")
    fields.optional(tlv.context(0))
    recipients = tuple(_recipients(fields.next(tlv.SET, "recipients"), work))
    info = fields.next().fields(tlv.SEQUENCE, "encrypted content")
    kind = info.next().object_identifier("content type")
    if kind != algorithm.DATA:
        raise UnsupportedCms(f"encrypted content of type {tlv.dotted(kind)} instead of data")
    cipher, vector, tag_length, bound = _content_algorithm(info.next())
    encrypted = info.optional(tlv.context(0), tlv.context(0, constructed=False))
    if encrypted is None:
        raise MalformedCms("no encrypted content")
    info.finish()
    pieces = tuple(encrypted.octets("encrypted content", tlv.context(0, constructed=False)))
    if cipher.authenticated != authenticated:
        raise UnsupportedCms(f"{cipher.name} in the wrong kind of envelope")
    additional, tag = _authentication(fields, tag_length) if authenticated else (b"", None)
    fields.optional(tlv.context(2 if authenticated else 1))
    fields.finish()
    work.spend("octets", sum(map(len, pieces)))
    return Envelope(recipients, cipher, vector, bound, pieces, additional, tag)


def _authentication(fields: Fields, tag_length: int) -> tuple[bytes, bytes]:
    """The additional authenticated data (RFC 5083 section 2.2) and the tag."""
    attributes = fields.optional(tlv.context(1))
    additional = b"" if attributes is None else bytes((tlv.SET,)) + attributes.der()[1:]
    tag = fields.next(what="authentication tag").octet_string("authentication tag")
    if len(tag) != tag_length:
        raise MalformedCms(f"an authentication tag of {len(tag)} octets where {tag_length} are announced")
    return additional, tag


def _content_algorithm(element: Element) -> tuple[Cipher, bytes, int, bytes | None]:
    """The cipher, its vector, the tag length and, where the key is bound (RFC 9709), to what."""
    found = algorithm_identifier(element, "content encryption")
    bound = None
    if found.oid == algorithm.CEK_HKDF_SHA256:
        if found.parameters is None:
            raise MalformedCms("a bound key without an algorithm")
        found = algorithm_identifier(found.parameters, "content encryption")
        bound = found.raw
    cipher = cipher_of(found.oid)
    if found.parameters is None:
        raise MalformedCms(f"{cipher.name} without an initialization vector")
    if not cipher.authenticated:
        vector = found.parameters.octet_string("initialization vector")
        if len(vector) != (16 if cipher.block == "aes" else 8):
            raise MalformedCms(f"an initialization vector of {len(vector)} octets")
        return cipher, vector, 0, bound
    fields = found.parameters.fields(tlv.SEQUENCE, "GCM parameters")
    vector = fields.next().octet_string("nonce")
    length = fields.optional(tlv.INTEGER)
    tag_length = MINIMUM_TAG if length is None else length.integer("tag length")
    fields.finish()
    if not 8 <= len(vector) <= 64 or not MINIMUM_TAG <= tag_length <= 16:
        raise MalformedCms("GCM parameters out of bounds")
    return cipher, vector, tag_length, bound


def _recipients(infos: Element, work: Work) -> Iterator[_Transport | _Agreement]:
    """The recipients of the kinds that we have keys for; of others (passwords, key-encryption keys) none."""
    for info in infos.children:
        if info.tag == tlv.SEQUENCE:
            work.spend("recipients")
            yield _transport(info)
        elif info.tag == tlv.context(1):
            yield from _agreements(info, work)
        else:
            work.spend("recipients")


def _transport(info: Element) -> _Transport:
    fields = info.fields(tlv.SEQUENCE, "key transport")
    fields.next().integer("version")
    named = fields.next()
    if named.tag & ~tlv.CONSTRUCTED == tlv.context(0, constructed=False):
        key_identifier = named.octet_string("key identifier", tlv.context(0, constructed=False))
        identifier = Identifier(None, 0, key_identifier)
    else:
        identifier = issuer_and_serial(named)
    found = algorithm_identifier(fields.next(), "key encryption")
    encrypted = fields.next().octet_string("encrypted key")
    fields.finish()
    return _Transport(identifier, found, encrypted)


def _agreements(info: Element, work: Work) -> Iterator[_Agreement]:
    fields = info.fields(tlv.context(1), "key agreement")
    fields.next().integer("version")
    originator = fields.next(tlv.context(0), "originator").children
    material = fields.optional(tlv.context(1))
    found = algorithm_identifier(fields.next(), "key encryption")
    keys = fields.next(tlv.SEQUENCE, "recipient keys").children
    fields.finish()
    point = None
    if len(originator) == 1 and originator[0].tag == tlv.context(1):
        public = originator[0].fields(tlv.context(1), "originator key")
        algorithm_identifier(public.next(), "originator key")
        point = public.next().bit_string("originator key")
    ukm = None
    if material is not None:
        if len(material.children) != 1:
            raise MalformedCms("user keying material is not one OCTET STRING")
        ukm = material.children[0].octet_string("user keying material")
    for key in keys:
        work.spend("recipients")
        pair = key.fields(tlv.SEQUENCE, "recipient key")
        identifier = _agreement_identifier(pair.next())
        encrypted = pair.next().octet_string("encrypted key")
        if point is not None:  # a static originator key, by its certificate, is not something mail uses
            yield _Agreement(identifier, found, point, ukm, encrypted)


def _agreement_identifier(named: Element) -> Identifier:
    if named.tag != tlv.context(0):
        return issuer_and_serial(named)
    key_identifier = named.fields(tlv.context(0), "key identifier").next()
    return Identifier(None, 0, key_identifier.octet_string("key identifier"))


def unseal(envelope: Envelope, keys: KeyRing, work: Work) -> tuple[memoryview, EncryptedLayer]:
    """The plaintext, and what there is to say about it.

    Raises:
        OpenFailed: none of the keys opens it, or the content is not intact.
        UnsupportedCms: one of the keys would, by an algorithm that we do not know.
        LimitExceeded: too many private-key operations.
    """
    matched = 0
    unsupported: UnsupportedCms | None = None
    for recipient in envelope.recipients:
        key = recipient.identifier.key(keys)
        if key is None:
            continue
        work.spend("private_operations")
        try:
            name, content_key, genuine = _content_key(recipient, key, envelope.cipher.key_length)
        except UnsupportedCms as error:
            unsupported = error
            continue
        matched += 1
        plaintext = _decrypt(envelope, content_key)
        # with a spare key a wrong padding looks right once in 256 times: the work was done, the answer is no
        if plaintext is not None and genuine:
            flags = ["weak-cipher"] if envelope.cipher.weak else []
            if envelope.bound is not None:
                flags.append("bound-key")
            return plaintext, EncryptedLayer(
                cipher=envelope.cipher.name,
                authenticated=envelope.cipher.authenticated,
                key_encryption=name,
                recipient=_name(key),
                flags=tuple(flags),
            )
    if matched:
        raise OpenFailed(f"{envelope.cipher.name}: {NOT_INTACT}")
    if unsupported is not None:
        raise unsupported
    raise OpenFailed(f"{envelope.cipher.name}: no key of ours is among {len(envelope.recipients)} recipients")


def _name(key: PrivateKey) -> str:
    return key.certificate.emails[0] if key.certificate.emails else key.certificate.subject


def _content_key(recipient: _Transport | _Agreement, key: PrivateKey, length: int) -> tuple[str, bytes, bool]:
    """The name of the key encryption, a key of the right length, and whether it came out of the message."""
    found: bytes | None = None
    if isinstance(recipient, _Transport):
        name, how = key_transport.scheme(recipient.algorithm)
        if isinstance(key.key, rsa.RSAPrivateKey):
            found = _transported(key.key, how, recipient.encrypted)
    else:
        agreement = key_agreement.scheme(recipient.algorithm)
        name = agreement.name
        found = key_agreement.unwrap(
            key.key, agreement, recipient.originator, recipient.user_keying_material, recipient.encrypted
        )
    spare = os.urandom(length)
    if found is None or len(found) != length:
        return name, spare, False
    return name, found, True


def _transported(key: rsa.RSAPrivateKey, how: padding.AsymmetricPadding, encrypted: bytes) -> bytes | None:
    return key_transport.unwrap(key, how, encrypted)


def _decrypt(envelope: Envelope, content_key: bytes) -> memoryview | None:
    """The plaintext; None when padding or tag are wrong. Nothing is released before the tag is checked."""
    if envelope.bound is not None:
        content_key = bound_key(content_key, envelope.bound)
    size = sum(map(len, envelope.pieces))
    out = bytearray(size + 16)
    view = memoryview(out)
    filled = 0
    decryptor = _decryptor(envelope, content_key)
    try:
        for piece in envelope.pieces:
            filled += decryptor.update_into(piece, view[filled:])
        decryptor.finalize()
    except _DECRYPT_ERRORS:
        return None
    if envelope.cipher.authenticated:
        return view[:filled].toreadonly()
    padding_length = out[filled - 1] if filled else 0
    block = 16 if envelope.cipher.block == "aes" else 8
    if not 1 <= padding_length <= block or filled < padding_length:
        return None
    if out[filled - padding_length : filled] != bytes((padding_length,)) * padding_length:
        return None
    return view[: filled - padding_length].toreadonly()


def _decryptor(envelope: Envelope, content_key: bytes) -> Any:
    if envelope.cipher.authenticated:
        mode = modes.GCM(envelope.vector, envelope.tag, min_tag_length=MINIMUM_TAG)
        decryptor = BlockCipher(algorithms.AES(content_key), mode).decryptor()
        decryptor.authenticate_additional_data(envelope.additional)
        return decryptor
    block = algorithms.AES(content_key) if envelope.cipher.block == "aes" else triple_des(content_key)
    return BlockCipher(block, modes.CBC(envelope.vector)).decryptor()
