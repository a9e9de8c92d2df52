"""Copies that Postfix has taken and cannot deliver: who is told once, and what the portal has instead."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.sql import ColumnElement

from nta_milter.store.access import add_submission
from nta_milter.store.database import Database
from nta_milter.store.query import find_delivery
from nta_milter.store.rows import RELEASE, Delivery, DeliveryState, Form, MessageState
from nta_milter.store.schema import deliveries, messages, submissions

UNPROVEN = "4.7.5"
"""The status of a copy whose host cannot prove its certificate (RFC 7672 section 2.2, RFC 3463)."""

UNREACHABLE = "4.4.1"
"""The status of a copy whose host does not answer (RFC 3463)."""

READABLE = "dane"
"""The route whose copy a person could read; ciphertext would be of no use in the portal."""


@dataclass(frozen=True, slots=True)
class Late:
    """A copy that Postfix has had since ``submitted_at``."""

    delivery: Delivery
    submitted_at: datetime


class LateCopies:
    """The rows of copies that wait in Postfix's queue. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, submission_id: str) -> Late | None:
        """The copy that was handed in under this id; None where it is none, or is no longer under way."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(submissions.c.delivery_id, submissions.c.submitted_at).where(
                    submissions.c.id == submission_id,
                    submissions.c.form == Form.COPY.value,
                    submissions.c.submitted_at.is_not(None),
                )
            ).first()
            delivery = None if row is None else find_delivery(connection, row[0])
        if row is None or delivery is None or delivery.state is not DeliveryState.SENT:
            return None
        return Late(delivery, row[1])

    def tell(self, delivery_id: str, status: str, at: datetime) -> bool:
        """Have the sender told that it is late; False when he has been told, whatever the status was."""
        told = exists(
            select(submissions.c.id).where(
                submissions.c.delivery_id == delivery_id,
                submissions.c.form == Form.REPORT.value,
                submissions.c.status.in_((UNPROVEN, UNREACHABLE)),
            )
        )
        with self._database.transaction() as connection:
            if connection.execute(select(told)).scalar():
                return False
            add_submission(connection, delivery_id, Form.REPORT, at, status)
            return True

    def move(self, delivery_id: str, route: str, reasons: tuple[str, ...], at: datetime) -> bool:
        """Give a copy the route ``portal`` or ``hold`` in place of DANE; False where its content is gone."""
        state, form = RELEASE[route]
        with self._database.transaction() as connection:
            found = find_delivery(connection, delivery_id)
            if found is None or found.state is not DeliveryState.SENT or found.route != READABLE:
                return False
            kept = select(messages.c.id).where(
                messages.c.id == found.message_id,
                messages.c.state == MessageState.RELEASED.value,
                messages.c.worker_wrap.is_not(None),
            )
            if form is None or connection.execute(kept).first() is None:
                return False
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id == delivery_id)
                .values(route=route, next_hop="", reasons=json.dumps(reasons), state=state.value)
            )
            add_submission(connection, delivery_id, form, at)
            return True


def under_way(message_id: Any, since: datetime) -> ColumnElement[bool]:
    """The condition that a message has a readable copy that Postfix took after ``since``."""
    return exists(
        select(deliveries.c.id).where(
            deliveries.c.message_id == message_id,
            deliveries.c.state == DeliveryState.SENT.value,
            deliveries.c.route == READABLE,
            submissions.c.delivery_id == deliveries.c.id,
            submissions.c.form == Form.COPY.value,
            submissions.c.submitted_at > since,
        )
    )
