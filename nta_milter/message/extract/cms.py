"""What a CMS structure shows without a key (RFC 5652): ciphertext, or the content of a signed message.

Only as much BER is read as is needed to tell them apart; opening and verifying is the S/MIME room's work.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from nta_milter.message.extract.content import Budget, Content, Item

_SIGNED = bytes.fromhex("2a864886f70d010702")
_COMPRESSED = bytes.fromhex("2a864886f70d0109100109")
_CIPHERTEXT = frozenset(
    bytes.fromhex(oid) for oid in ("2a864886f70d010703", "2a864886f70d010706", "2a864886f70d0109100117")
)  # enveloped-data, encrypted-data, authEnvelopedData (RFC 5083)

_OCTET_STRING = 0x04
_OID = 0x06
_CONSTRUCTED = 0x20
_NESTING = 64


def extract(content: Content, budget: Budget) -> Iterator[Item]:
    """Nothing of ciphertext; of an opaque-signed or compressed message, the message."""
    data = bytes(content.read())
    try:
        kind, position = _content_info(data)
        if kind in _CIPHERTEXT:
            return
        if kind == _SIGNED:
            inner = _encapsulated(data, position, skipped=2)
        elif kind == _COMPRESSED:
            inner = _inflated(_encapsulated(data, position, skipped=2), budget)
        else:
            raise ValueError("of another type")
    except ValueError:
        yield content.unreadable("not the CMS structure that it says it is")
        return
    if inner:
        yield content.inner(1, "", inner, "message/rfc822")


def _content_info(data: bytes) -> tuple[bytes, int]:
    """The content type and where the [0] content begins."""
    _, position, _ = _header(data, 0)
    tag, start, length = _header(data, position)
    if tag != _OID or length is None:
        raise ValueError("no content type")
    return data[start : start + length], start + length


def _encapsulated(data: bytes, position: int, skipped: int) -> bytes:
    """The eContent octets of SignedData or CompressedData, whose first ``skipped`` fields are passed over."""
    for _ in range(2):  # [0] EXPLICIT, then the SEQUENCE
        tag, position, _ = _header(data, position)
        if not tag & _CONSTRUCTED:
            raise ValueError("primitive where a sequence belongs")
    for _ in range(skipped):
        position = _end(data, position)
    _, position, length = _header(data, position)  # EncapsulatedContentInfo
    stop = len(data) if length is None else position + length
    position = _end(data, position)  # its eContentType
    if position >= stop or data[position : position + 1] in (b"\0", b""):
        return b""  # a detached signature has no content
    _, position, _ = _header(data, position)
    return b"".join(_octets(data, position, _end(data, position)))


def _header(data: bytes, position: int) -> tuple[int, int, int | None]:
    """Tag, start of the contents and their length (None = indefinite) of a BER value (X.690 section 8.1)."""
    if position + 2 > len(data):
        raise ValueError("truncated")
    tag, length = data[position], data[position + 1]
    position += 2
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag that CMS does not use")
    if length < 0x80:
        return tag, position, length
    if length == 0x80:
        if not tag & _CONSTRUCTED:
            raise ValueError("a primitive value without a length")
        return tag, position, None
    count = length & 0x7F
    if count > 8 or position + count > len(data):
        raise ValueError("a length that is too long")
    return tag, position + count, int.from_bytes(data[position : position + count], "big")


def _end(data: bytes, position: int) -> int:
    """Where the value at ``position`` ends, its end-of-contents octets included."""
    depth = 0
    while True:
        if depth and data[position : position + 2] == b"\0\0":
            depth -= 1
            position += 2
        else:
            _, start, length = _header(data, position)
            if length is None:
                depth += 1
                position = start
                if depth > _NESTING:
                    raise ValueError("nested too deep")
            else:
                position = start + length
        if position > len(data):
            raise ValueError("truncated")
        if not depth:
            return position


def _octets(data: bytes, position: int, stop: int) -> Iterator[bytes]:
    """The pieces of an OCTET STRING, primitive or constructed (X.690 section 8.7)."""
    while position < stop:
        tag, start, length = _header(data, position)
        if tag & _CONSTRUCTED or not tag:
            position = start
        elif tag == _OCTET_STRING and length is not None:
            yield data[start : start + length]
            position = start + length
        else:
            raise ValueError("no OCTET STRING")


def _inflated(data: bytes, budget: Budget) -> bytes:
    """CompressedData (RFC 3274) unpacked, within the budget."""
    inflater = zlib.decompressobj()
    try:
        inner = inflater.decompress(data, max(budget.unpacked, 1))
    except zlib.error as error:
        raise ValueError("not compressed") from error
    budget.unpacked -= len(inner)
    if not inflater.eof:
        raise ValueError("more than is unpacked, or truncated")
    return inner
