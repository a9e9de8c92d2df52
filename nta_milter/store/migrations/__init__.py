"""Numbered, forward-only steps from one version of the schema to the next, under a lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlalchemy import inspect, select, text
from sqlalchemy.engine import Connection

from nta_milter.errors import ConfigurationError
from nta_milter.store.database import Database
from nta_milter.store.schema import VERSION, metadata, schema_version

Step = Callable[[Connection], None]


def _queue_ids(connection: Connection) -> None:
    """2: each delivery has the queue id of the message that it came with."""
    connection.execute(text("ALTER TABLE deliveries ADD COLUMN queue_id TEXT NOT NULL DEFAULT ''"))
    connection.execute(
        text(
            "UPDATE deliveries SET queue_id = COALESCE((SELECT MAX(attempts.queue_id) FROM attempts "
            "WHERE attempts.message_id = deliveries.message_id AND attempts.state <> 'abandoned'), '')"
        )
    )


def _small_contents(connection: Connection) -> None:
    """3: what is small is stored with its row."""
    kind = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    connection.execute(text(f"ALTER TABLE blobs ADD COLUMN content {kind}"))


STEPS: Mapping[int, Step] = MappingProxyType({2: _queue_ids, 3: _small_contents})
"""The step that leads *to* each version after the first. A step that has been released never changes."""

_LOCK = 7_516_001
"""Key of the advisory lock on PostgreSQL; SQLite's write lock does the same."""


def version(database: Database) -> int:
    """The version of the schema that the database has; 0 when it is empty.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    with database.reading() as connection:
        return _version(connection)


def migrate(database: Database, steps: Mapping[int, Step] = STEPS, wanted: int = VERSION) -> int:
    """Bring the schema to ``wanted``, all or nothing; the version that was found.

    Two processes that migrate at the same time do it once.

    Raises:
        ConfigurationError: the database has a newer version than this program knows.
        StoreUnavailable: the database cannot be written.
    """
    database.create()
    with database.transaction() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        found = _version(connection)
        if found > wanted:
            raise _newer(database, found, wanted)
        if found == 0:
            metadata.create_all(connection)
            connection.execute(schema_version.insert().values(version=wanted))
            return found
        for number in range(found + 1, wanted + 1):
            steps[number](connection)
        connection.execute(schema_version.update().values(version=wanted))
        return found


def require(database: Database) -> None:
    """Raise ConfigurationError unless the database has exactly the schema of this program."""
    if not database.exists():
        raise ConfigurationError("is not there: run nta-milter store init", where=database.name)
    found = version(database)
    if found > VERSION:
        raise _newer(database, found, VERSION)
    if found < VERSION:
        raise ConfigurationError(
            f"has version {found} of the schema, {VERSION} is needed: stop the services, back it up and run "
            "nta-milter migrate",
            where=database.name,
        )


def _newer(database: Database, found: int, known: int) -> ConfigurationError:
    """A step never goes back: only the program can be changed, or the database as it was."""
    return ConfigurationError(
        f"has version {found} of the schema, and this program knows {known}: a newer nta-milter has been "
        "here; install that one again, or restore the database from before it",
        where=database.name,
    )


def _version(connection: Connection) -> int:
    if not inspect(connection).has_table(schema_version.name):
        return 0
    found = connection.execute(select(schema_version.c.version)).scalar()
    return int(found or 0)
