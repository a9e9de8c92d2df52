"""How much is stored, how far it is, and how long it waits: numbers, and nothing of anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from nta_milter.store.database import Database
from nta_milter.store.rows import DeliveryState
from nta_milter.store.schema import attempts, blobs, deliveries, messages, submissions


@dataclass(frozen=True, slots=True)
class Statistics:
    """Rows by state, the size of what is stored in bytes, and since when the oldest of a kind waits.

    ``submissions`` leaves out what Postfix has. ``uncommitted`` is the oldest try whose commit has not come.
    """

    messages: Mapping[str, int]
    deliveries: Mapping[str, int]
    submissions: Mapping[str, int]
    size: int
    uncommitted: datetime | None
    due: datetime | None
    held: datetime | None
    undecided: datetime | None


def statistics(database: Database) -> Statistics:
    """One consistent view; raises StoreUnavailable."""
    with database.reading() as connection:

        def by_state(column: object, *wanted: object) -> dict[str, int]:
            counted = select(column, func.count()).where(*wanted).group_by(column)  # type: ignore[call-overload]
            return dict(map(tuple, connection.execute(counted)))

        def oldest(state: DeliveryState) -> datetime | None:
            begun = select(func.min(deliveries.c.created_at)).where(deliveries.c.state == state.value)
            return connection.execute(begun).scalar()

        pending = submissions.c.state.in_(("waiting", "claimed", "shunted"))
        owed = submissions.c.state.in_(("waiting", "claimed"))
        return Statistics(
            messages=by_state(messages.c.state),
            deliveries=by_state(deliveries.c.state),
            submissions=by_state(submissions.c.state, pending),
            size=connection.execute(select(func.coalesce(func.sum(blobs.c.size), 0))).scalar() or 0,
            uncommitted=connection.execute(
                select(func.min(attempts.c.created_at)).where(attempts.c.state == "open")
            ).scalar(),
            due=connection.execute(select(func.min(submissions.c.created_at)).where(owed)).scalar(),
            held=oldest(DeliveryState.HELD),
            undecided=oldest(DeliveryState.UNDECIDED),
        )
