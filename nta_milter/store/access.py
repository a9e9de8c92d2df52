"""What the portal asks and tells: links, second factors, sessions, rates. One transaction each.

Every method may raise StoreUnavailable. Moments are given in, so that a test needs no clock.
"""

from __future__ import annotations

import hmac
from collections.abc import Container, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from nta_milter.store.database import Database
from nta_milter.store.keys import new_id
from nta_milter.store.query import COLUMNS, delivery_of, delivery_rows, find_delivery
from nta_milter.store.rows import (
    ASKED,
    READABLE,
    Answer,
    Delivery,
    DeliveryState,
    Factor,
    Form,
    Linked,
    MessageState,
    Session,
)
from nta_milter.store.schema import (
    challenges,
    deliveries,
    factors,
    links,
    messages,
    rates,
    sessions,
    submissions,
)

CHALLENGE_TRIES = 5
"""Answers that one code takes."""

_KINDS = select(factors.c.kind).where(factors.c.address == bindparam("name"))
_READABLE = [state.value for state in READABLE]


class Access:
    """The rows behind the portal's pages."""

    def __init__(self, database: Database, asked: Container[str] = ASKED) -> None:
        """``asked``: the kinds of second factor that the portal can ask for."""
        self._database = database
        self._asked = asked

    # Links

    def find_by_link(self, lookup: str, at: datetime) -> Linked | None:
        """What a link (``Token.lookup``) leads to now; None for unknown, expired, deleted or recalled.

        It only reads: to follow a link changes nothing.
        """
        statement = delivery_rows(links.c.purpose, links.c.sealed, join=links, on=_of(links)).where(
            links.c.lookup == lookup,
            messages.c.expires_at > at,
            messages.c.state != MessageState.SHREDDED.value,
        )
        with self._database.reading() as connection:
            row = connection.execute(statement).first()
        if row is None:
            return None
        found = Linked(delivery_of(row), *row[len(COLUMNS) :])
        wanted = (DeliveryState.HELD,) if found.purpose == "hold" else READABLE
        return found if found.delivery.state in wanted else None

    def find(self, delivery_id: str) -> Delivery | None:
        """A delivery by its id."""
        with self._database.reading() as connection:
            return find_delivery(connection, delivery_id)

    # What a recipient does

    def opened(self, delivery_id: str, at: datetime) -> bool:
        """The message was shown for the first time after the second factor; False when it had been before."""
        return self._first(delivery_id, deliveries.c.opened_at, at)

    def read(self, delivery_id: str, at: datetime) -> bool:
        """The text was shown to its end; False when it had been before."""
        return self._first(delivery_id, deliveries.c.read_at, at)

    def downloaded(self, delivery_id: str) -> int:
        """A download was completed; how many there are now."""
        with self._database.transaction() as connection:
            mine = deliveries.c.id == delivery_id
            connection.execute(update(deliveries).where(mine).values(downloads=deliveries.c.downloads + 1))
            return connection.execute(select(deliveries.c.downloads).where(mine)).scalar() or 0

    def delete(self, delivery_id: str) -> bool:
        """The recipient deletes his message: its links and sessions end now, its content with the sweep."""
        with self._database.transaction() as connection:
            return end_delivery(connection, delivery_id, DeliveryState.DELETED, READABLE)

    # Second factors

    def factors(self, address: str) -> tuple[Factor, ...]:
        """The second factors known for an address."""
        wanted = factors.c.address == address.lower()
        with self._database.reading() as connection:
            rows = connection.execute(select(factors).where(wanted).order_by(factors.c.kind)).all()
        return tuple(_factor(row) for row in rows)

    def can_prove(self, address: str) -> bool:
        """Whether something is known of an address that the portal can ask for."""
        with self._database.reading() as connection:
            kinds = connection.execute(_KINDS, {"name": address.lower()}).scalars()
            return any(kind in self._asked for kind in kinds)

    def all_factors(self) -> tuple[Factor, ...]:
        """All second factors, in the order of the addresses."""
        with self._database.reading() as connection:
            rows = connection.execute(select(factors).order_by(factors.c.address, factors.c.kind)).all()
        return tuple(_factor(row) for row in rows)

    def put_factor(self, factor: Factor) -> None:
        """Add a second factor, or replace the one of this kind; wrong codes of before count no more."""
        with self._database.transaction() as connection:
            _put_factor(connection, factor)
            forget_tries(connection, factor.address)

    def remove_factors(self, address: str, kind: str | None = None) -> int:
        """Remove the second factors of an address, or the one of a kind; how many there were."""
        wanted = factors.c.address == address.lower()
        if kind is not None:
            wanted &= factors.c.kind == kind
        with self._database.transaction() as connection:
            return connection.execute(delete(factors).where(wanted)).rowcount

    def supply_factor(self, delivery_id: str, factor: Factor, at: datetime) -> bool:
        """The sender gives a second factor for a held delivery, which goes out now; False if it is not held.

        Every other held delivery to the same address goes out as well.
        """
        held = deliveries.c.state == DeliveryState.HELD.value
        with self._database.transaction() as connection:
            found = find_delivery(connection, delivery_id)
            if found is None or found.state is not DeliveryState.HELD:
                return False
            _put_factor(connection, factor)
            same = func.lower(deliveries.c.recipient) == found.recipient.lower()
            waiting = connection.execute(select(deliveries.c.id).where(held, same)).scalars().all()
            for each in waiting:
                release_held(connection, each, at)
            return True

    def challenge(
        self, challenge_id: str, delivery_id: str, answer: str, at: datetime, lifetime: timedelta
    ) -> None:
        """Remember a one-time code by the hex HMAC of its digits; earlier ones of the delivery end."""
        with self._database.transaction() as connection:
            connection.execute(delete(challenges).where(challenges.c.delivery_id == delivery_id))
            connection.execute(
                insert(challenges).values(
                    id=challenge_id,
                    delivery_id=delivery_id,
                    answer=answer,
                    tries=0,
                    created_at=at,
                    expires_at=at + lifetime,
                )
            )

    def answer(self, challenge_id: str, answer: str, at: datetime) -> Answer:
        """Try an answer (hex HMAC). Each code takes CHALLENGE_TRIES, whoever tries at the same time."""
        mine = challenges.c.id == challenge_id
        usable = (challenges.c.used_at.is_(None), challenges.c.expires_at > at)
        with self._database.transaction() as connection:
            taken = connection.execute(
                update(challenges)
                .where(mine, challenges.c.tries < CHALLENGE_TRIES, *usable)
                .values(tries=challenges.c.tries + 1)
            ).rowcount
            if not taken:
                return Answer.SPENT
            wanted = connection.execute(select(challenges.c.answer).where(mine)).scalar() or ""
            if not hmac.compare_digest(wanted, answer):
                return Answer.WRONG
            used = connection.execute(update(challenges).where(mine, *usable).values(used_at=at)).rowcount
            return Answer.RIGHT if used else Answer.SPENT

    # Rates: they live here so that several hosts count together

    def count(self, bucket: str, at: datetime, period: timedelta) -> int:
        """Count one event; how many there are in the period that began with the first, this one included."""
        dialect = sqlite if self._database.is_sqlite else postgresql
        mine = rates.c.bucket == bucket
        new: Any = dialect.insert(rates).values(bucket=bucket, began_at=at, count=0)
        with self._database.transaction() as connection:
            connection.execute(new.on_conflict_do_nothing())
            row = connection.execute(
                select(rates.c.began_at, rates.c.count).where(mine).with_for_update()
            ).one()
            began_at, number = row if row[0] > at - period else (at, 0)
            connection.execute(update(rates).where(mine).values(began_at=began_at, count=number + 1))
            return number + 1

    def counted(self, bucket: str, at: datetime, period: timedelta) -> int:
        """How many events the period has so far; counts nothing."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(rates.c.began_at, rates.c.count).where(rates.c.bucket == bucket)
            ).first()
        return row[1] if row is not None and row[0] > at - period else 0

    def forget_counts(self, buckets: Iterable[str]) -> None:
        """Begin these buckets anew: an administrator or the sender unlocks."""
        with self._database.transaction() as connection:
            connection.execute(delete(rates).where(rates.c.bucket.in_(list(buckets))))

    def counts(self, least: int, since: datetime) -> tuple[tuple[str, datetime, int], ...]:
        """The buckets with so many events or more in a period that began after ``since``, and its begin."""
        wanted = (rates.c.count >= least, rates.c.began_at > since)
        with self._database.reading() as connection:
            rows = connection.execute(select(rates).where(*wanted).order_by(rates.c.began_at)).all()
        return tuple((row.bucket, row.began_at, row[2]) for row in rows)

    def forget_tries(self, address: str) -> int:
        """Begin every bucket anew whose name ends in a link to this address; how many there were."""
        with self._database.transaction() as connection:
            return forget_tries(connection, address)

    # Sessions

    def begin_session(self, session: Session) -> None:
        """Remember a session; of the delivery, only its id counts."""
        with self._database.transaction() as connection:
            connection.execute(
                insert(sessions).values(
                    lookup=session.lookup,
                    delivery_id=session.delivery.id,
                    purpose=session.purpose,
                    wrapped=session.wrapped,
                    created_at=session.created_at,
                    used_at=session.created_at,
                    expires_at=session.expires_at,
                )
            )

    def session(self, lookup: str, at: datetime, idle: timedelta) -> Session | None:
        """The session of a cookie; None when unknown, over, unused for ``idle``, or its message is gone."""
        more = (sessions.c.lookup, sessions.c.purpose, sessions.c.wrapped, sessions.c.created_at)
        statement = delivery_rows(*more, sessions.c.expires_at, join=sessions, on=_of(sessions)).where(
            sessions.c.lookup == lookup,
            sessions.c.expires_at > at,
            sessions.c.used_at > at - idle,
            messages.c.expires_at > at,
            deliveries.c.state.in_([*_READABLE, DeliveryState.HELD.value]),
        )
        with self._database.reading() as connection:
            row = connection.execute(statement).first()
        if row is None:
            return None
        name, purpose, wrapped, created_at, expires_at = row[len(COLUMNS) :]
        return Session(name, delivery_of(row), purpose, wrapped, created_at, expires_at)

    def used_session(self, lookup: str, at: datetime) -> None:
        """The visitor did something: the idle time begins anew."""
        with self._database.transaction() as connection:
            connection.execute(update(sessions).where(sessions.c.lookup == lookup).values(used_at=at))

    def end_session(self, lookup: str) -> None:
        """Sign out."""
        with self._database.transaction() as connection:
            connection.execute(delete(sessions).where(sessions.c.lookup == lookup))

    def _first(self, delivery_id: str, column: Any, at: datetime) -> bool:
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(deliveries)
                .where(deliveries.c.id == delivery_id, column.is_(None))
                .values({column.name: at})
            )
            return bool(changed.rowcount)


def forget_tries(connection: Connection, address: str) -> int:
    """Begin every bucket anew whose name ends in a link to this address; how many there were."""
    mine = func.lower(deliveries.c.recipient) == address.lower()
    lookups = select(links.c.lookup).select_from(links.join(deliveries, _of(links))).where(mine)
    return sum(
        connection.execute(delete(rates).where(rates.c.bucket.like(f"% {lookup}"))).rowcount
        for lookup in connection.execute(lookups).scalars().all()
    )


def end_delivery(
    connection: Connection, delivery_id: str, state: DeliveryState, allowed: Iterable[DeliveryState]
) -> bool:
    """Put a delivery in a state in which nothing opens it; False if it was in none of ``allowed``."""
    wanted = deliveries.c.state.in_([each.value for each in allowed])
    changed = connection.execute(
        update(deliveries).where(deliveries.c.id == delivery_id, wanted).values(state=state.value)
    ).rowcount
    if not changed:
        return False
    for table in (links, sessions, challenges):
        connection.execute(delete(table).where(table.c.delivery_id == delivery_id))
    connection.execute(
        delete(submissions).where(submissions.c.delivery_id == delivery_id, submissions.c.state == "waiting")
    )
    return True


def release_held(connection: Connection, delivery_id: str, at: datetime) -> bool:
    """A held delivery goes by the portal now, and its sender's page ends; False if it is not held."""
    changed = connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.state == DeliveryState.HELD.value)
        .values(state=DeliveryState.WAITING.value, route="portal")
    ).rowcount
    if not changed:
        return False
    for waiting in (
        delete(links).where(links.c.delivery_id == delivery_id, links.c.purpose == "hold"),
        delete(submissions).where(submissions.c.delivery_id == delivery_id, submissions.c.state == "waiting"),
    ):
        connection.execute(waiting)
    add_submission(connection, delivery_id, Form.NOTIFICATION, at)
    return True


def add_submission(
    connection: Connection,
    delivery_id: str,
    form: Form,
    at: datetime,
    status: str = "",
    detail: str = "",
) -> None:
    """Have something handed to Postfix for a delivery, from now on."""
    connection.execute(
        insert(submissions).values(
            id=new_id(),
            delivery_id=delivery_id,
            form=form.value,
            state="waiting",
            status=status,
            detail=detail,
            tries=0,
            worker="",
            due_at=at,
            fault="",
            queue_id="",
            created_at=at,
        )
    )


def _of(table: Any) -> Any:
    return table.c.delivery_id == deliveries.c.id


def _factor(row: Any) -> Factor:
    return Factor(row.address, row.kind, row.value, row.created_by, row.created_at)


def _put_factor(connection: Connection, factor: Factor) -> None:
    mine = (factors.c.address == factor.address.lower(), factors.c.kind == factor.kind)
    connection.execute(delete(factors).where(*mine))
    connection.execute(
        insert(factors).values(
            address=factor.address.lower(),
            kind=factor.kind,
            value=factor.value,
            created_by=factor.created_by,
            created_at=factor.created_at,
        )
    )
