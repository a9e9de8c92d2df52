"""The store of care.test as somebody sees it who looks at its files: rows, blobs and keys."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PATIENCE = 30.0
"""Seconds of waiting for another's transaction."""

_KEPT = "schema_version"


class Stored:
    """Database and blobs in the folder of nta-milter."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "store.sqlite"
        self.blobs = folder / "blobs"
        self.secrets = folder / "secrets"

    @contextlib.contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection; what is changed is committed at the end, if nothing was raised."""
        connection = sqlite3.connect(self.database, timeout=_PATIENCE)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def rows(self, statement: str, *values: object) -> list[Any]:
        """The rows of a SELECT."""
        with self.opened() as connection:
            return connection.execute(statement, values).fetchall()

    def change(self, statement: str, *values: object) -> None:
        """Change rows, as time or a fault would."""
        with self.opened() as connection:
            connection.execute(statement, values)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else can write to the database meanwhile."""
        connection = sqlite3.connect(self.database, timeout=_PATIENCE, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()

    def everything(self) -> list[str]:
        """All rows of all tables, as SQL."""
        with self.opened() as connection:
            return list(connection.iterdump())

    def contents(self) -> list[str]:
        """The ids of all content that is there, in rows and beside them."""
        kept = [name for (name,) in self.rows("SELECT id FROM blobs WHERE content IS NOT NULL")]
        return kept + [path.name for path in self.files()]

    def files(self) -> list[Path]:
        """The files of what is too long for a row."""
        return [path for path in self.blobs.rglob("*") if path.is_file()]

    def at_rest(self) -> bool:
        """Whether nothing is on its way: all is released or given up, decided, and handed to Postfix."""
        (waiting,) = self.rows(
            "SELECT (SELECT count(*) FROM messages WHERE state = 'prepared')"
            " + (SELECT count(*) FROM deliveries WHERE state IN ('waiting', 'undecided'))"
            " + (SELECT count(*) FROM submissions WHERE state IN ('waiting', 'claimed'))"
        )
        return bool(waiting[0] == 0)

    def clear(self) -> None:
        """Forget everything: rows and blobs."""
        tables = [name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        with self.opened() as connection:
            for table in tables:
                if table != _KEPT:
                    connection.execute(f"DELETE FROM {table}")
        for file in self.files():
            file.unlink(missing_ok=True)
