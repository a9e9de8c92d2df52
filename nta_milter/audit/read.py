"""Reads the record of events, wherever it is kept; what is not whole is passed over."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from nta_milter.config.model import Settings
from nta_milter.errors import TemporaryError
from nta_milter.store.records import Records
from nta_milter.store.store import open_database

RecordFields = Mapping[str, Any]
"""One record as it was written: see AuditRecord.line."""


def read(settings: Settings, words: Collection[str]) -> Iterator[RecordFields]:
    """The records that have at least one of these words in them, each writer's in order.

    Raises:
        TemporaryError: the record cannot be read.
    """
    wanted = [json.dumps(word, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape") for word in words]
    for line in _lines(settings):
        if any(word in line for word in wanted):
            try:
                fields = json.loads(line)
            except ValueError:
                continue  # a full disk cut it off
            yield fields


def _lines(settings: Settings) -> Iterator[bytes]:
    if settings.audit.target == "file":
        yield from _file(settings.audit.file)
        return
    database = open_database(settings)
    try:
        records = Records(database)
        for writer in records.writers():
            for record in records.read(writer):
                yield record.line
    finally:
        database.close()


def _file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return
    except OSError as error:
        raise TemporaryError(f"cannot be read: {error.strerror}", where=str(path)) from error
