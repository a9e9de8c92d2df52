"""The store and the record of events, as the commands use them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from nta_milter.audit.events import AuditRecord
from nta_milter.audit.write import open_writer
from nta_milter.config.model import Settings
from nta_milter.store.store import Store, open_store


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """The store, closed when the block ends; raises as ``open_store`` does."""
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def record(settings: Settings, *records: AuditRecord) -> None:
    """Return when the records are on disk; raises TemporaryError when they cannot be."""
    os.umask(0o007)  # a file that is made here is the services' too, which share a group
    writer = open_writer(settings, f"{settings.milter.hostname or socket.gethostname()}:command")
    try:
        for each in records:
            writer.write(each)
    finally:
        writer.close()
