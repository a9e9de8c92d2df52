"""What the worker hands to Postfix, and what else becomes of a delivery: one transaction each.

Every method may raise StoreUnavailable. Moments are given in, so that a test needs no clock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Container
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from nta_milter.store.access import add_submission, end_delivery, release_held
from nta_milter.store.database import Database
from nta_milter.store.keys import new_id
from nta_milter.store.query import COLUMNS, blob_row, delivery_of, delivery_rows, find_delivery
from nta_milter.store.rows import (
    ASKED,
    READABLE,
    RELEASE,
    Delivery,
    DeliveryState,
    Form,
    MessageState,
    NewBlob,
    Pending,
    Submission,
)
from nta_milter.store.schema import blobs, deliveries, factors, messages, submissions


class Handover:
    """The rows of what is to be handed to Postfix."""

    def __init__(self, database: Database, asked: Collection[str] = ASKED) -> None:
        """``asked``: the kinds of second factor that the portal can ask for."""
        self._database = database
        self._asked = asked

    # Handing to Postfix

    def claim(
        self, at: datetime, lease: timedelta, worker: str = "", limit: int = 20
    ) -> tuple[Submission, ...]:
        """Take what is due, for this worker alone until the lease ends."""
        due = or_(
            and_(submissions.c.state == "waiting", submissions.c.due_at <= at),
            and_(submissions.c.state == "claimed", submissions.c.claimed_until <= at),
        )
        with self._database.reading() as connection:  # most looks find nothing, and need no lock
            if connection.execute(select(submissions.c.id).where(due).limit(1)).scalar() is None:
                return ()
        claim = new_id()
        with self._database.transaction() as connection:
            rows = connection.execute(
                select(submissions.c.id, submissions.c.claim)
                .where(due)
                .order_by(submissions.c.due_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            mine = [row[0] for row in rows]
            connection.execute(
                update(submissions)
                .where(submissions.c.id.in_(mine))
                .values(state="claimed", claim=claim, worker=worker, claimed_until=at + lease)
            )
            retried = {row[0] for row in rows if row[1] is not None}
            return _submissions(connection, submissions.c.id.in_(mine), retried)

    def end_claims(self, worker: str, at: datetime) -> int:
        """A worker has started: what the one before it of this name had claimed is free; how much that is."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(submissions)
                .where(submissions.c.state == "claimed", submissions.c.worker == worker)
                .values(claimed_until=at)
            )
            return changed.rowcount

    def next_due(self) -> datetime | None:
        """When something will be due; None where nothing waits."""
        with self._database.reading() as connection:
            return connection.execute(
                select(submissions.c.due_at)
                .where(submissions.c.state == "waiting")
                .order_by(submissions.c.due_at)
                .limit(1)
            ).scalar()

    def submitted(self, submission: Submission, queue_id: str, at: datetime) -> bool:
        """Postfix has it, under this queue id; False when the claim was lost to another worker."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(submissions)
                .where(submissions.c.id == submission.id, submissions.c.claim == submission.claim)
                .values(state="submitted", queue_id=queue_id, submitted_at=at, fault="")
            ).rowcount
            if changed and submission.form in (Form.COPY, Form.NOTIFICATION):
                connection.execute(
                    update(deliveries)
                    .where(
                        deliveries.c.id == submission.delivery.id,
                        deliveries.c.state == DeliveryState.WAITING.value,
                    )
                    .values(state=DeliveryState.SENT.value)
                )
            return bool(changed)

    def failed(self, submission: Submission, fault: str, due_at: datetime | None) -> None:
        """Postfix did not take it. It is tried again at ``due_at``, or, without one, set aside (shunted)."""
        with self._database.transaction() as connection:
            connection.execute(
                update(submissions)
                .where(submissions.c.id == submission.id, submissions.c.claim == submission.claim)
                .values(
                    state="waiting" if due_at else "shunted",
                    due_at=due_at or submission.created_at,
                    tries=submissions.c.tries + 1,
                    fault=fault,
                )
            )

    def refused(self, submission: Submission, status: str, at: datetime) -> bool:
        """Our own Postfix does not take the recipient: it never will, and the sender is told."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(submissions)
                .where(submissions.c.id == submission.id, submissions.c.claim == submission.claim)
                .values(state="refused", fault=status)
            ).rowcount
            return bool(changed) and _undeliverable(connection, submission.delivery.id, status, "", at)

    def shunted(self) -> tuple[Submission, ...]:
        """What was set aside and waits for a person."""
        with self._database.reading() as connection:
            return _submissions(connection, submissions.c.state == "shunted")

    def pending(self, limit: int = 1_000) -> tuple[Pending, ...]:
        """What Postfix does not have yet, what was set aside first, then by the time of the next try."""
        wanted = submissions.c.state.in_(("waiting", "claimed", "shunted"))
        columns = (
            submissions.c.id,
            submissions.c.form,
            submissions.c.state,
            submissions.c.tries,
            submissions.c.due_at,
            submissions.c.fault,
        )
        on = submissions.c.delivery_id == deliveries.c.id
        statement = (
            delivery_rows(*columns, join=submissions, on=on)
            .where(wanted)
            .order_by(submissions.c.state != "shunted", submissions.c.due_at)
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = connection.execute(statement).all()
        return tuple(_pending(row) for row in rows)

    def retry(self, submission_id: str, at: datetime) -> bool:
        """Try what was set aside once more; False when it was not."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(submissions)
                .where(submissions.c.id == submission_id, submissions.c.state == "shunted")
                .values(state="waiting", due_at=at, tries=0)
            )
            return bool(changed.rowcount)

    # What else can become of a delivery

    def claim_undecided(
        self, at: datetime, lease: timedelta, limit: int = 20
    ) -> tuple[tuple[Delivery, bytes], ...]:
        """Take deliveries that are to be decided again, each with its message's worker wrap."""
        wanted = and_(deliveries.c.state == DeliveryState.UNDECIDED.value, deliveries.c.decide_at <= at)
        with self._database.reading() as connection:  # most looks find nothing, and need no lock
            if connection.execute(select(deliveries.c.id).where(wanted).limit(1)).scalar() is None:
                return ()
        with self._database.transaction() as connection:
            mine = (
                connection.execute(
                    select(deliveries.c.id)
                    .where(wanted)
                    .order_by(deliveries.c.decide_at)
                    .limit(limit)
                    .with_for_update(skip_locked=True)
                )
                .scalars()
                .all()
            )
            connection.execute(
                update(deliveries).where(deliveries.c.id.in_(mine)).values(decide_at=at + lease)
            )
            rows = connection.execute(
                delivery_rows(messages.c.worker_wrap).where(deliveries.c.id.in_(mine))
            ).all()
        return tuple((delivery_of(row), row[len(COLUMNS)]) for row in rows if row[len(COLUMNS)])

    def decide(
        self,
        delivery_id: str,
        route: str,
        reasons: tuple[str, ...],
        at: datetime,
        next_hop: str = "",
        blob: NewBlob | None = None,
    ) -> bool:
        """An undecided delivery has its route; ``blob`` is its new content where that is another.

        With the route ``tempfail`` it stays undecided and is looked at again at ``at``.
        """
        with self._database.transaction() as connection:
            found = find_delivery(connection, delivery_id)
            if found is None or found.state is not DeliveryState.UNDECIDED:
                return False
            state, form = RELEASE[route]
            values = {
                "route": route,
                "next_hop": next_hop,
                "reasons": json.dumps(reasons),
                "state": state.value,
                "decide_at": at if state is DeliveryState.UNDECIDED else None,
            }
            if blob is not None:
                connection.execute(insert(blobs), blob_row(blob, found.message_id))
                values["blob_id"] = blob.id
            connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(values))
            if form is not None:
                submit(connection, delivery_id, form, reasons, at)
            return True

    def release_held(self, at: datetime) -> tuple[Delivery, ...]:
        """Let held deliveries go whose recipient can prove who he is by now; those that go."""
        known = select(factors.c.address).where(factors.c.kind.in_(self._asked))
        wanted = and_(
            deliveries.c.state == DeliveryState.HELD.value, func.lower(deliveries.c.recipient).in_(known)
        )
        with self._database.reading() as connection:
            found = [delivery_of(row) for row in connection.execute(delivery_rows().where(wanted)).all()]
        return tuple(delivery for delivery in found if self._release(delivery.id, at))

    def _release(self, delivery_id: str, at: datetime) -> bool:
        with self._database.transaction() as connection:
            return release_held(connection, delivery_id, at)

    def remind(self, at: datetime, before: timedelta) -> int:
        """Have who has not opened his message reminded once, when it expires within ``before``."""
        reminded = exists(
            select(submissions.c.id).where(
                submissions.c.delivery_id == deliveries.c.id, submissions.c.form == Form.REMINDER.value
            )
        )
        wanted = (
            deliveries.c.state == DeliveryState.SENT.value,
            deliveries.c.route == "portal",
            deliveries.c.opened_at.is_(None),
            messages.c.state == MessageState.RELEASED.value,
            messages.c.worker_wrap.is_not(None),
            messages.c.expires_at > at,
            messages.c.expires_at <= at + before,
            messages.c.created_at <= at - before,
            ~reminded,
        )
        with self._database.transaction() as connection:
            due = [row[0] for row in connection.execute(delivery_rows().where(*wanted)).all()]
            for delivery_id in due:
                add_submission(connection, delivery_id, Form.REMINDER, at)
        return len(due)

    def undeliverable(self, delivery_id: str, status: str, detail: str, at: datetime) -> bool:
        """What was sent came back: the sender gets a report, once. False when it had one or may not."""
        with self._database.transaction() as connection:
            return _undeliverable(connection, delivery_id, status, detail, at)

    def ask_to_answer_securely(self, delivery_id: str, at: datetime) -> None:
        """Have the recipient told that his answer in clear was not read."""
        with self._database.transaction() as connection:
            add_submission(connection, delivery_id, Form.ANSWER, at)

    def report(self, delivery_id: str, status: str, detail: str, at: datetime) -> None:
        """Have the sender told something about a delivery (RFC 3463 status)."""
        with self._database.transaction() as connection:
            add_submission(connection, delivery_id, Form.REPORT, at, status, detail)

    def recall(self, delivery_id: str) -> bool:
        """Take it back: nothing opens it any more and nothing of it is sent; False when it is too late."""
        allowed = (
            DeliveryState.WAITING,
            DeliveryState.SENT,
            DeliveryState.HELD,
            DeliveryState.UNDECIDED,
        )
        with self._database.transaction() as connection:
            found = find_delivery(connection, delivery_id)
            if found is None or (found.state is DeliveryState.SENT and found.route not in ("portal", "hold")):
                return False  # Postfix has the copy, or the recipient's host has
            return end_delivery(connection, delivery_id, DeliveryState.RECALLED, allowed)

    def tell_locked(self, delivery_id: str, at: datetime) -> None:
        """Have the sender told that too many codes for a message were wrong."""
        with self._database.transaction() as connection:
            add_submission(connection, delivery_id, Form.LOCKED, at)

    def notify_again(self, delivery_id: str, at: datetime) -> bool:
        """Send the notification once more, with a link of its own; for a held one, the mail to the sender.

        False when nothing can be opened any more, or Postfix does not have the first one yet.
        """
        forms = {DeliveryState.SENT: Form.NOTIFICATION, DeliveryState.HELD: Form.HOLD}
        with self._database.transaction() as connection:
            wanted = (
                deliveries.c.id == delivery_id,
                deliveries.c.route.in_(("portal", "hold")),
                deliveries.c.state.in_([state.value for state in forms]),
                messages.c.state == MessageState.RELEASED.value,
                messages.c.worker_wrap.is_not(None),
                messages.c.expires_at > at,
            )
            row = connection.execute(delivery_rows().where(*wanted)).first()
            if row is None:
                return False
            add_submission(connection, delivery_id, forms[delivery_of(row).state], at)
            return True

    def extend(self, message_id: str, expires_at: datetime, at: datetime) -> bool:
        """Give a message until then; False when nobody can open it any more, or it has longer already."""
        waiting = exists(
            select(deliveries.c.id).where(
                deliveries.c.message_id == message_id,
                deliveries.c.route.in_(("portal", "hold")),
                deliveries.c.state.in_([state.value for state in (*READABLE, DeliveryState.HELD)]),
            )
        )
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(messages)
                .where(
                    messages.c.id == message_id,
                    messages.c.state == MessageState.RELEASED.value,
                    messages.c.expires_at > at,
                    messages.c.expires_at < expires_at,
                    waiting,
                )
                .values(expires_at=expires_at)
            )
            return bool(changed.rowcount)

    # Looking

    def find_bounced(self, identifier: str) -> tuple[Delivery, Form | None] | None:
        """What a bounce address means: a submission's delivery and form, or a delivery stored in place."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(submissions.c.delivery_id, submissions.c.form).where(submissions.c.id == identifier)
            ).first()
            delivery = find_delivery(connection, row[0] if row is not None else identifier)
        if delivery is None:
            return None
        return delivery, None if row is None else Form(row[1])

    def find(self, delivery_id: str) -> Delivery | None:
        """A delivery by its id."""
        with self._database.reading() as connection:
            return find_delivery(connection, delivery_id)

    def worker_wrap(self, message_id: str) -> bytes | None:
        """The message key sealed to the worker; None where it is shredded or not kept."""
        with self._database.reading() as connection:
            return connection.execute(
                select(messages.c.worker_wrap).where(messages.c.id == message_id)
            ).scalar()

    def recipients(self, message_id: str) -> frozenset[str]:
        """To whom a message goes, as the database has it."""
        with self._database.reading() as connection:
            return frozenset(
                connection.execute(
                    select(deliveries.c.recipient).where(deliveries.c.message_id == message_id)
                ).scalars()
            )

    def list_deliveries(
        self, sender: str = "", recipient: str = "", message_id: str = "", limit: int = 100
    ) -> tuple[Delivery, ...]:
        """The newest deliveries that fit what is given."""
        statement = delivery_rows().order_by(deliveries.c.created_at.desc(), deliveries.c.id).limit(limit)
        for column, wanted in (
            (messages.c.author, sender),
            (deliveries.c.recipient, recipient),
            (messages.c.id, message_id),
        ):
            if wanted:
                statement = statement.where(column == wanted)
        with self._database.reading() as connection:
            return tuple(delivery_of(row) for row in connection.execute(statement).all())


def _submissions(connection: Connection, wanted: Any, retried: Container[str] = ()) -> tuple[Submission, ...]:
    columns = (
        messages.c.worker_wrap,
        submissions.c.id,
        submissions.c.claim,
        submissions.c.form,
        submissions.c.status,
        submissions.c.detail,
        submissions.c.tries,
        submissions.c.created_at,
    )
    on = submissions.c.delivery_id == deliveries.c.id
    statement = delivery_rows(*columns, join=submissions, on=on).where(wanted)
    return tuple(
        _submission(row, retried)
        for row in connection.execute(statement.order_by(submissions.c.due_at)).all()
    )


def _submission(row: Any, retried: Container[str]) -> Submission:
    wrap, name, claim, form, status, detail, tries, created_at = row[len(COLUMNS) :]
    return Submission(
        id=name,
        claim=claim or "",
        form=Form(form),
        status=status,
        detail=detail,
        tries=tries,
        retried=name in retried,
        created_at=created_at,
        delivery=delivery_of(row),
        worker_wrap=wrap,
    )


def _pending(row: Any) -> Pending:
    name, form, state, tries, due_at, fault = row[len(COLUMNS) :]
    return Pending(name, Form(form), state, tries, due_at, fault, delivery_of(row))


def _undeliverable(connection: Connection, delivery_id: str, status: str, detail: str, at: datetime) -> bool:
    allowed = (DeliveryState.SENT, DeliveryState.WAITING)
    if not end_delivery(connection, delivery_id, DeliveryState.UNDELIVERABLE, allowed):
        return False
    add_submission(connection, delivery_id, Form.REPORT, at, status, detail)
    return True


def submit(
    connection: Connection, delivery_id: str, form: Form, reasons: tuple[str, ...], at: datetime
) -> None:
    """Have what a route asks for handed to Postfix; a report names the reasons."""
    if form is Form.REPORT:
        add_submission(connection, delivery_id, form, at, "5.7.1", "; ".join(reasons))
    else:
        add_submission(connection, delivery_id, form, at)
