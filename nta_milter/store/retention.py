"""The end of what is stored: the key first, then the content, and later the rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.sql import ColumnElement

from nta_milter.store.access import add_submission
from nta_milter.store.blobs import BlobStore
from nta_milter.store.database import Database
from nta_milter.store.late import under_way
from nta_milter.store.outgoing import unfinished
from nta_milter.store.query import delivery_of, delivery_rows
from nta_milter.store.rows import READABLE, Delivery, DeliveryState, Form, MessageState
from nta_milter.store.schema import (
    attempts,
    blobs,
    challenges,
    deliveries,
    links,
    messages,
    rates,
    sessions,
    submissions,
)

GRACE = timedelta(hours=1)
"""A blob without a row is left for this long: its row may be about to be written."""

RATE_LIFETIME = timedelta(days=2)
"""No rate counts over a longer period."""

EXPIRED = "4.4.7"
"""The status of a delivery whose time is over (RFC 3463)."""

_OPEN = [state.value for state in (*READABLE, DeliveryState.HELD, DeliveryState.UNDECIDED)]


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: deliveries that expired, one delivery of each message that was shredded, how many
    messages' rows and blobs without a row were removed.
    """

    expired: tuple[Delivery, ...]
    shredded: tuple[Delivery, ...]
    forgotten: int
    orphans: int


class Retention:
    """Removes what has had its time. Any number of hosts may sweep at the same time."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._blobs = store

    def sweep(
        self,
        at: datetime,
        forget_after: timedelta,
        *,
        resend: bool = True,
        copies_since: datetime | None = None,
    ) -> Swept:
        """One round. Without ``resend`` the worker's key is dropped once all is sent.

        Messages with a readable copy that Postfix took after ``copies_since`` keep their content.

        Raises:
            StoreUnavailable: the database or a blob cannot be changed; what was done stays done.
        """
        expired = self._expire(at)
        if not resend:
            self._drop_worker_wraps(copies_since)
        shredded = [self.shred(message_id, at) for message_id in self._finished(copies_since)]
        gone = tuple(delivery for delivery in shredded if delivery is not None)
        return Swept(expired, gone, self._forget(at, forget_after), self._orphans(at))

    def shred(self, message_id: str, at: datetime) -> Delivery | None:
        """Destroy a message's key with what its rows hold, then its blobs; one of its deliveries, for the
        record.

        None when another did so before, or somebody still needs it. When the key is gone and a blob cannot be
        removed, the sweep finds it later.
        """
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(messages)
                .where(
                    messages.c.id == message_id,
                    messages.c.state == MessageState.RELEASED.value,
                    ~_needed(),
                )
                .values(state=MessageState.SHREDDED.value, worker_wrap=None, shredded_at=at)
            ).rowcount
            if not changed:
                return None
            row = connection.execute(
                delivery_rows().where(deliveries.c.message_id == message_id).limit(1)
            ).first()
            mine = select(deliveries.c.id).where(deliveries.c.message_id == message_id)
            for table in (links, sessions, challenges):
                connection.execute(delete(table).where(table.c.delivery_id.in_(mine)))
            belong = blobs.c.message_id == message_id
            files = select(blobs.c.id).where(belong, blobs.c.content.is_(None))
            gone = list(connection.execute(files).scalars())
            connection.execute(delete(blobs).where(belong))
        self._database.checkpoint()
        for name in gone:
            self._blobs.delete(name)
        return None if row is None else delivery_of(row)

    def _expire(self, at: datetime) -> tuple[Delivery, ...]:
        """Deliveries whose time is over: nothing opens them, and the sender of an unread one is told."""
        due = (
            deliveries.c.state.in_(_OPEN),
            or_(deliveries.c.state != DeliveryState.SENT.value, deliveries.c.route == "portal"),
            messages.c.state == MessageState.RELEASED.value,  # one that was never queued is nobody's business
            messages.c.expires_at <= at,
        )
        with self._database.transaction() as connection:
            rows = connection.execute(delivery_rows().where(*due)).all()
            found = tuple(delivery_of(row) for row in rows)
            for start in range(0, len(found), 500):
                names = [delivery.id for delivery in found[start : start + 500]]
                connection.execute(
                    update(deliveries)
                    .where(deliveries.c.id.in_(names), deliveries.c.state.in_(_OPEN))
                    .values(state=DeliveryState.EXPIRED.value)
                )
                connection.execute(
                    delete(submissions).where(
                        submissions.c.delivery_id.in_(names), submissions.c.state != "submitted"
                    )
                )
            for delivery in found:
                if delivery.opened_at is None:
                    add_submission(connection, delivery.id, Form.REPORT, at, EXPIRED)
            connection.execute(delete(sessions).where(sessions.c.expires_at <= at))
            connection.execute(delete(rates).where(rates.c.began_at < at - RATE_LIFETIME))
        return found

    def _drop_worker_wraps(self, copies_since: datetime | None) -> None:
        with self._database.transaction() as connection:
            dropped = connection.execute(
                update(messages)
                .where(
                    messages.c.state == MessageState.RELEASED.value,
                    messages.c.worker_wrap.is_not(None),
                    ~unfinished(messages.c.id),
                    *_no_copies(copies_since),
                )
                .values(worker_wrap=None)
            ).rowcount
        if dropped:
            self._database.checkpoint()

    def _finished(self, copies_since: datetime | None) -> list[str]:
        """Messages whose content nobody needs any more."""
        wanted = (messages.c.state == MessageState.RELEASED.value, ~_needed(), *_no_copies(copies_since))
        with self._database.reading() as connection:
            return list(connection.execute(select(messages.c.id).where(*wanted)).scalars())

    def _forget(self, at: datetime, forget_after: timedelta) -> int:
        """Remove the rows of what was shredded long ago; what hangs from them goes too."""
        old = select(messages.c.id).where(messages.c.shredded_at <= at - forget_after)
        with self._database.transaction() as connection:
            names = list(connection.execute(old.limit(1000)).scalars())
            mine = select(deliveries.c.id).where(deliveries.c.message_id.in_(names))
            connection.execute(delete(submissions).where(submissions.c.delivery_id.in_(mine)))
            for table in (deliveries, attempts):
                connection.execute(delete(table).where(table.c.message_id.in_(names)))
            connection.execute(delete(messages).where(messages.c.id.in_(names)))
        return len(names)

    def _orphans(self, at: datetime) -> int:
        """Remove blobs without a row: a crash came between content and row, or between key and content."""
        old = [name for name, stored_at in self._blobs.listed() if stored_at < at - GRACE]
        with self._database.reading() as connection:
            known: set[str] = set()
            for start in range(0, len(old), 500):
                names = old[start : start + 500]
                known.update(connection.execute(select(blobs.c.id).where(blobs.c.id.in_(names))).scalars())
        orphans = [name for name in old if name not in known]
        for name in orphans:
            self._blobs.delete(name)
        return len(orphans)


def _no_copies(since: datetime | None) -> tuple[ColumnElement[bool], ...]:
    """The condition that no readable copy is under way since then; none where copies are not waited for."""
    return () if since is None else (~under_way(messages.c.id, since),)


def _needed() -> ColumnElement[bool]:
    """The condition that a message has work before it, or a recipient may still fetch it."""
    fetchable = (
        select(deliveries.c.id)
        .where(
            deliveries.c.message_id == messages.c.id,
            deliveries.c.state.in_([state.value for state in READABLE]),
            deliveries.c.route == "portal",
        )
        .exists()
    )
    return or_(fetchable, unfinished(messages.c.id))
