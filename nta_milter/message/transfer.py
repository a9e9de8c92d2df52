"""Content-Transfer-Encoding (RFC 2045 section 6): decoding that never fails, and sizes without decoding."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

from nta_milter.message import lines
from nta_milter.message.buffer import Buffer

_strict_base64: Callable[[bytes], bytes] = binascii.a2b_base64
_packed_base64: Callable[[bytearray], bytes] = partial(binascii.a2b_base64, strict_mode=True)
try:
    import pybase64
except ImportError:
    pass  # four times slower, no other loss
else:
    _strict_base64 = pybase64.b64decode
    _packed_base64 = partial(pybase64.b64decode, validate=True)

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FOREIGN = bytes(set(range(256)) - set(_ALPHABET))
_PADDED_PIECES = 1_000
_WINDOW = 262_144

IDENTITY = frozenset(("", "7bit", "8bit", "binary"))


def decode(data: Buffer, encoding: str) -> Buffer | None:
    """``data`` decoded; itself when nothing is encoded, None for an encoding that RFC 2045 does not know."""
    if encoding in IDENTITY:
        return data
    if encoding == "base64":
        return decode_base64(data)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    return None


def decode_base64(data: Buffer) -> bytes:
    """Base64 decoded as far as it goes; what is not of its alphabet is skipped (RFC 2045 section 6.8).

    Padding in the middle, which joined encodings have, does not end it.
    """
    raw = bytes(data)
    padding = raw.find(b"=")
    if padding >= 0 and raw[padding:].strip(b"=\r\n\t "):
        return b"".join(_lenient_base64(piece) for piece in raw.split(b"=", _PADDED_PIECES))
    try:
        return _strict_base64(raw)
    except ValueError:
        return _lenient_base64(raw)


def decode_base64_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Base64 decoded as it comes: the same as ``decode_base64`` where padding stands at the end alone."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        made: list[bytes] = []
        while usual := _usual_lines(memoryview(data)[len(made) * lines.BROKEN :]):
            made.append(usual)
        data = data[len(made) * lines.BROKEN :]
        whole = data.rfind(b"\n") + 1
        try:
            if not whole:
                raise ValueError("no whole line")
            decoded = _strict_base64(data[:whole])
            rest = data[whole:]
        except ValueError:
            digits = data.translate(None, _FOREIGN)
            usable = len(digits) - len(digits) % 4
            decoded = binascii.a2b_base64(digits[:usable])
            rest = digits[usable:]
        if made or decoded:
            yield b"".join((*made, decoded))
    if decoded := _lenient_base64(rest):
        yield decoded


def _usual_lines(data: memoryview) -> bytes:
    """What LINES lines of 76 characters decode to; nothing where they are anything else.

    Line ends are moved out of many lines at a time, which is quicker than to skip each while decoding.
    """
    mover = lines.borrow() if len(data) >= lines.BROKEN else None
    if mover is None:
        return b""
    decoded = b""
    if mover.drop_line_ends(data[: lines.BROKEN]) and b"=" not in mover.packed:
        with suppress(ValueError):
            decoded = _packed_base64(mover.packed)
    lines.give_back(mover)
    return decoded


def _lenient_base64(raw: bytes) -> bytes:
    digits = raw.translate(None, _FOREIGN)
    if len(digits) % 4 == 1:  # six bits are no byte
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def decoded_size(data: Buffer, encoding: str) -> int:
    """About how many bytes ``data`` decodes to, counted and not decoded."""
    if encoding == "base64":
        return _length_without(data, b"\r\n=") * 3 // 4
    if encoding == "quoted-printable":
        return len(data) - 2 * (len(data) - _length_without(data, b"="))
    return len(data)


def size_limit(length: int, encoding: str) -> int:
    """What ``decoded_size`` of so many bytes is at most."""
    return length * 3 // 4 if encoding == "base64" else length


def _length_without(data: Buffer, dropped: bytes) -> int:
    return sum(
        len(bytes(data[start : start + _WINDOW]).translate(None, dropped))
        for start in range(0, len(data), _WINDOW)
    )
