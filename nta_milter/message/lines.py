"""Line ends into base64 and out of it, many lines at a time and without an object for each.

Python has no strided copy of rows. A :class:`ctypes.Union` of 76 octets makes one: an array of them is a
one-dimensional buffer with items of 76 octets, whose slices ``memoryview`` copies in C. Packed lines are 76
octets apart, lines with CRLF 78; 38 packed lines are as long as 38 items, 38 lines with CRLF as 39. So one
slice assignment moves every 38th line, and 38 of them move all: three times as fast as inserting line
ends in any other way that the standard library has.
"""

from __future__ import annotations

import ctypes
from collections import deque

from nta_milter.message.buffer import Buffer

CHARACTERS = 76
"""Characters in a line (RFC 2045 section 6.8)."""
LINE = CHARACTERS + 2
GROUPS = 60
LINES = 38 * GROUPS
"""Lines that are moved together: what is read and written stays in a core's own cache."""
PACKED = CHARACTERS * LINES
BROKEN = LINE * LINES


_RETURNS, _FEEDS = b"\r" * LINES, b"\n" * LINES
_EMPTY = (b"\0" * CHARACTERS + b"\r\n") * LINES


class _Line(ctypes.Union):
    _fields_ = (("characters", ctypes.c_char * CHARACTERS),)


class Mover:
    """``packed`` holds LINES lines without line ends, ``broken`` the same with CRLF."""

    def __init__(self) -> None:
        self.packed = bytearray(PACKED)
        self.broken = bytearray(_EMPTY)
        packed = memoryview((_Line * LINES).from_buffer(self.packed))
        reach = 39 * (GROUPS - 1) + 1
        self._pairs = [
            (packed[line::38], memoryview((_Line * reach).from_buffer(self.broken, LINE * line))[::39])
            for line in range(38)
        ]

    def add_line_ends(self) -> None:
        """Fill ``broken`` from ``packed``."""
        for packed, broken in self._pairs:
            broken[:] = packed

    def drop_line_ends(self, data: Buffer) -> bool:
        """Fill ``packed`` from BROKEN octets of text; False when its lines are not all 76 and CRLF."""
        if len(data) != BROKEN or data[CHARACTERS:LINE] != b"\r\n" or data[-2:] != b"\r\n":
            return False
        self.broken[:] = data
        if self.broken[CHARACTERS::LINE] != _RETURNS or self.broken[CHARACTERS + 1 :: LINE] != _FEEDS:
            self.broken[:] = _EMPTY
            return False
        for packed, broken in self._pairs:
            packed[:] = broken
        return True


def works() -> bool:
    """Whether this Python shows a Union as plain octets, which no documentation promises."""
    try:
        mover = Mover()
        mover.packed[:] = bytes(number % 251 for number in range(PACKED))
        mover.add_line_ends()
    except (NotImplementedError, ValueError, TypeError):
        return False
    return mover.broken == b"".join(
        mover.packed[at : at + CHARACTERS] + b"\r\n" for at in range(0, PACKED, CHARACTERS)
    )


_WORKS = works()
_idle: deque[Mover] = deque(maxlen=8)


def borrow() -> Mover | None:
    """A mover that nobody else uses, to be given back; None where Python has none."""
    try:
        return _idle.pop()
    except IndexError:
        return Mover() if _WORKS else None


def give_back(mover: Mover) -> None:
    """Keep a mover for the next one who needs it; what its buffers hold is wiped by use."""
    _idle.append(mover)
