"""Records events durably; many threads share one write to disk.

A message is acknowledged only after its record is on disk, so records that arrive while one write runs are
written together by the next.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from nta_milter.audit.chain import link
from nta_milter.audit.events import AuditRecord
from nta_milter.audit.tell import Told
from nta_milter.config.model import Settings
from nta_milter.errors import TemporaryError
from nta_milter.store.batch import Batch
from nta_milter.store.database import Database
from nta_milter.store.records import Records


class Target(Protocol):
    """Where records go."""

    def append(self, batch: Sequence[AuditRecord]) -> None:
        """Add records, all on disk when this returns; raises TemporaryError when they cannot be."""

    def close(self) -> None:
        """Release it."""


class FileTarget:
    """JSON lines, appended to one file and synced.

    logrotate may rename the file at any time: each batch goes to the file that has the name then, which is
    made where it is missing.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor = self._open()
        self._opened = os.fstat(self._descriptor)

    def append(self, batch: Sequence[AuditRecord]) -> None:
        """Write the lines and sync."""
        lines = b"".join([record.line() for record in batch])
        self._write(lines, self._follow_name())
        if os.fstat(self._descriptor).st_nlink == 0:  # renamed, compressed and removed since we looked
            self._write(lines, self._follow_name())

    def _follow_name(self) -> int:
        """Open the file that has the name now, where it is another one, and give its size in bytes."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            found = None
        except OSError as error:
            raise TemporaryError(f"cannot be found: {error.strerror}", where=str(self.file)) from error
        if found is None or not os.path.samestat(found, self._opened):
            renewed = self._open()
            os.close(self._descriptor)
            self._descriptor = renewed
            found = self._opened = os.fstat(renewed)
        return found.st_size

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            try:
                return os.open(self.file, flags)
            except FileNotFoundError:
                descriptor = os.open(self.file, flags | os.O_CREAT, 0o660)
            # milter, portal and worker are other users of one group, and each may be the first
            if os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, 0o660)
            folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise TemporaryError(f"cannot be opened: {error.strerror}", where=str(self.file)) from error
        return descriptor

    def _write(self, lines: bytes, size: int) -> None:
        try:
            view = memoryview(b"\n" + lines if self._is_torn(size) else lines)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise TemporaryError(f"cannot be written: {error.strerror}", where=str(self.file)) from error

    def _is_torn(self, size: int) -> bool:
        """Whether the last line has no end: a full disk cut it off, here or in another process."""
        return size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class StoreTarget:
    """The chain of one writer in the database."""

    def __init__(self, database: Database, writer: str) -> None:
        self._database = database
        self._records = Records(database)
        self._writer = writer

    def append(self, batch: Sequence[AuditRecord]) -> None:
        """Append to the chain in one transaction."""
        self._records.append(self._writer, [(record.at, record.line()) for record in batch], link)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def open_writer(settings: Settings, writer: str, told: Told | None = None) -> AuditWriter:
    """The writer that ``[audit]`` asks for; ``writer`` names its chain, such as ``mx.care.test:portal``.

    Raises:
        TemporaryError: the file cannot be opened.
        ConfigurationError: there is no store.
    """
    if settings.audit.target == "store":
        return AuditWriter(StoreTarget(Database(settings.store.url), writer), told)
    return AuditWriter(settings.audit.file, told)


class AuditWriter:
    """Collects records of many threads for one target; a path stands for a file of JSON lines.

    ``told`` is given each record that is on disk.
    """

    def __init__(self, target: Target | Path, told: Told | None = None) -> None:
        self._target = FileTarget(target) if isinstance(target, Path) else target
        self._told = told
        self._batch = Batch(self._target.append, "audit")
        self._closed = False

    def write(self, *records: AuditRecord) -> None:
        """Return when the records are on disk; raises TemporaryError when they cannot be."""
        if self._closed:
            raise TemporaryError("is closed", where="audit")
        self._batch.add(*records)
        if self._told is not None:
            for record in records:
                self._told(record)

    def close(self) -> None:
        """Stop; nobody may be writing any more."""
        self._closed = True
        self._target.close()
