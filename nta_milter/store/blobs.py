"""Where long sealed content lies: files, each complete and on disk before its name appears."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from nta_milter.errors import StoreUnavailable

_NAME = re.compile(r"[0-9a-f]{32}")


class Blob(Protocol):
    """One blob, open for reading at any place; safe for several threads."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end; raises StoreUnavailable."""

    def close(self) -> None:
        """Release it."""


class BlobStore(Protocol):
    """Sealed content by id (32 hex digits)."""

    def put(self, blob_id: str, pieces: Iterable[bytes]) -> None:
        """Store durably: complete and on disk when this returns, else it is not there.

        Raises:
            StoreUnavailable: it cannot be stored.
        """

    def open(self, blob_id: str) -> Blob:
        """Open for reading; raises StoreUnavailable when it is not there or cannot be read."""

    def delete(self, blob_id: str) -> None:
        """Remove it; one that is not there is fine."""

    def listed(self) -> Iterator[tuple[str, datetime]]:
        """Every blob with the moment it was stored, unfinished ones included."""


class BytesBlob:
    """Sealed content in memory, as a row holds it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end."""
        return self._content[offset : offset + length]

    def close(self) -> None:
        """Nothing is to be released."""


class FileBlob:
    """A file, read by position."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreUnavailable(f"cannot be read: {error.strerror}", where=str(path)) from error
        self.size = os.fstat(self._descriptor).st_size
        self._path = path

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end."""
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise StoreUnavailable(f"cannot be read: {error.strerror}", where=str(self._path)) from error

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FileBlobs:
    """Blobs as files ``FOLDER/ab/abcd…``; only whole and synced files have such a name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make_folders(self) -> None:
        """Make every folder that blobs can come to lie in, so that no message waits for it.

        Raises:
            StoreUnavailable: they cannot be made.
        """
        try:
            for number in range(256):
                (self.folder / f"{number:02x}").mkdir(mode=0o770, exist_ok=True)
            _sync(self.folder)
        except OSError as error:
            raise StoreUnavailable(f"cannot be made: {error.strerror}", where=str(self.folder)) from error

    def put(self, blob_id: str, pieces: Iterable[bytes]) -> None:
        """Write a temporary file beside it, sync it, give it its name, sync the folder."""
        path = self._path(blob_id)
        unfinished = path.with_suffix(".unfinished")
        try:
            try:
                self._write(unfinished, pieces)
            except FileNotFoundError:
                self._make(path.parent)
                self._write(unfinished, pieces)
            unfinished.rename(path)
            _sync(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise StoreUnavailable(f"cannot be written: {error.strerror}", where=str(path)) from error

    def open(self, blob_id: str) -> FileBlob:
        """Open the file."""
        return FileBlob(self._path(blob_id))

    def delete(self, blob_id: str) -> None:
        """Unlink the file."""
        path = self._path(blob_id)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"cannot be removed: {error.strerror}", where=str(path)) from error

    def listed(self) -> Iterator[tuple[str, datetime]]:
        """The files of all folders."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if _NAME.fullmatch(path.stem):
                with contextlib.suppress(FileNotFoundError):
                    yield path.stem, datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def remove_unfinished(self, before: datetime) -> int:
        """Remove what a crash left behind half-written before that moment; how many there were."""
        count = 0
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*.unfinished"):
            with contextlib.suppress(FileNotFoundError):
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
                    path.unlink()
                    count += 1
        return count

    def _path(self, blob_id: str) -> Path:
        if not _NAME.fullmatch(blob_id):
            raise StoreUnavailable("is not the id of a blob", where=ascii(blob_id))
        return self.folder / blob_id[:2] / blob_id

    def _write(self, path: Path, pieces: Iterable[bytes]) -> None:
        # the portal and the worker are other users of the same group
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def _make(self, folder: Path) -> None:
        # The group comes from the folder above; to ask for its bit is refused under RestrictSUIDSGID.
        folder.mkdir(mode=0o770, exist_ok=True)
        _sync(self.folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
