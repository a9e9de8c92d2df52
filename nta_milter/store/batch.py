"""Many threads share one write to disk: whoever comes when nobody writes, writes for all who wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from nta_milter.errors import NtaMilterError, StoreUnavailable

Item = TypeVar("Item")


@dataclass(slots=True)
class _Entry(Generic[Item]):
    """An item that is to be written; ``fault`` says why it could not be."""

    item: Item
    written: bool = False
    fault: NtaMilterError | None = None


class Batch(Generic[Item]):
    """Collects items of many threads and writes them together.

    ``write`` writes all of its items, on disk when it returns, or none. What it raises is raised to each
    whose item was among them; a fault that is none of ours becomes StoreUnavailable, and then each item is
    tried alone first, so that one that cannot be written is in nobody else's way.
    """

    def __init__(self, write: Callable[[Sequence[Item]], None], where: str) -> None:
        self._write = write
        self._where = where
        self._collecting = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: list[_Entry[Item]] = []

    def add(self, *items: Item) -> None:
        """Return when the items are on disk; raises what kept them from it."""
        entries = [_Entry(item) for item in items]
        with self._collecting:
            self._waiting += entries
        with self._writing:
            if not all(entry.written for entry in entries):
                self._write_waiting()
        for entry in entries:
            if entry.fault is not None:
                raise entry.fault

    def _write_waiting(self) -> None:
        with self._collecting:
            batch, self._waiting = self._waiting, []
        fault, ours = self._tried(batch)
        if fault is not None and not ours and len(batch) > 1:
            for entry in batch:
                entry.fault, _ = self._tried([entry])
        else:
            for entry in batch:
                entry.fault = fault
        for entry in batch:
            entry.written = True

    def _tried(self, batch: Sequence[_Entry[Item]]) -> tuple[NtaMilterError | None, bool]:
        """What kept a batch from the disk, and whether it is an error of ours."""
        try:
            self._write([entry.item for entry in batch])
        except NtaMilterError as error:
            return error, True
        except Exception as error:  # whoever waits gets the fault, and the next one may write  # noqa: BLE001
            return StoreUnavailable(f"cannot be written: {error}", where=self._where), False
        return None, True
