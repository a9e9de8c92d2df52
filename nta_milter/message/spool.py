"""Where a body stays while it comes in: memory up to a threshold, then a file that has no name."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import IO

from nta_milter.errors import TemporaryError
from nta_milter.message.buffer import Buffer


class Spool:
    """Collects the pieces of one body; ``discard`` makes it ready for the next.

    ``threshold`` in bytes is kept in memory. What is longer goes to a file in ``folder``, mode 0600 and
    unlinked from the start, so that nothing is left behind when the process dies. Not for several threads
    at the same time.
    """

    def __init__(self, threshold: int, folder: Path) -> None:
        self.threshold = threshold
        self.folder = folder
        self.size = 0
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None
        self._buffer: Buffer | None = None

    def write(self, chunk: bytes) -> None:
        """Take the next piece.

        Raises:
            TemporaryError: the file cannot be written (disk full), or the body was closed already.
        """
        if self._buffer is not None:
            raise TemporaryError("a body is closed and takes no more", where="spool")
        self.size += len(chunk)
        if self._file is None:
            self._chunks.append(chunk)
            if self.size <= self.threshold:
                return
            chunk = b"".join(self._chunks)
            self._chunks.clear()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0, dir=self.folder)  # noqa: SIM115
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError as error:
            raise TemporaryError(f"cannot be written: {error.strerror}", where=str(self.folder)) from error

    def close_for_reading(self) -> Buffer:
        """The whole body; the same object when asked again. It is valid until ``discard``.

        Raises:
            TemporaryError: the file cannot be mapped, or an earlier write failed.
        """
        if self._buffer is not None:
            return self._buffer
        if self._file is None:
            body = b"".join(self._chunks)
            if len(body) != self.size:
                raise TemporaryError("a piece of the body was not stored", where=str(self.folder))
            self._chunks.clear()
            self._buffer = body
            return body
        try:
            self._map = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise TemporaryError(f"cannot be mapped: {error}", where=str(self.folder)) from error
        self._buffer = memoryview(self._map)
        return self._buffer

    def discard(self) -> None:
        """Release memory, mapping and file at once.

        A slice of the body that somebody still holds keeps the mapping alive until it is dropped too.
        """
        buffer, mapping, file = self._buffer, self._map, self._file
        self._chunks.clear()
        self._buffer = self._map = self._file = None
        self.size = 0
        try:
            if isinstance(buffer, memoryview):
                buffer.release()
            if mapping is not None:
                mapping.close()
        except BufferError:
            pass  # a slice is held: the last holder unmaps it
        finally:
            if file is not None:
                file.close()
