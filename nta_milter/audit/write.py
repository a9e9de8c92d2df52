"""Records events durably; many threads share one write to disk.

A message is acknowledged only after its record is on disk, so records that arrive while one write runs are
written together by the next.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nta_milter.audit.chain import link
from nta_milter.audit.events import AuditRecord
from nta_milter.audit.tell import Told
from nta_milter.config.model import Settings
from nta_milter.errors import NtaMilterError, StoreUnavailable, TemporaryError
from nta_milter.store.database import Database
from nta_milter.store.records import Records


class Target(Protocol):
    """Where records go."""

    def append(self, batch: Sequence[AuditRecord]) -> None:
        """Add records, all on disk when this returns; raises TemporaryError when they cannot be."""

    def close(self) -> None:
        """Release it."""


class FileTarget:
    """JSON lines, appended to one file and synced."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            # milter, portal and worker are other users of one group, and each may be the first
            self._descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o660)
        except OSError as error:
            raise TemporaryError(f"cannot be opened: {error.strerror}", where=str(file)) from error

    def append(self, batch: Sequence[AuditRecord]) -> None:
        """Write the lines and sync."""
        lines = b"".join(record.line() for record in batch)
        try:
            view = memoryview(b"\n" + lines if self._is_torn() else lines)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise TemporaryError(f"cannot be written: {error.strerror}", where=str(self.file)) from error

    def _is_torn(self) -> bool:
        """Whether the last line has no end: a full disk cut it off, here or in another process."""
        size = os.fstat(self._descriptor).st_size
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


@dataclass(slots=True)
class _Entry:
    """A record that is to be written; ``fault`` says why it could not be."""

    record: AuditRecord
    written: bool = False
    fault: NtaMilterError | None = None


class AuditWriter:
    """Collects records of many threads for one target; a path stands for a file of JSON lines.

    Whoever comes when nobody writes, writes for all who wait. ``told`` is given each record that is on disk.
    """

    def __init__(self, target: Target | Path, told: Told | None = None) -> None:
        self._target = FileTarget(target) if isinstance(target, Path) else target
        self._told = told
        self._collecting = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: list[_Entry] = []
        self._closed = False

    def write(self, *records: AuditRecord) -> None:
        """Return when the records are on disk; raises TemporaryError when they cannot be."""
        entries = [_Entry(record) for record in records]
        with self._collecting:
            if self._closed:
                raise TemporaryError("is closed", where="audit")
            self._waiting += entries
        with self._writing:
            if not all(entry.written for entry in entries):
                self._write_waiting()
        for entry in entries:
            if entry.fault is not None:
                raise entry.fault
            if self._told is not None:
                self._told(entry.record)

    def close(self) -> None:
        """Write what waits and stop."""
        with self._collecting:
            self._closed = True
        with self._writing:
            self._write_waiting()
            self._target.close()

    def _write_waiting(self) -> None:
        with self._collecting:
            batch, self._waiting = self._waiting, []
        fault = self._append([entry.record for entry in batch]) if batch else None
        for entry in batch:
            entry.written, entry.fault = True, fault

    def _append(self, batch: list[AuditRecord]) -> NtaMilterError | None:
        try:
            self._target.append(batch)
        except NtaMilterError as error:
            return error
        except Exception as error:  # whoever waits gets the fault, and the next one may write  # noqa: BLE001
            return StoreUnavailable(f"cannot be written: {error}", where="audit")
        return None
