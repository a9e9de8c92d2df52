"""Base64 (RFC 2045 section 6.8) at the speed of the machine: pybase64 where installed, binascii otherwise."""

from __future__ import annotations

import binascii
from collections.abc import Callable

from nta_milter.errors import MalformedCms
from nta_milter.message.model import Buffer

try:
    import pybase64

    FAST = True
except ImportError:  # the loss: encoding 20 MB takes three times as long, decoding four times
    FAST = False

LINE_OCTETS = 57
"""Octets in a line of 76 characters."""

CHUNK = LINE_OCTETS * 1150
"""Octets encoded at a time: plaintext, ciphertext and base64 of it stay in a core's own cache."""

_TAIL = 1_000
_WINDOW = 1 << 20


def _encode_fast(data: Buffer) -> bytes:
    encoded: bytes = pybase64.encodebytes(data)
    return encoded.replace(b"\n", b"\r\n")


def _encode_plain(data: Buffer) -> bytes:
    encoded = binascii.b2a_base64(data, newline=False)
    return b"".join(encoded[at : at + 76] + b"\r\n" for at in range(0, len(encoded), 76))


encode_lines: Callable[[Buffer], bytes] = _encode_fast if FAST else _encode_plain
"""Base64 in lines of 76 characters and CRLF; of a whole text, or of a multiple of LINE_OCTETS."""


def encoded_length(octets: int) -> int:
    """How long ``encode_lines`` makes it."""
    return (octets + 2) // 3 * 4 + 2 * ((octets + LINE_OCTETS - 1) // LINE_OCTETS)


def decode(data: Buffer) -> bytes:
    """The octets; characters outside the alphabet are ignored, as RFC 2045 section 6.8 wants.

    Raises:
        MalformedCms: the padding is wrong, or something stands behind it, where readers differ.
    """
    end = find(data, b"=")
    if end >= 0 and bytes(data[end : end + _TAIL]).strip(b"=\r\n\t ") + bytes(data[end + _TAIL :]):
        raise MalformedCms("base64 goes on behind its padding")
    try:
        if FAST:
            decoded: bytes = pybase64.b64decode(data)
            return decoded
        return binascii.a2b_base64(data)
    except ValueError as error:
        raise MalformedCms(f"base64: {error}") from None


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
    """Collects octets and gives their base64; the length must be known before.

    The caller writes into ``buffer`` from ``filled`` on, at most ``room`` octets (a cipher may need
    ``SLACK`` octets of scratch behind them), then calls ``advance``.
    """

    SLACK = 64

    def __init__(self, octets: int) -> None:
        self.buffer = bytearray(CHUNK + 2 * self.SLACK)
        self.filled = 0
        self._view = memoryview(self.buffer)
        self._out = bytearray(encoded_length(octets))
        self._position = 0

    @property
    def room(self) -> int:
        """Octets until the buffer is encoded."""
        return CHUNK - self.filled

    def advance(self, count: int) -> None:
        """``count`` octets have been written behind ``filled``."""
        self.filled += count
        if self.filled >= CHUNK:
            rest = self.filled - CHUNK
            self._emit(CHUNK)
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

    def finish(self) -> memoryview:
        """The base64 of it all, read-only."""
        self._emit(self.filled)
        return memoryview(self._out)[: self._position].toreadonly()

    def _emit(self, count: int) -> None:
        encoded = encode_lines(self._view[:count])
        self._out[self._position : self._position + len(encoded)] = encoded
        self._position += len(encoded)
