"""A .zip made while it is sent: nothing is kept but the piece in hand (APPNOTE 6.3.10)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from datetime import datetime

_FIRST_YEAR = 1980
_REGULAR_FILE = 0o100600 << 16


class _Sink:
    """What zipfile writes to: it can neither seek nor tell, so sizes follow each file."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        taken = b"".join(self.pieces)
        self.pieces.clear()
        return taken


def zipped(files: Iterable[tuple[str, int, Iterable[bytes]]], at: datetime) -> Iterator[bytes]:
    """The pieces of an archive of files (name, size in bytes, content), stored and not compressed.

    Attachments are nearly always compressed already.
    """
    sink = _Sink()
    moment = (max(at.year, _FIRST_YEAR), at.month, at.day, at.hour, at.minute, at.second)
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, size, content in files:
            entry = zipfile.ZipInfo(name, moment)
            entry.external_attr = _REGULAR_FILE
            entry.file_size = size
            with archive.open(entry, "w") as target:
                for piece in content:
                    target.write(piece)
                    yield sink.take()
    yield sink.take()
