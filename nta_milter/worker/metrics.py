"""What the worker counts, and how it and the store are."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nta_milter.config.model import Settings
from nta_milter.errors import StoreUnavailable
from nta_milter.monitor.process import fingerprint
from nta_milter.monitor.registry import Labels, Metric, Registry
from nta_milter.store.database import Database
from nta_milter.store.rows import DeliveryState, MessageState
from nta_milter.store.statistics import Statistics, statistics

DUTIES = frozenset(("hand", "again", "watch", "late-watch", "sweep", "checkpoint", "prune", "lists"))
PENDING = frozenset(("waiting", "claimed", "shunted"))
WAITING = frozenset(("commit", "outbox", "hold", "decision"))

STORE = Metric("nta_milter_store_reachable", "gauge", "1 if the database can be read, 0 if not.", {}, "min")
MESSAGES = Metric(
    "nta_milter_stored_messages",
    "gauge",
    "Stored messages, by state.",
    {"state": frozenset(state.value for state in MessageState)},
    combine="max",
)
DELIVERIES = Metric(
    "nta_milter_deliveries",
    "gauge",
    "Deliveries of stored messages, one for each recipient, by state; held ones wait for their sender.",
    {"state": frozenset(state.value for state in DeliveryState)},
    combine="max",
)
OUTBOX = Metric(
    "nta_milter_outbox",
    "gauge",
    "Copies, notifications and reports that Postfix does not have yet; shunted ones wait for a person.",
    {"state": PENDING},
    combine="max",
)
SIZE = Metric("nta_milter_store_bytes", "gauge", "Content that is stored, in bytes.", {}, combine="max")
AGE = Metric(
    "nta_milter_wait_seconds",
    "gauge",
    "How long the oldest has waited: for Postfix's commit, in the outbox, for its sender, for a look-up.",
    {"what": WAITING},
    combine="max",
)
COMMITS = Metric(
    "nta_milter_commits_queued",
    "gauge",
    "Commits that wait in Postfix's queue as it was seen last; they should be gone in a moment.",
    {},
)
ROUND_AGE = Metric(
    "nta_milter_round_age_seconds",
    "gauge",
    "Time since a duty of the worker was last done without a fault.",
    {"duty": DUTIES},
    combine="max",
)
ROUND_FAILURES = Metric(
    "nta_milter_round_failures_total", "counter", "Duties of the worker that failed.", {"duty": DUTIES}
)

METRICS = (
    STORE,
    MESSAGES,
    DELIVERIES,
    OUTBOX,
    SIZE,
    AGE,
    COMMITS,
    ROUND_AGE,
    ROUND_FAILURES,
)


@dataclass(slots=True)
class Round:
    """A duty: when it was done without a fault (before that: when it was owed first), and its last fault."""

    at: datetime
    fault: str = ""


@dataclass
class State:
    """How the worker is; ``commits`` gives since when each commit in Postfix's queue waits."""

    settings: Settings
    database: Database
    registry: Registry
    clock: Callable[[], datetime]
    commits: Callable[[], tuple[datetime, ...]]
    _rounds: dict[str, Round] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def done(self, duty: str, fault: str = "") -> None:
        """A duty was done, or failed."""
        with self._lock:
            found = self._rounds.setdefault(duty, Round(self.clock()))
            found.fault = fault
            if not fault:
                found.at = self.clock()
        if fault:
            self.registry.add(ROUND_FAILURES, duty)

    def _known(self) -> dict[str, Round]:
        with self._lock:
            return {duty: Round(each.at, each.fault) for duty, each in self._rounds.items()}

    def facts(self) -> dict[str, object]:
        """What a control socket tells."""
        commits = self.commits()
        return {
            "configuration": {"settings": fingerprint(self.settings)},
            "rounds": {
                duty: {"at": _moment(each.at), "fault": each.fault} for duty, each in self._known().items()
            },
            "commits": {"queued": len(commits), "oldest": _moment(min(commits, default=None))},
            "store": self._store(),
        }

    def _store(self) -> Mapping[str, object]:
        try:
            found = statistics(self.database)
        except StoreUnavailable as error:
            return {"fault": str(error)}
        return {
            "fault": "",
            "messages": found.messages,
            "deliveries": found.deliveries,
            "outbox": found.submissions,
            "bytes": found.size,
            "oldest": {what: _moment(at) for what, at in _ages(found).items()},
        }

    def collect(self) -> Iterator[tuple[Metric, Labels, float]]:
        """The gauges."""
        now = self.clock()
        for duty, each in self._known().items():
            yield ROUND_AGE, (duty,), (now - each.at).total_seconds()
        yield COMMITS, (), len(self.commits())
        try:
            found = statistics(self.database)
        except StoreUnavailable:
            yield STORE, (), 0
            return
        yield STORE, (), 1
        for metric, numbers in (
            (MESSAGES, found.messages),
            (DELIVERIES, found.deliveries),
            (OUTBOX, found.submissions),
        ):
            for state in sorted(metric.labels["state"]):
                yield metric, (state,), numbers.get(state, 0)
        yield SIZE, (), found.size
        for what, at in _ages(found).items():
            yield AGE, (what,), 0 if at is None else max(0.0, (now - at).total_seconds())


def _ages(found: Statistics) -> dict[str, datetime | None]:
    return {
        "commit": found.uncommitted,
        "outbox": found.due,
        "hold": found.held,
        "decision": found.undecided,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def duty_name(duty: Callable[[], int]) -> str:
    """The name of a duty in the log and in metrics: its class, or its own name where a class has several."""
    owner, _, own = duty.__qualname__.rpartition(".")
    return own if own != "round" else re.sub(r"(?<=[a-z])(?=[A-Z])", "-", owner).lower()
