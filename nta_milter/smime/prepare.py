"""Make an entity fit for relays before it is signed (RFC 8551 section 3.1.2 and 3.1.3).

Relays recode 8-bit text, fold long lines, strip blanks at line ends and put ``>`` before ``From ``; any of
these breaks a signature. A leaf whose lines invite that is encoded in quoted-printable or base64.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable

from nta_milter.message import lines, mime
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Buffer, Entity
from nta_milter.message.transfer import decode
from nta_milter.smime.transfer import encode_lines, is_base64

PART_LIMIT = 1_000
DEPTH_LIMIT = 50
LINE_LIMIT = 998
"""Longest line without its CRLF (RFC 5322 section 2.1.1)."""

_WINDOW = 1 << 16
_LONE_CR = re.compile(rb"\r(?!\n)")
_FROM_LINE = re.compile(rb"(\A|\n)From ")
_TRAILING_BLANKS = re.compile(rb"[ \t]+(?=\r\n)|[ \t]+\Z")
_PLAIN = bytes((9, 10, 13, *range(32, 127)))
_NO_LINE_ENDS = bytes(byte for byte in range(256) if byte not in b"\r\n\0")
_FRAGILE = re.compile(rb"[ \t]\r?\n|(?:\A|\n)From |(?:\A|[^\r])\n|\r(?!\n)|\0|[ \t]\Z")


def prepare(entity: Entity) -> tuple[Entity, bool]:
    """The entity with every leaf in a form that relays leave alone, and whether that holds for all of it.

    Signed and encrypted entities inside are never touched: a signature is over their octets.

    Raises:
        LimitExceeded: more parts than we work on.
    """
    headers = stripped(entity.headers)
    robust_head = is_robust(bytes(headers))
    if is_robust(entity.body):
        return Entity(headers, entity.body), robust_head
    part = mime.parse(headers, entity.body, part_limit=PART_LIMIT, depth_limit=DEPTH_LIMIT)
    headers, body = _recode(part, entity.body)
    return Entity(headers, body), robust_head and is_robust(body)


def is_canonical(data: Buffer) -> bool:
    """Whether every line ends in CRLF and nothing else does, without NUL (RFC 8551 section 3.1.1)."""
    return _all_lines(data, _canonical)


def is_robust(data: Buffer) -> bool:
    """Whether no relay has a reason to change these lines."""
    return _all_lines(
        data, lambda lines: lines.isascii() and _short_lines(lines) and not _fragile(lines), LINE_LIMIT
    )


def _all_lines(data: Buffer, fit: Callable[[bytes], bool], limit: int = _WINDOW) -> bool:
    """Whether ``fit`` says so of every group of whole lines; no line may be longer than ``limit``.

    Attachments are base64 in lines of 76: what is that for sure needs no closer look.
    """
    view = memoryview(data)
    mover = lines.borrow() if len(view) > 2 * lines.BROKEN else None
    at = 0
    fitting = True
    while fitting and at < len(view):
        block = view[at : at + lines.BROKEN]
        if mover is not None and mover.drop_line_ends(block) and is_base64(mover.packed):
            at += lines.BROKEN
            continue
        window = bytes(view[at : at + _WINDOW])
        if len(window) == _WINDOW:  # end behind a line, so that none is looked at in halves
            end = window.rfind(b"\n", max(0, _WINDOW - limit - 2)) + 1
            if not end and limit < _WINDOW:
                fitting = False
            window = window[:end] if end else window
        fitting = fitting and fit(window)
        at += len(window)
    if mover is not None:
        lines.give_back(mover)
    return fitting


def _canonical(window: bytes) -> bool:
    return len(window.translate(None, _NO_LINE_ENDS)) == 2 * window.count(b"\r\n")


def _short_lines(window: bytes) -> bool:
    at = 0
    while len(window) - at > LINE_LIMIT + 2:
        line_end = window.rfind(b"\n", at, at + LINE_LIMIT + 2)
        if line_end < 0:
            return False
        at = line_end + 1
    return len(window) - at <= LINE_LIMIT or window.find(b"\n", at) >= 0


def _fragile(window: bytes) -> bool:
    if b" " not in window and b"\t" not in window and window.count(b"\r\n") == window.count(b"\n"):
        return b"\0" in window or window.count(b"\r") != window.count(b"\n")
    return _FRAGILE.search(window) is not None


def _recode(part: mime.Part, body: Buffer) -> tuple[Headers, Buffer]:
    """Header fields and body of a part, its leaves recoded where they must be."""
    raw = part.raw(body)
    if part.content_type in ("multipart/signed", "multipart/encrypted") or is_robust(raw):
        return part.headers, bytes(raw)
    if part.children:
        return _with_encoding(part.headers, None), _rebuilt(part, body)
    content = decode(raw, part.encoding)
    if content is None or part.content_type.startswith(("multipart/", "message/")):
        return part.headers, bytes(raw)
    content = bytes(content)
    if part.content_type.startswith("text/") and not _LONE_CR.search(content) and _mostly_ascii(content):
        return _with_encoding(part.headers, b"quoted-printable"), _quoted_printable(content)
    return _with_encoding(part.headers, b"base64"), encode_lines(content)


def _rebuilt(part: mime.Part, body: Buffer) -> bytes:
    """The body of a part with its children recoded and everything between them as it was."""
    view = memoryview(body)
    pieces: list[Buffer] = []
    at = part.start
    for child in part.children:
        start = child.start if child.header_start is None else child.header_start
        headers, content = _recode(child, body)
        pieces += (view[at:start], bytes(stripped(headers)), b"\r\n", content)
        at = child.stop
    pieces.append(view[at : part.stop])
    return b"".join(pieces)


def _with_encoding(headers: Headers, encoding: bytes | None) -> Headers:
    kept = headers.without(("Content-Transfer-Encoding",))
    return kept if encoding is None else kept.add("Content-Transfer-Encoding", encoding)


def stripped(headers: Headers) -> Headers:
    """The fields without blanks at line ends, which have no meaning (RFC 5322 section 3.2.2)."""
    if not any(_TRAILING_BLANKS.search(field.raw) for field in headers):
        return headers
    return Headers(
        tuple(HeaderField(field.name, _TRAILING_BLANKS.sub(b"", field.raw) or b" ") for field in headers)
    )


def _mostly_ascii(content: bytes) -> bool:
    """Whether quoted-printable is shorter than base64."""
    sample = content[:_WINDOW]
    return len(sample.translate(None, _PLAIN)) * 6 < len(sample) + 1


def _quoted_printable(content: bytes) -> bytes:
    """Quoted-printable (RFC 2045 section 6.7) in which no line begins with ``From ``."""
    text = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    encoded = binascii.b2a_qp(text, istext=True)
    if b"\n" not in text:  # then soft line breaks were made without CR
        encoded = encoded.replace(b"\n", b"\r\n")
    return _FROM_LINE.sub(rb"\1=46rom ", encoded)
