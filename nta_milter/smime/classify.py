"""What a message is by its parsed CMS or OpenPGP content, whatever its label says."""

from __future__ import annotations

import re
from typing import Literal

from nta_milter.errors import CmsError, MalformedCms, MessageError
from nta_milter.message.headers import Headers
from nta_milter.message.model import Buffer, Entity
from nta_milter.message.parameters import Structured
from nta_milter.message.transfer import decode_base64
from nta_milter.smime import algorithm, envelope, mime, signed, tlv
from nta_milter.smime.limits import Work

Content = Literal["enveloped", "signed", "certs-only", "compressed", "openpgp"]

WINDOW = 65_536
"""Octets of a body that are looked at to tell what it may be."""

AROUND_LIMIT = 1_000
"""Most octets of a multipart outside its two parts: delimiters, header fields, a hint for old readers."""

_SMALL = 262_144
_ARMOR = re.compile(
    rb"\s*-----BEGIN PGP MESSAGE-----[ \t]*\r?\n"
    rb"(?:(?:Version|Comment|MessageID|Hash|Charset): [^\n]{0,200}\n){0,8}"
    rb"[ \t]*\r?\n([A-Za-z0-9+/=\r\n]{8,})-----END PGP MESSAGE-----\s*"
)
_ENCRYPTED_PACKETS = frozenset((1, 3, 18, 20))
"""Tags of encrypted session keys and of protected data (RFC 9580 section 5)."""


def classify(headers: Headers, body: Buffer) -> Content | None:
    """What the message is; None when its content is neither CMS nor OpenPGP, or cannot be told.

    It is ciphertext only when all of it is: a word beside it would be read by anybody. A signature around
    ciphertext counts as what it is around. It never raises.
    """
    try:
        return _classify(Entity(headers, body), nested=False)
    except (CmsError, MessageError):
        return None


def _classify(entity: Entity, *, nested: bool) -> Content | None:
    kind = mime.content_type(entity.headers)
    if kind.value == "multipart/encrypted":
        return _pgp_mime(kind, entity)
    if kind.value == "multipart/signed":
        return None if nested else _signed(entity)
    if kind.value.startswith(("multipart/", "message/")):
        return None
    start = bytes(entity.body[:WINDOW])
    if start[:200].lstrip().startswith(b"-----BEGIN PGP MESSAGE-----"):
        return _openpgp(entity.body)
    start = start[: len(start) // 4 * 4] if len(entity.body) > WINDOW else start
    try:
        decoded = bytes(mime.decoded(entity.headers, start))
    except MalformedCms:  # a text
        return None
    return _cms(entity, decoded)


def _signed(entity: Entity) -> Content | None:
    content, signature = mime.signed_parts(mime.content_type(entity.headers), entity.body)
    inside = _classify(mime.entity(content), nested=True)
    if inside in ("enveloped", "openpgp"):
        return inside if _nothing_around(entity, len(content), len(signature.body)) else None
    data = bytes(mime.decoded(signature.headers, signature.body[:_SMALL]))
    return "signed" if _prefix(data) == algorithm.SIGNED_DATA else None


def _cms(entity: Entity, start: bytes) -> Content | None:
    kind = _prefix(start)
    if kind in (algorithm.ENVELOPED_DATA, algorithm.AUTH_ENVELOPED_DATA):
        work = Work()
        oid, content = tlv.content_info(mime.decoded(entity.headers, entity.body), work)
        envelope.read(content, oid == algorithm.AUTH_ENVELOPED_DATA, work)
        return "enveloped"
    if kind == algorithm.COMPRESSED_DATA:
        return "compressed"
    if kind != algorithm.SIGNED_DATA:
        return None
    if len(entity.body) > _SMALL:
        return "signed"
    work = Work()
    _, content = tlv.content_info(mime.decoded(entity.headers, entity.body), work)
    found = signed.read(content, work)
    return "signed" if found.signers else "certs-only"


def _prefix(data: bytes) -> bytes | None:
    """The content type of a ContentInfo that begins with ``data``, when its content begins as it should."""
    position = _inside(data, 0, tlv.SEQUENCE)
    found = _inside(data, position, tlv.OBJECT_IDENTIFIER)
    if found < 0:
        return None
    end = found + data[found - 1]
    kind = data[found:end]
    position = _inside(data, _inside(data, end, tlv.context(0)), tlv.SEQUENCE)
    version = _inside(data, position, tlv.INTEGER)
    if version < 0 or data[version - 1] != 1 or version + 1 >= len(data):
        return None
    following = data[version + 1]
    expected = {
        algorithm.ENVELOPED_DATA: (tlv.SET, tlv.context(0)),
        algorithm.AUTH_ENVELOPED_DATA: (tlv.SET, tlv.context(0)),
        algorithm.SIGNED_DATA: (tlv.SET,),
        algorithm.COMPRESSED_DATA: (tlv.SEQUENCE,),
    }
    return kind if following in expected.get(kind, ()) else None


def _inside(data: bytes, position: int, tag: int) -> int:
    """Where the contents of the value at ``position`` begin; negative when it has another tag."""
    if not 0 <= position < len(data) - 2 or data[position] != tag:
        return -1
    length = data[position + 1]
    inside = position + 2 + (length & 0x7F if length > 0x80 else 0)
    return inside if inside < len(data) else -1


def _pgp_mime(kind: Structured, entity: Entity) -> Content | None:
    """A multipart/encrypted (RFC 3156 section 4): the version, then the armor, and no third part."""
    version, armor = mime.signed_parts(kind, entity.body)
    if not _nothing_around(entity, 0, len(armor.body)):
        return None
    if mime.content_type(mime.entity(version).headers).value != "application/pgp-encrypted":
        return None
    return _openpgp(armor.body)


def _nothing_around(entity: Entity, *parts: int) -> bool:
    """Whether the two parts of these sizes are all that a multipart holds."""
    return len(entity.body) - sum(parts) <= AROUND_LIMIT


def _openpgp(body: Buffer) -> Content | None:
    """Armored OpenPGP whose first packet says that it is encrypted (RFC 9580 sections 4.2 and 6.2)."""
    armor = _ARMOR.fullmatch(body)
    if armor is None:
        return None
    octets = decode_base64(bytes(armor[1][:200]))
    if not octets or not octets[0] & 0x80:
        return None
    tag = octets[0] & 0x3F if octets[0] & 0x40 else (octets[0] & 0x3C) >> 2
    return "openpgp" if tag in _ENCRYPTED_PACKETS else None
