"""The database of ``[store] url``: SQLite with a write-ahead log, or PostgreSQL (SQLAlchemy Core)."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from nta_milter.errors import ConfigurationError, StoreUnavailable

BUSY_TIMEOUT = 5_000
"""Milliseconds that SQLite waits for another writer."""

FIRST_PAUSE, LONGEST_PAUSE = 0.000_2, 0.001
"""Seconds between two looks at SQLite's lock."""

_PRAGMAS = (
    f"busy_timeout={BUSY_TIMEOUT}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",  # a shredded key must not stay on a free page
)


class Database:
    """Transactions on one database; safe for many threads. Open it after a fork, never before.

    ``url`` may hold a password; ``name`` is what may be shown.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            backend = parsed.get_backend_name()
            if backend not in ("sqlite", "postgresql"):
                raise ConfigurationError(f"{backend} is neither sqlite nor postgresql", where="store.url")
            self._file = Path(parsed.database or "") if backend == "sqlite" else None
            self.engine = _postgresql(parsed) if self._file is None else _sqlite(self._file)
        except ArgumentError as error:
            raise ConfigurationError(
                "is not a database URL such as sqlite:////path", where="store.url"
            ) from error
        except ImportError as error:
            raise ConfigurationError(
                f"its driver is not installed: {error.name}", where="store.url"
            ) from error
        self.is_sqlite = self._file is not None
        self._writing = threading.Lock()
        self.url = url
        self.name = parsed.render_as_string(hide_password=True)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that writes: committed and on disk when the block ends, undone when it raises.

        Raises:
            StoreUnavailable: the database cannot be reached, is locked too long, or full.
        """
        with self._turn(), self._begin({}) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, one consistent view; it never waits for writers on SQLite.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        with self._begin({"reading": True}) as connection:
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """SQLite takes one writer, and who finds it busy sleeps: threads of one process wait here, no longer
        than they must.
        """
        if not self.is_sqlite:
            yield
        elif self._writing.acquire(timeout=BUSY_TIMEOUT / 1000):
            try:
                yield
            finally:
                self._writing.release()
        else:
            raise StoreUnavailable("database is locked", where=self.name)

    @contextmanager
    def _begin(self, options: dict[str, Any]) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection, _with_options(connection, options).begin():
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            reason = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
            raise StoreUnavailable(reason, where=self.name) from error

    def exists(self) -> bool:
        """Whether SQLite's file is there; True for a server."""
        return self._file is None or self._file.exists()

    def create(self) -> None:
        """Make SQLite's file where it is missing, for its group to write: milter, portal and worker are
        different users. The write-ahead log takes over owner and mode.

        Raises:
            StoreUnavailable: it cannot be made.
        """
        if self._file is None:
            return
        try:
            descriptor = os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
        except FileExistsError:
            return
        except OSError as error:
            raise StoreUnavailable(f"cannot be made: {error.strerror}", where=self.name) from error
        os.fchmod(descriptor, 0o660)
        os.close(descriptor)

    def checkpoint(self) -> None:
        """Fold SQLite's write-ahead log in and cut it off: it still holds the pages of before.

        While another reads it is left for the next time.

        Raises:
            StoreUnavailable: the database cannot be written.
        """
        if self.is_sqlite:
            try:
                with self.engine.connect() as connection:
                    driver = connection.connection.driver_connection
                    assert driver is not None
                    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
            except (SQLAlchemyError, sqlite3.Error) as error:
                raise StoreUnavailable(str(error), where=self.name) from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _with_options(connection: Connection, options: dict[str, Any]) -> Connection:
    return connection.execution_options(**options) if options else connection


def _sqlite(file: Path) -> Engine:
    # mode=rw: a service that is started too early must not make an empty file of its own user
    address = f"{file.absolute().as_uri()}?mode=rw"
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True, check_same_thread=False),
        future=True,
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=64,
        pool_use_lifo=True,  # the connection that was used last has read what is needed most recently
        pool_reset_on_return=None,  # each transaction of ours is ended before its connection goes back
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # pysqlite must not begin transactions by itself
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # a transaction that is going to write takes the lock at once, else two of them fail half-way
        driver: Any = connection.connection.driver_connection
        if connection.get_execution_options().get("reading"):
            driver.execute("BEGIN")
        else:
            _take_lock(driver)

    return engine


def _take_lock(driver: sqlite3.Connection) -> None:
    """Begin to write. Others are done within a millisecond, where SQLite itself would sleep for several."""
    end = time.monotonic() + BUSY_TIMEOUT / 1000
    pause = FIRST_PAUSE
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)
            else:
                return
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")


def _postgresql(url: URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg2")  # newer SQLAlchemy would take another one
    return create_engine(url, future=True, pool_pre_ping=True, pool_size=8, max_overflow=64)
