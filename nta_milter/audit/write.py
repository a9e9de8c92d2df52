"""Appends audit records durably; many threads share one fsync.

A message is acknowledged only after its record is on disk, so records that arrive while one fsync runs
are written together by the next.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from pathlib import Path

from nta_milter.audit.events import AuditRecord
from nta_milter.errors import TemporaryError


class AuditWriter:
    """The writer of one file; safe for many threads."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._condition = threading.Condition()
        self._waiting: list[tuple[bytes, Future[None]]] = []
        self._closed = False
        try:
            self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise TemporaryError(f"cannot be opened: {error.strerror}", where=str(file)) from error
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def write(self, record: AuditRecord) -> None:
        """Return when the record is on disk; raises TemporaryError when it cannot be."""
        done: Future[None] = Future()
        with self._condition:
            if self._closed:
                raise TemporaryError("is closed", where=str(self.file))
            self._waiting.append((record.line(), done))
            self._condition.notify()
        done.result()

    def close(self) -> None:
        """Write what waits and stop."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()
        os.close(self._descriptor)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closed:
                    self._condition.wait()
                batch, self._waiting = self._waiting, []
                if not batch:
                    return
            fault = self._append(b"".join(line for line, _ in batch))
            for _, done in batch:
                if fault is None:
                    done.set_result(None)
                else:
                    done.set_exception(fault)

    def _append(self, lines: bytes) -> TemporaryError | None:
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fdatasync(self._descriptor)
        except OSError as error:
            return TemporaryError(f"cannot be written: {error.strerror}", where=str(self.file))
        return None
