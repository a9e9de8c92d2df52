"""What the milter stores, and what Postfix's commit makes of it: one transaction each.

Every method may raise StoreUnavailable. Moments are given in, so that a test needs no clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.sql import ColumnElement

from nta_milter.store.access import add_submission
from nta_milter.store.batch import Batch
from nta_milter.store.database import Database
from nta_milter.store.handover import submit
from nta_milter.store.keys import new_id
from nta_milter.store.query import blob_row, delivery_of, delivery_rows
from nta_milter.store.rows import (
    RELEASE,
    Attempt,
    Commit,
    Delivery,
    DeliveryState,
    Form,
    MessageState,
    NewLink,
    NewMessage,
)
from nta_milter.store.schema import attempts, blobs, deliveries, links, messages, sessions

# Statements of every message are built once: to build one takes longer than SQLite takes to carry it out.
_INSERT_MESSAGES = insert(messages)
_INSERT_BLOBS = insert(blobs)
_INSERT_DELIVERIES = insert(deliveries)
_INSERT_ATTEMPT = insert(attempts)
_INSERT_LINK = insert(links)
_SEALED = select(blobs.c.content).where(blobs.c.id == bindparam("name"))
_PREPARED = (
    select(messages.c.id)
    .where(messages.c.digest == bindparam("digest"), messages.c.state == MessageState.PREPARED.value)
    .order_by(messages.c.created_at)
    .limit(1)
)

_UNFINISHED = [
    state.value
    for state in (
        DeliveryState.PREPARED,
        DeliveryState.WAITING,
        DeliveryState.HELD,
        DeliveryState.UNDECIDED,
    )
]


@dataclass(frozen=True, slots=True)
class _New:
    """A message to be stored, with the states that it and its deliveries begin in."""

    message: NewMessage
    state: MessageState
    deliveries_are: DeliveryState
    attempt: Attempt | None = None
    link: NewLink | None = None


class Outgoing:
    """The rows of messages on their way out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch = Batch(self._write, database.name)

    # Storing

    def prepare(self, new: NewMessage, attempt: Attempt, link: NewLink | None = None) -> None:
        """Store a message whose release waits for the commit of this attempt.

        ``link`` is given for a deposit in place: it has one delivery, and its notification is in the very
        message that is committed, so that who has the link may open it at once.
        """
        state = DeliveryState.PREPARED if link is None else DeliveryState.SENT
        self._batch.add(_New(new, MessageState.PREPARED, state, attempt, link))

    def attach(self, digest: str, attempt_id: str, queue_id: str, at: datetime) -> str | None:
        """Another attempt at a message that is prepared already; its id, or None where there is none.

        Each attempt has a commit address of its own, so that of two equal messages that both were meant,
        both go, and of a message that was tried twice, one.
        """
        with self._database.reading() as connection:  # most messages are new, and need no lock
            if connection.execute(_PREPARED, {"digest": digest}).scalar() is None:
                return None
        with self._database.transaction() as connection:
            found = connection.execute(_PREPARED.with_for_update(), {"digest": digest}).scalar()
            if found is not None:
                attempt = Attempt(attempt_id, found, queue_id, at)
                connection.execute(_INSERT_ATTEMPT, _attempt_row(attempt))
            return found

    def sealed(self, blob_id: str) -> bytes | None:
        """The sealed content that a blob's row holds; None where it lies in the blob store, or is gone."""
        with self._database.reading() as connection:
            return connection.execute(_SEALED, {"name": blob_id}).scalar()

    def exists(self, message_id: str) -> bool:
        """Whether a message of this id is stored, whatever became of it."""
        with self._database.reading() as connection:
            found = connection.execute(select(messages.c.id).where(messages.c.id == message_id)).scalar()
        return found is not None

    def keep(self, new: NewMessage) -> None:
        """Store a message that is released at once: a reply from the portal."""
        with self._database.transaction() as connection:
            _store(connection, [_New(new, MessageState.RELEASED, DeliveryState.PREPARED)])
            _release(connection, new.id, new.created_at)

    def remember(self, new: NewMessage) -> None:
        """Remember mail that is delivered without us and is not stored: a report about it can be written.

        It has no blobs, and its rows go as those of any message whose content is gone.
        """
        self._batch.add(_New(new, MessageState.SHREDDED, DeliveryState.SENT))

    def _write(self, news: Sequence[_New]) -> None:
        with self._database.transaction() as connection:
            _store(connection, news)

    def add_link(self, link: NewLink, at: datetime) -> None:
        """One more link for a delivery; earlier ones stay good."""
        with self._database.transaction() as connection:
            connection.execute(_INSERT_LINK, _link_row(link, at))

    # Commit, or the end without one

    def commit(self, attempt_id: str, at: datetime) -> Commit:
        """Postfix has queued the message of this attempt: what belongs to it may go, once."""
        mine = attempts.c.id == attempt_id
        with self._database.transaction() as connection:
            attempt = connection.execute(select(attempts).where(mine).with_for_update()).first()
            if attempt is None:
                return Commit.UNKNOWN
            if attempt.state != "open":
                return Commit.AGAIN if attempt.state == "committed" else Commit.ABANDONED
            connection.execute(update(attempts).where(mine).values(state="committed"))
            first = connection.execute(
                update(messages)
                .where(messages.c.id == attempt.message_id, messages.c.state == MessageState.PREPARED.value)
                .values(state=MessageState.RELEASED.value)
            ).rowcount
            if first:
                _report_in_place(connection, attempt.message_id, at)
            else:
                _double(connection, attempt.message_id, at)
            _name(connection, attempt.message_id, attempt.queue_id)
            _release(connection, attempt.message_id, at)
            return Commit.RELEASED

    def attempt(self, attempt_id: str) -> Attempt | None:
        """An attempt by its id."""
        with self._database.reading() as connection:
            row = connection.execute(select(attempts).where(attempts.c.id == attempt_id)).first()
        return None if row is None else Attempt(row.id, row.message_id, row.queue_id, row.created_at)

    def open_attempts(self) -> tuple[Attempt, ...]:
        """The attempts whose commit has not come."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(attempts).where(attempts.c.state == "open").order_by(attempts.c.created_at)
            ).all()
        return tuple(Attempt(row.id, row.message_id, row.queue_id, row.created_at) for row in rows)

    def abandon(self, attempt_id: str) -> Delivery | None:
        """Postfix does not have the message of this attempt: it will never be committed.

        When it was the last attempt at a prepared message, the message is over, and one of its deliveries is
        given back for the record. One that somebody has opened was queued, whatever became of its commit: his
        link was in that message alone.
        """
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(attempts)
                .where(attempts.c.id == attempt_id, attempts.c.state == "open")
                .values(state="abandoned")
            ).rowcount
            message_id = connection.execute(
                select(attempts.c.message_id).where(attempts.c.id == attempt_id)
            ).scalar()
            prepared = connection.execute(
                select(messages.c.id)
                .where(messages.c.id == message_id, messages.c.state == MessageState.PREPARED.value)
                .with_for_update()
            ).scalar()
            more = connection.execute(
                select(attempts.c.id)
                .where(attempts.c.message_id == message_id, attempts.c.state == "open")
                .limit(1)
            ).scalar()
            if not changed or prepared is None or more is not None:
                return None
            mine = deliveries.c.message_id == message_id
            connection.execute(
                update(messages).where(messages.c.id == message_id).values(state=MessageState.RELEASED.value)
            )
            opened = select(deliveries.c.id).where(mine, deliveries.c.opened_at.is_not(None))
            if connection.execute(opened.limit(1)).scalar() is not None:
                return None
            connection.execute(update(deliveries).where(mine).values(state=DeliveryState.ABANDONED.value))
            for table in (links, sessions):
                names = select(deliveries.c.id).where(mine)
                connection.execute(delete(table).where(table.c.delivery_id.in_(names)))
            row = connection.execute(delivery_rows().where(mine).limit(1)).first()
            return None if row is None else delivery_of(row)


def unfinished(message_id: Any) -> ColumnElement[bool]:
    """The condition that a message has work before it: deliveries under way, or an attempt without an end."""
    return or_(
        exists(
            select(deliveries.c.id).where(
                deliveries.c.message_id == message_id, deliveries.c.state.in_(_UNFINISHED)
            )
        ),
        exists(select(attempts.c.id).where(attempts.c.message_id == message_id, attempts.c.state == "open")),
    )


def _store(connection: Connection, news: Sequence[_New]) -> None:
    """The rows of all of them, a statement a table."""
    rows = (
        (_INSERT_MESSAGES, [_message_row(new) for new in news]),
        (_INSERT_BLOBS, [blob_row(blob, new.message.id) for new in news for blob in new.message.blobs]),
        (_INSERT_DELIVERIES, [row for new in news for row in _delivery_rows(new)]),
        (_INSERT_ATTEMPT, [_attempt_row(new.attempt) for new in news if new.attempt]),
        (_INSERT_LINK, [_link_row(new.link, new.message.created_at) for new in news if new.link]),
    )
    for statement, values in rows:
        if values:
            connection.execute(statement, values)


def _message_row(new: _New) -> dict[str, Any]:
    message = new.message
    return {
        "id": message.id,
        "state": new.state.value,
        "digest": message.digest,
        "sender": message.sender,
        "author": message.author,
        "arguments": json.dumps(message.arguments),
        "language": message.language,
        "size": sum(blob.size for blob in message.blobs),
        "created_at": message.created_at,
        "expires_at": message.expires_at,
        "worker_wrap": message.worker_wrap,
        "shredded_at": message.created_at if new.state is MessageState.SHREDDED else None,
        "reply_to": message.reply_to,
    }


def _delivery_rows(new: _New) -> Iterator[dict[str, Any]]:
    for delivery in new.message.deliveries:
        yield {
            "id": delivery.id,
            "message_id": new.message.id,
            "blob_id": delivery.blob_id,
            "recipient": delivery.recipient,
            "arguments": json.dumps(delivery.arguments),
            "route": delivery.route,
            "next_hop": delivery.next_hop,
            "reasons": json.dumps(delivery.reasons),
            "state": new.deliveries_are.value,
            "queue_id": new.message.queue_id,
            "created_at": new.message.created_at,
            "downloads": 0,
        }


def _name(connection: Connection, message_id: str, queue_id: str) -> None:
    """Of several tries, the committed one gives what is released its queue id."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.message_id == message_id, deliveries.c.state == DeliveryState.PREPARED.value)
        .values(queue_id=queue_id)
    )


def _release(connection: Connection, message_id: str, at: datetime) -> None:
    """Let every prepared delivery of a message become what its route says."""
    mine = (deliveries.c.message_id == message_id, deliveries.c.state == DeliveryState.PREPARED.value)
    rows = connection.execute(select(deliveries.c.id, deliveries.c.route, deliveries.c.reasons).where(*mine))
    for delivery_id, route, reasons in rows.all():
        state, form = RELEASE[route]
        decide_at = at if state is DeliveryState.UNDECIDED else None
        connection.execute(
            update(deliveries)
            .where(deliveries.c.id == delivery_id)
            .values(state=state.value, decide_at=decide_at)
        )
        if form is not None:
            submit(connection, delivery_id, form, tuple(json.loads(reasons)), at)


def _report_in_place(connection: Connection, message_id: str, at: datetime) -> None:
    """Tell of the success of a deposit in place, where the client asked for it (RFC 3461)."""
    mine = (deliveries.c.message_id == message_id, deliveries.c.state == DeliveryState.SENT.value)
    rows = connection.execute(select(deliveries.c.id, deliveries.c.arguments).where(*mine)).all()
    for delivery_id, arguments in rows:
        if "SUCCESS" in arguments.upper():
            add_submission(connection, delivery_id, Form.REPORT, at, "2.0.0")


def _double(connection: Connection, message_id: str, at: datetime) -> None:
    """A message was meant twice: prepare its deliveries once more, of the same content."""
    rows = connection.execute(select(deliveries).where(deliveries.c.message_id == message_id)).all()
    first = min(row.created_at for row in rows)
    for row in rows:
        if row.created_at == first:
            again = {
                "id": new_id(),
                "state": DeliveryState.PREPARED.value,
                "created_at": at,
                "opened_at": None,
                "read_at": None,
                "downloads": 0,
                "decide_at": None,
            }
            connection.execute(insert(deliveries).values(**{**row._mapping, **again}))


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "message_id": attempt.message_id,
        "queue_id": attempt.queue_id,
        "state": "open",
        "created_at": attempt.created_at,
    }


def _link_row(link: NewLink, at: datetime) -> dict[str, Any]:
    return {
        "lookup": link.lookup,
        "delivery_id": link.delivery_id,
        "purpose": link.purpose,
        "sealed": link.sealed,
        "created_at": at,
    }
