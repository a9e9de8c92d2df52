"""The rows of the audit: lines that only grow, one chain per writer. What a line says is not known here.

Every method may raise StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.engine import Connection

from nta_milter.errors import SealError
from nta_milter.store.database import Database
from nta_milter.store.schema import checkpoints, records

_PAGE = 1_000
_FOREIGN = "was changed: it holds another type of value"


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a chain. ``hash`` (hex) follows from the line and the hash before it."""

    writer: str
    sequence: int
    at: datetime
    line: bytes
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that a chain had this hash at this record."""

    writer: str
    sequence: int
    at: datetime
    hash: str
    signature: bytes
    key_id: str


class Records:
    """The chains and their checkpoints."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self, writer: str, lines: Sequence[tuple[datetime, bytes]], link: Callable[[str, bytes], str]
    ) -> None:
        """Add lines at the end of a chain, all or none, on disk when this returns.

        ``link`` gives a record's hash from the hash before it (empty for the first) and its line.
        """
        with self._database.transaction() as connection:
            self._alone(connection, writer)
            sequence, last = _last(connection, writer)
            rows = []
            for at, line in lines:
                sequence, last = sequence + 1, link(last, line)
                rows.append({"writer": writer, "sequence": sequence, "at": at, "line": line, "hash": last})
            connection.execute(insert(records), rows)

    def writers(self) -> tuple[str, ...]:
        """The names of all chains."""
        with self._database.reading() as connection:
            found = set(connection.execute(select(records.c.writer).distinct()).scalars())
            found.update(connection.execute(select(checkpoints.c.writer).distinct()).scalars())
        return tuple(sorted(found))

    def last(self, writer: str) -> tuple[int, str]:
        """Sequence and hash of a chain's last record, or of its last checkpoint when that is later."""
        with self._database.reading() as connection:
            return _last(connection, writer)

    def read(self, writer: str, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        """A chain's records in order; memory is bounded.

        Raises:
            SealError: somebody has put something else into a column than we do (SQLite keeps any type).
        """
        last = () if upto is None else (records.c.sequence <= upto,)
        size = _PAGE
        while True:
            page = (
                select(records)
                .where(records.c.writer == writer, records.c.sequence > after, *last)
                .order_by(records.c.sequence)
                .limit(size)
            )
            with self._database.reading() as connection:
                try:
                    rows = connection.execute(page).all()
                    foreign = any(not isinstance(row.line, bytes) for row in rows)
                except (TypeError, OverflowError):
                    foreign = True
            if foreign and size == 1:
                raise SealError(_FOREIGN, where=f"{writer}, record after {after}")
            if foreign:  # which one it is
                size = 1
                continue
            for row in rows:
                yield Record(row.writer, row.sequence, row.at, row.line, row.hash)
                after = row.sequence
            if len(rows) < size:
                return

    def add_checkpoint(self, checkpoint: Checkpoint) -> bool:
        """Keep a checkpoint; False when there is one of that record already."""
        with self._database.transaction() as connection:
            found = connection.execute(
                select(checkpoints.c.sequence).where(
                    checkpoints.c.writer == checkpoint.writer,
                    checkpoints.c.sequence == checkpoint.sequence,
                )
            ).scalar()
            if found is None:
                connection.execute(
                    insert(checkpoints).values(
                        writer=checkpoint.writer,
                        sequence=checkpoint.sequence,
                        at=checkpoint.at,
                        hash=checkpoint.hash,
                        signature=checkpoint.signature,
                        key_id=checkpoint.key_id,
                    )
                )
        return found is None

    def checkpoints(self, writer: str) -> tuple[Checkpoint, ...]:
        """A chain's checkpoints in order."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(checkpoints).where(checkpoints.c.writer == writer).order_by(checkpoints.c.sequence)
            ).all()
        return tuple(
            Checkpoint(row.writer, row.sequence, row.at, row.hash, row.signature, row.key_id) for row in rows
        )

    def older(self, writer: str, before: datetime) -> int:
        """The number of the last of a chain's first records that are all older; 0 where there is none."""
        mine = select(records.c.sequence).where(records.c.writer == writer)
        with self._database.reading() as connection:
            kept = connection.execute(
                mine.where(records.c.at >= before).order_by(records.c.sequence).limit(1)
            ).scalar()
            if kept is not None:
                return int(kept) - 1
            return connection.execute(mine.order_by(records.c.sequence.desc()).limit(1)).scalar() or 0

    def remove(self, checkpoint: Checkpoint) -> int:
        """Remove a chain's records up to a checkpoint, and the checkpoints before it, all or none; how many
        records there were.

        The checkpoint takes the place of the one with its number. Where that is gone too, nothing is done:
        another has removed more.
        """
        number = checkpoints.c.sequence
        with self._database.transaction() as connection:
            self._alone(connection, checkpoint.writer)
            mine = checkpoints.c.writer == checkpoint.writer
            changed = connection.execute(
                update(checkpoints)
                .where(mine, number == checkpoint.sequence)
                .values(at=checkpoint.at, signature=checkpoint.signature, key_id=checkpoint.key_id)
            ).rowcount
            if not changed:
                return 0
            connection.execute(delete(checkpoints).where(mine, number < checkpoint.sequence))
            return connection.execute(
                delete(records).where(
                    records.c.writer == checkpoint.writer, records.c.sequence <= checkpoint.sequence
                )
            ).rowcount

    def _alone(self, connection: Connection, writer: str) -> None:
        """Wait until nobody else changes a chain; SQLite's transaction is alone already."""
        if not self._database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:writer))"), {"writer": writer})


def _last(connection: Connection, writer: str) -> tuple[int, str]:
    found = (0, "")
    for table in (records, checkpoints):
        row = connection.execute(
            select(table.c.sequence, table.c.hash)
            .where(table.c.writer == writer)
            .order_by(table.c.sequence.desc())
            .limit(1)
        ).first()
        if row is not None and row[0] > found[0]:
            found = (row[0], row[1])
    return found
