"""What a content is, by its first bytes before its label: labels are often missing or wrong."""

from __future__ import annotations

import re
from enum import Enum, auto

from nta_milter.message.extract.content import Content


class Kind(Enum):
    """How a content is read."""

    TEXT = auto()
    MARKUP = auto()
    MESSAGE = auto()
    ZIP = auto()
    PDF = auto()
    RTF = auto()
    TNEF = auto()
    CMS = auto()
    OLE = auto()
    OTHER_ARCHIVE = auto()
    MEDIA = auto()
    KEY = auto()
    UNKNOWN = auto()


_MAGIC = (
    (b"PK\x03\x04", Kind.ZIP),
    (b"PK\x05\x06", Kind.ZIP),
    (b"{\\rtf", Kind.RTF),
    (b"\x78\x9f\x3e\x22", Kind.TNEF),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind.OLE),
    (b"7z\xbc\xaf\x27\x1c", Kind.OTHER_ARCHIVE),
    (b"Rar!\x1a\x07", Kind.OTHER_ARCHIVE),
    (b"\x1f\x8b\x08", Kind.OTHER_ARCHIVE),
    (b"BZh", Kind.OTHER_ARCHIVE),
    (b"\xfd7zXZ\x00", Kind.OTHER_ARCHIVE),
    (b"\xff\xd8\xff", Kind.MEDIA),
    (b"\x89PNG\r\n\x1a\n", Kind.MEDIA),
    (b"GIF8", Kind.MEDIA),
    (b"II*\x00", Kind.MEDIA),
    (b"MM\x00*", Kind.MEDIA),
    (b"OggS", Kind.MEDIA),
    (b"fLaC", Kind.MEDIA),
    (b"ID3", Kind.MEDIA),
    (b"\x1aE\xdf\xa3", Kind.MEDIA),
)
_MAGICS = tuple(magic for magic, _ in _MAGIC)
_MAGIC_AT_4 = (b"ftyp",)  # ISO base media: MP4, HEIC
_MAGIC_AT_8 = (b"WEBP", b"WAVE", b"AVI ")  # in a RIFF file

_TYPES = {
    "message/rfc822": Kind.MESSAGE,
    "message/global": Kind.MESSAGE,
    "message/news": Kind.MESSAGE,
    "message/partial": Kind.UNKNOWN,
    "text/html": Kind.MARKUP,
    "application/xhtml+xml": Kind.MARKUP,
    "image/svg+xml": Kind.MARKUP,
    "application/pkcs7-mime": Kind.CMS,
    "application/x-pkcs7-mime": Kind.CMS,
}
_TEXT_TYPES = frozenset(
    f"application/{name}"
    for name in ("json", "xml", "csv", "javascript", "x-yaml", "yaml", "sql", "ics", "edifact", "ld+json")
)
_KEY_TYPES = frozenset(
    f"application/{name}"
    for name in (
        "pkcs7-signature",
        "x-pkcs7-signature",
        "pkix-cert",
        "x-x509-ca-cert",
        "x-x509-user-cert",
        "pgp-signature",
        "pgp-encrypted",
        "pgp-keys",
    )
)
_EXTENSIONS = {
    "eml": Kind.MESSAGE,
    "htm": Kind.MARKUP,
    "html": Kind.MARKUP,
    "xhtml": Kind.MARKUP,
    "svg": Kind.MARKUP,
    "p7m": Kind.CMS,
    **dict.fromkeys(("txt", "csv", "tsv", "xml", "json", "ics", "vcf", "log", "md", "hl7", "edi"), Kind.TEXT),
    **dict.fromkeys(("emf", "wmf", "bmp", "ico", "mp3", "aac", "mpg", "mpeg", "mov", "wmv"), Kind.MEDIA),
}
_MARKUP_START = re.compile(rb"\s*<(?:!doctype html|html|body|table|div|p)\b", re.IGNORECASE)
_NO_CONTROL = bytes(
    byte for byte in range(256) if 7 <= byte <= 13 or byte == 27 or (byte >= 32 and byte != 0x7F)
)


def kind_of(content: Content) -> Kind:
    """What a content is: its first bytes, then its declared type, then its name, then whether it is text."""
    head = content.head
    found = _by_bytes(head)
    if found is not None:
        return found
    declared = content.content_type
    if declared in _TYPES:
        return _TYPES[declared]
    if declared in _KEY_TYPES and head[:1] in (b"\x30", b""):
        return Kind.KEY
    if declared.startswith(("image/", "audio/", "video/")) and not (head and _is_text(head)):
        return Kind.MEDIA
    if content.extension in _EXTENSIONS:
        return _EXTENSIONS[content.extension]
    if declared.startswith("text/") or declared in _TEXT_TYPES or declared.endswith(("+xml", "+json")):
        return Kind.TEXT
    if not _is_text(head):
        return Kind.UNKNOWN
    return Kind.MARKUP if _MARKUP_START.match(head) else Kind.TEXT


def _by_bytes(head: bytes) -> Kind | None:
    if head.startswith(_MAGICS):
        return next(kind for magic, kind in _MAGIC if head.startswith(magic))
    if b"%PDF-" in head[:1024]:
        return Kind.PDF
    if head[4:8] in _MAGIC_AT_4 or (head.startswith(b"RIFF") and head[8:12] in _MAGIC_AT_8):
        return Kind.MEDIA
    return None


def _is_text(head: bytes) -> bool:
    """Whether the first bytes are UTF-8 or Windows-1252 text, or UTF-16 with its mark."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return not head.translate(None, _NO_CONTROL)
