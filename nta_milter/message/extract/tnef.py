"""TNEF, Outlook's winmail.dat (MS-OXTNEF): names, texts and attachments out of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from nta_milter.message.charset import decode_text
from nta_milter.message.extract.content import Budget, Content, Extract, Item
from nta_milter.message.extract.rtf import rtf_text

SIGNATURE = 0x223E9F78
COMPRESSED_LIMIT = 2_000_000
"""Largest compressed RTF that is unpacked, in bytes: it is unpacked in Python."""

_SUBJECT = 0x00018004
_BODY = 0x0002800C
_MESSAGE_PROPERTIES = 0x00069003
_ATTACHMENT_BEGINS = 0x00069002
_ATTACHMENT_TITLE = 0x00018010
_ATTACHMENT_DATA = 0x0006800F
_ATTACHMENT_PROPERTIES = 0x00069005

_PR_SUBJECT = 0x0037
_PR_BODY = 0x1000
_PR_RTF_COMPRESSED = 0x1009
_PR_HTML = 0x1013
_PR_ATTACH_DATA = 0x3701
_PR_ATTACH_LONG_FILENAME = 0x3707

_FIXED_SIZES = {
    **dict.fromkeys((0x02, 0x03, 0x04, 0x0A, 0x0B), 4),
    **dict.fromkeys((0x05, 0x06, 0x07, 0x14, 0x40), 8),
    0x48: 16,
}
_VARIABLE = frozenset((0x0D, 0x1E, 0x1F, 0x102))
_UNICODE = 0x1F
_OBJECT = 0x0D
_MULTIPLE = 0x1000
_INTERFACE = 16  # an identifier before the data of an object

# The dictionary that compressed RTF begins with (MS-OXRTFCP section 2.1.2.1).
_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)


@dataclass(slots=True)
class _Attachment:
    name: str = ""
    data: bytes = b""
    nested: bool = False


@dataclass(slots=True)
class _Found:
    texts: list[str] = field(default_factory=list)
    markup: list[bytes] = field(default_factory=list)
    attachments: list[_Attachment] = field(default_factory=list)
    unreadable: str = ""


def extract(content: Content, budget: Budget) -> Iterator[Item]:
    """The texts of the message in it, and its attachments as contents of their own."""
    found = _Found()
    try:
        _attributes(bytes(content.read()), found)
    except (ValueError, struct.error):
        found.unreadable = "a damaged winmail.dat"
    for text in found.texts:
        yield content.text(text)
    for number, markup in enumerate(found.markup, 1):
        yield content.inner(number, "", markup, "text/html")
    budget.members -= len(found.attachments)
    if budget.members < 0:
        found.attachments.clear()
        found.unreadable = "too many attachments"
    for number, attachment in enumerate(found.attachments, len(found.markup) + 1):
        inner = content.inner(number, attachment.name, attachment.data)
        if attachment.name:
            yield Extract(f"name of {inner.where}", attachment.name)
        if attachment.data:
            yield inner
    if found.unreadable:
        yield content.unreadable(found.unreadable)


def _attributes(data: bytes, found: _Found) -> None:
    """The stream of attributes (section 2.1.3). Raises ValueError or struct.error where it is damaged."""
    if struct.unpack_from("<L", data)[0] != SIGNATURE:
        raise ValueError("no TNEF signature")
    position = 6
    while position < len(data):
        _, identifier, length = struct.unpack_from("<BLL", data, position)
        start = position + 9
        value = data[start : start + length]
        if len(value) < length:
            raise ValueError("truncated")
        position = start + length + 2
        if identifier in (_SUBJECT, _BODY):
            found.texts.append(_string(value))
        elif identifier == _MESSAGE_PROPERTIES:
            _message_properties(value, found)
        elif identifier == _ATTACHMENT_BEGINS:
            found.attachments.append(_Attachment())
        elif found.attachments:
            _attachment_attribute(identifier, value, found.attachments[-1])


def _attachment_attribute(identifier: int, value: bytes, attachment: _Attachment) -> None:
    if identifier == _ATTACHMENT_TITLE:
        attachment.name = attachment.name or _string(value)
    elif identifier == _ATTACHMENT_DATA:
        attachment.data = value
    elif identifier == _ATTACHMENT_PROPERTIES:
        for kind, number, content in _properties(value):
            if number == _PR_ATTACH_LONG_FILENAME:
                attachment.name = _property_text(kind, content)
            elif number == _PR_ATTACH_DATA and not attachment.data:
                attachment.data = content[_INTERFACE:] if kind == _OBJECT else content


def _message_properties(value: bytes, found: _Found) -> None:
    for kind, number, content in _properties(value):
        if number in (_PR_SUBJECT, _PR_BODY):
            found.texts.append(_property_text(kind, content))
        elif number == _PR_HTML:
            found.markup.append(content)
        elif number == _PR_RTF_COMPRESSED:
            if len(content) > COMPRESSED_LIMIT:
                found.unreadable = "a text that is too long to unpack"
            else:
                found.texts.append(rtf_text(decompress(content)))


def _properties(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, number and value of each MAPI property (MS-OXTNEF section 2.1.3.4).

    Raises ValueError or struct.error where they are damaged.
    """
    (count,) = struct.unpack_from("<L", data)
    position = 4
    for _ in range(count):
        kind, number = struct.unpack_from("<HH", data, position)
        position += 4
        if number >= 0x8000:
            position = _after_name(data, position)
        values = 1
        if kind & _MULTIPLE or kind in _VARIABLE:
            (values,) = struct.unpack_from("<L", data, position)
            position += 4
        base = kind & ~_MULTIPLE
        for _ in range(values):
            if base in _VARIABLE:
                (length,) = struct.unpack_from("<L", data, position)
                position += 4
                padded = (length + 3) & ~3
            elif base in _FIXED_SIZES:
                length = padded = _FIXED_SIZES[base]
            else:
                raise ValueError("a property of unknown type")
            if position + length > len(data):
                raise ValueError("truncated")
            yield base, number, data[position : position + length]
            position += padded


def _after_name(data: bytes, position: int) -> int:
    """Past the name of a named property: a GUID and a number or a string."""
    kind, length = struct.unpack_from("<LL", data, position + 16)
    position += 24
    return position + ((length + 3) & ~3) if kind else position


def decompress(data: bytes) -> bytes:
    """Compressed RTF (MS-OXRTFCP section 3.1.4). Raises ValueError or struct.error where it is damaged."""
    _, size, magic = struct.unpack_from("<LL4s", data)
    packed = data[16:]
    if magic == b"MELA":
        return packed[:size]
    if magic != b"LZFu":
        raise ValueError("neither form of compressed RTF")
    output = bytearray(_DICTIONARY)
    most = len(output) + COMPRESSED_LIMIT
    position = 0
    while position < len(packed):
        flags = packed[position]
        position += 1
        for bit in range(8):
            if position >= len(packed):
                break
            if not flags >> bit & 1:
                output.append(packed[position])
                position += 1
                continue
            reference = int.from_bytes(packed[position : position + 2], "big")
            position += 2
            distance = (len(output) - (reference >> 4)) % 4_096
            if not distance:
                return bytes(output[len(_DICTIONARY) :])
            if distance > len(output) or len(output) > most:
                raise ValueError("a reference to nothing, or too long a text")
            for _ in range((reference & 0xF) + 2):
                output.append(output[-distance])
    return bytes(output[len(_DICTIONARY) :])


def _string(value: bytes) -> str:
    return decode_text(value.rstrip(b"\0"), "cp1252")


def _property_text(kind: int, value: bytes) -> str:
    return str(value, "utf-16-le", "replace").rstrip("\0") if kind == _UNICODE else _string(value)
