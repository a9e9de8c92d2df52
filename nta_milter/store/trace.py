"""What the store knows by an id, whichever it is: of a delivery, a message, a mail of ours, or Postfix's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from nta_milter.store.database import Database
from nta_milter.store.query import delivery_of, delivery_rows
from nta_milter.store.rows import Delivery, Form
from nta_milter.store.schema import attempts, deliveries, submissions


@dataclass(frozen=True, slots=True)
class Handed:
    """A copy, notification or report and how far it is.

    ``state`` is waiting, claimed, submitted, refused or shunted; ``queue_id`` is Postfix's of this mail.
    """

    id: str
    delivery_id: str
    form: Form
    state: str
    queue_id: str
    tries: int
    fault: str
    created_at: datetime
    submitted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Trace:
    """All deliveries of the messages that an id leads to, and what was handed to Postfix for them."""

    deliveries: tuple[Delivery, ...]
    handed: tuple[Handed, ...]


def trace(database: Database, name: str) -> Trace:
    """What there is by this id; empty where it is none of ours. Raises StoreUnavailable."""
    with database.reading() as connection:
        mail = select(submissions.c.delivery_id).where(
            or_(submissions.c.id == name, submissions.c.queue_id == name)
        )
        tried = select(attempts.c.message_id).where(or_(attempts.c.id == name, attempts.c.queue_id == name))
        meant = select(deliveries.c.message_id).where(
            or_(
                deliveries.c.id == name,
                deliveries.c.message_id == name,
                deliveries.c.queue_id == name,
                deliveries.c.id.in_(mail),
                deliveries.c.message_id.in_(tried),
            )
        )
        rows = connection.execute(
            delivery_rows()
            .where(deliveries.c.message_id.in_(meant))
            .order_by(deliveries.c.created_at, deliveries.c.id)
        ).all()
        found = tuple(delivery_of(row) for row in rows)
        handed = connection.execute(
            select(submissions)
            .where(
                submissions.c.delivery_id.in_(
                    select(deliveries.c.id).where(deliveries.c.message_id.in_(meant))
                )
            )
            .order_by(submissions.c.created_at, submissions.c.id)
        ).all()
    return Trace(
        found,
        tuple(
            Handed(
                row.id,
                row.delivery_id,
                Form(row.form),
                row.state,
                row.queue_id,
                row.tries,
                row.fault,
                row.created_at,
                row.submitted_at,
            )
            for row in handed
        ),
    )
