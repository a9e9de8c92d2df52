"""Base64 (RFC 2045 section 6.8) at the speed of the machine: pybase64 where installed, binascii otherwise."""

from __future__ import annotations

import binascii
from collections.abc import Callable

from nta_milter.errors import MalformedCms
from nta_milter.message import lines
from nta_milter.message.model import Buffer, LongBody

try:
    import pybase64
except ImportError:  # the loss: encoding takes ten times as long, decoding four times
    FAST = False
else:
    FAST = True

LINE_OCTETS = 57
"""Octets in a line of 76 characters."""

CHUNK = LINE_OCTETS * lines.LINES
"""Octets encoded at a time: plaintext, ciphertext and base64 of it stay in a core's own cache."""

_TAIL = 1_000
_WINDOW = 1 << 20


def encode_lines(data: Buffer) -> Buffer:
    """Base64 in lines of 76 characters, each with CRLF."""
    if len(data) < CHUNK:
        return _encode_few(data)

    def write(take: Callable[[Buffer], object]) -> None:
        writer = Writer(len(data), take)
        writer.write(data)
        writer.finish()

    return LongBody(encoded_length(len(data)), write).joined()


def _encode_few_fast(data: Buffer) -> bytes:
    encoded: bytes = pybase64.encodebytes(data)
    return encoded.replace(b"\n", b"\r\n")


def _encode_few_plain(data: Buffer) -> bytes:
    packed = binascii.b2a_base64(data, newline=False)
    step = lines.CHARACTERS
    return b"".join([packed[at : at + step] + b"\r\n" for at in range(0, len(packed), step)])


def _pack_plain(data: Buffer) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _is_base64_plain(data: bytearray) -> bool:
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        return False
    return True


def _is_base64_fast(data: bytearray) -> bool:
    try:
        pybase64.b64decode(data, validate=True)
    except ValueError:
        return False
    return True


_pack: Callable[[Buffer], bytes] = pybase64.b64encode if FAST else _pack_plain
_unpack: Callable[[Buffer], bytes] = pybase64.b64decode if FAST else binascii.a2b_base64
_encode_few: Callable[[Buffer], bytes] = _encode_few_fast if FAST else _encode_few_plain
is_base64: Callable[[bytearray], bool] = _is_base64_fast if FAST else _is_base64_plain
"""Whether a text has nothing but base64, not even line ends."""


def encoded_length(octets: int) -> int:
    """How long ``encode_lines`` makes it."""
    return (octets + 2) // 3 * 4 + 2 * ((octets + LINE_OCTETS - 1) // LINE_OCTETS)


def decode(data: Buffer) -> bytes:
    """The octets; characters outside the alphabet are ignored, as RFC 2045 section 6.8 wants.

    Raises:
        MalformedCms: the padding is wrong, or something stands behind it, where readers differ.
    """
    try:
        decoded = _unpack(data)
    except ValueError as error:
        raise MalformedCms(f"base64: {error}") from None
    if len(decoded) != _length_in_lines(data):
        end = find(data, b"=")
        if end >= 0 and bytes(data[end : end + _TAIL]).strip(b"=\r\n\t ") + bytes(data[end + _TAIL :]):
            raise MalformedCms("base64 goes on behind its padding")
    return decoded


def _length_in_lines(data: Buffer) -> int:
    """How many octets these are if nothing but lines of 76 characters and padding at the end is there."""
    end = bytes(data[-8:])
    line_ends = -(-len(data) // lines.LINE) if end.endswith(b"\r\n") else len(data) // lines.LINE
    return (len(data) - 2 * line_ends) // 4 * 3 - end.count(b"=")


def find(data: Buffer, needle: bytes, start: int = 0) -> int:
    """Where ``needle`` begins, or -1; pieces are searched in turn, since a memoryview cannot be searched."""
    if isinstance(data, bytes):
        return data.find(needle, start)
    for at in range(start, len(data), _WINDOW):
        position = bytes(data[at : at + _WINDOW + len(needle) - 1]).find(needle)
        if position >= 0:
            return at + position
    return -1


class Writer:
    """Collects ``octets`` octets and gives their base64 in lines to ``take``, a piece at a time.

    The caller writes into ``buffer`` from ``filled`` on, at most ``room`` octets (a cipher may need
    ``SLACK`` octets of scratch behind them), then calls ``advance``. A piece is valid until ``take`` returns.
    """

    SLACK = 64

    def __init__(self, octets: int, take: Callable[[Buffer], object]) -> None:
        self.buffer = bytearray(min(octets, CHUNK) + 2 * self.SLACK)
        self.filled = 0
        self._view = memoryview(self.buffer)
        self._take = take
        self._mover = lines.borrow() if octets >= CHUNK else None

    @property
    def room(self) -> int:
        """Octets until the buffer is encoded."""
        return CHUNK - self.filled

    def advance(self, count: int) -> None:
        """``count`` octets have been written behind ``filled``."""
        self.filled += count
        if self.filled >= CHUNK:
            rest = self.filled - CHUNK
            if self._mover is None:
                self._take(_encode_few(self._view[:CHUNK]))
            else:
                self._mover.packed[:] = _pack(self._view[:CHUNK])
                self._mover.add_line_ends()
                self._take(memoryview(self._mover.broken))
            self.buffer[:rest] = self.buffer[CHUNK : CHUNK + rest]
            self.filled = rest

    def write(self, data: Buffer) -> None:
        """Add octets as they are."""
        view = memoryview(data)
        while view:
            piece = view[: self.room]
            self.buffer[self.filled : self.filled + len(piece)] = piece
            self.advance(len(piece))
            view = view[len(piece) :]

    def finish(self) -> None:
        """Nothing follows."""
        self._take(_encode_few(self._view[: self.filled]))
        if self._mover is not None:
            lines.give_back(self._mover)
