"""Who is locked out after wrong codes: how tries are counted, who has made too many, and the end of it.

Tries are counted in the database, so that concurrent ones and those of other hosts count together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from nta_milter.config.model import Settings
from nta_milter.store.access import Access
from nta_milter.store.rows import Delivery

NETWORK_TRIES = 200
"""Codes an hour from one network, for whatever links: each costs a tenth of a second of a core."""
NETWORK_PERIOD = timedelta(hours=1)
TRIES = 5
"""Codes for one link from one network in a period."""
PERIOD = timedelta(minutes=15)
CODES, DAY_CODES = 3, 10
"""One-time codes for one link in PERIOD, and a day: each may cost money, and rings somebody's telephone."""
DAY_TRIES = 20
"""The same, a day: after that a stranger who has the link is locked out, and the patient elsewhere not."""
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Lock:
    """A link that opens nothing for the rest of the day; from one ``network``, or, where empty, from any."""

    delivery: Delivery
    network: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Locks:
    """The counts of tries, by the settings of the portal."""

    access: Access
    settings: Settings

    def may_try(self, network: str, lookup: str, at: datetime) -> bool:
        """Count a try before it is made; False when it is one too many."""
        count = self.access.count
        return (
            count(f"network {network}", at, NETWORK_PERIOD) <= NETWORK_TRIES
            and count(f"try {network} {lookup}", at, PERIOD) <= TRIES
            and count(_day(network, lookup), at, DAY) <= DAY_TRIES
        )

    def may_ask(self, network: str, lookup: str, at: datetime) -> bool:
        """Count a request for a one-time code; False when it is one too many."""
        count = self.access.count
        return (
            count(f"network {network}", at, NETWORK_PERIOD) <= NETWORK_TRIES
            and count(f"sent {lookup}", at, PERIOD) <= CODES
            and count(f"sent-day {lookup}", at, DAY) <= DAY_CODES
        )

    def is_locked(self, lookup: str, at: datetime) -> bool:
        """Whether a link opens nothing, wherever one comes from."""
        limit = self.settings.portal.lock_after
        return bool(limit) and self.access.counted(_link(lookup), at, DAY) >= limit

    def failed(self, network: str, lookup: str, at: datetime) -> str | None:
        """A code was wrong. Who is locked out from now on: a network, "" for everybody, None for nobody."""
        if self.access.count(_link(lookup), at, DAY) == self.settings.portal.lock_after:
            return ""
        return network if self.access.counted(_day(network, lookup), at, DAY) == DAY_TRIES else None

    def is_first(self, lookup: str, at: datetime) -> bool:
        """Whether the sender has not been told today; he has been from now on."""
        return self.access.count(f"told {lookup}", at, DAY) == 1

    def succeeded(self, network: str, lookup: str) -> None:
        """A code was right: this network's tries begin anew."""
        self.access.forget_counts((f"try {network} {lookup}", _day(network, lookup)))

    def locked(self, at: datetime) -> Iterator[Lock]:
        """Every lock on a message that can still be opened."""
        limit = self.settings.portal.lock_after
        least = min(DAY_TRIES, limit) if limit else DAY_TRIES
        for bucket, since, number in self.access.counts(least, at - DAY):
            kind, *network, lookup = bucket.split(" ")
            wanted = {"day": DAY_TRIES, "link": limit}.get(kind, 0)
            if not wanted or number < wanted:
                continue
            linked = self.access.find_by_link(lookup, at)
            if linked is not None:
                yield Lock(linked.delivery, "".join(network), since)

    def unlock(self, address: str) -> int:
        """Begin anew for every link to an address; how many counts were forgotten."""
        return self.access.forget_tries(address)


def _day(network: str, lookup: str) -> str:
    return f"day {network} {lookup}"


def _link(lookup: str) -> str:
    return f"link {lookup}"
