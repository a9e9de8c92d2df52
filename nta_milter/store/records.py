"""The rows of the audit: lines that only grow, one chain per writer. What a line says is not known here.

Every method may raise StoreUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.engine import Connection

from nta_milter.store.database import Database
from nta_milter.store.schema import checkpoints, records

_PAGE = 1_000


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
            if not self._database.is_sqlite:  # SQLite's transaction is alone already
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(hashtext(:writer))"), {"writer": writer}
                )
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

    def read(self, writer: str, after: int = 0) -> Iterator[Record]:
        """A chain's records in order; memory is bounded."""
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(
                    select(records)
                    .where(records.c.writer == writer, records.c.sequence > after)
                    .order_by(records.c.sequence)
                    .limit(_PAGE)
                ).all()
            for row in rows:
                yield Record(row.writer, row.sequence, row.at, row.line, row.hash)
                after = row.sequence
            if len(rows) < _PAGE:
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

    def prune(self, before: datetime) -> int:
        """Remove records that are older and stand before or at a checkpoint; how many there were.

        What is left of a chain, at least one record, hangs from that checkpoint, so that it can still be
        verified.
        """
        count = 0
        with self._database.transaction() as connection:
            writers = connection.execute(select(checkpoints.c.writer).distinct()).scalars().all()
            for writer in writers:
                mine = records.c.writer == writer
                kept = connection.execute(
                    select(func.min(records.c.sequence)).where(mine, records.c.at >= before)
                ).scalar()
                if kept is None:
                    kept = connection.execute(select(func.max(records.c.sequence)).where(mine)).scalar() or 0
                usable = select(func.max(checkpoints.c.sequence)).where(
                    checkpoints.c.writer == writer, checkpoints.c.sequence < kept
                )
                last = connection.execute(usable).scalar()
                if last is not None:
                    old = delete(records).where(mine, records.c.sequence <= last)
                    count += connection.execute(old).rowcount
        return count


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
