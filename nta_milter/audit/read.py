"""Reads the record of events, wherever it is kept; what is not whole is passed over."""

from __future__ import annotations

import gzip
import json
import re
import zlib
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
    """The lines of a file and of those that logrotate has made of it, the oldest first."""
    for each in (*_rotated(path), path):
        try:
            with gzip.open(each) if each.suffix == ".gz" else each.open("rb") as file:
                yield from file
        except FileNotFoundError:
            continue
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TemporaryError(f"cannot be read: {reason}", where=str(each)) from error


def _rotated(path: Path) -> list[Path]:
    """What logrotate names NAME.1, NAME-20261124, NAME.2.gz; each was written last when it was renamed."""
    name = re.compile(re.escape(path.name) + r"[.-][0-9]+(\.gz)?")
    try:
        found = [(each.stat().st_mtime, each) for each in path.parent.iterdir() if name.fullmatch(each.name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TemporaryError(f"cannot be read: {error.strerror}", where=str(path.parent)) from error
    return [each for _, each in sorted(found)]
