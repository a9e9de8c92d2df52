"""What a process of the milter counts, and what is asked of it whenever metrics are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from nta_milter.compliance.report import Compliance, ComplianceReport
from nta_milter.compliance.verdict import month_ends
from nta_milter.milter.restart import needs_restart, refused
from nta_milter.monitor.process import files_fingerprint, fingerprint
from nta_milter.monitor.registry import OTHER, Labels, Metric, Registry
from nta_milter.outbound.plan import Plan
from nta_milter.policy.outcome import Outcome
from nta_milter.policy.route import Route
from nta_milter.policy.snapshot import Snapshot
from nta_milter.smime.keystore import KeyRing

SIDES = frozenset(("outbound", "inbound", "ntamx", OTHER))
ANSWERS = frozenset(("accepted", "deferred", "refused"))
REASONS = frozenset(
    (
        "already-encrypted",
        "client-not-proven",
        "compliance-unknown",
        "dane",
        "dane-for-all",
        "domain-absent",
        "exempt",
        "inside-not-protected",
        "internal",
        "no-certificate",
        "no-factor",
        "no-outbox",
        "no-portal",
        "not-compliant",
        "not-sensitive",
        "null-sender",
        "routing-not-proven",
        "rule",
        "smime",
        "too-big",
        OTHER,
    )
)
"""The codes that decide a route (policy/route.py)."""
CACHES = frozenset(("domains", "hosts"))
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

MESSAGES = Metric(
    "nta_milter_messages_total",
    "counter",
    "Messages at the end of their data, by listener and by what Postfix was answered.",
    {"side": SIDES, "answer": ANSWERS},
)
SECONDS = Metric(
    "nta_milter_processing_seconds",
    "histogram",
    "Time from the end of a message's data until what becomes of it is known, look-ups included.",
    {"side": SIDES},
    buckets=BUCKETS,
)
ROUTES = Metric(
    "nta_milter_routes_total",
    "counter",
    "Recipients of outgoing messages, by route and by the reason that decided it.",
    {"route": frozenset(route.value for route in Route), "reason": REASONS},
)
LOOKUPS = Metric(
    "nta_milter_lookups_total",
    "counter",
    "Domains of outgoing messages whose compliance was asked for, by answer.",
    {"result": frozenset(status.value for status in Compliance)},
)
CACHE_ENTRIES = Metric(
    "nta_milter_cache_entries", "gauge", "Domains and hosts in the look-up cache.", {"cache": CACHES}
)
CACHE_REQUESTS = Metric(
    "nta_milter_cache_requests_total",
    "counter",
    "Questions to the look-up cache: hit, miss (looked up in DNS), joined (waited for a look-up under way).",
    {"cache": CACHES, "outcome": frozenset(("hit", "miss", "joined"))},
)
CACHE_FAILURES = Metric(
    "nta_milter_cache_failures_total",
    "counter",
    "Look-ups in DNS that gave no answer that can be trusted.",
    {"cache": CACHES},
)
PROVEN = Metric(
    "nta_milter_proven",
    "gauge",
    "1 if the last proof of Postfix's routing or of the resolver succeeded, 0 if not.",
    {"what": frozenset(("routing", "resolver"))},
    combine="min",
)
KEYS = Metric("nta_milter_keys", "gauge", "Private S/MIME keys that are loaded.", {}, combine="max")
KEY_DAYS = Metric(
    "nta_milter_key_days_left",
    "gauge",
    "Days until the first address or domain of ours has no valid certificate any more; negative afterwards.",
    {},
    combine="min",
)
RECORD_DAYS = Metric(
    "nta_milter_record_days_left",
    "gauge",
    "Days until the first NTA 7516 record of an internal domain ends; absent where no domain has one.",
    {},
    combine="min",
)
PROCESSES = Metric("nta_milter_processes", "gauge", "Processes of the milter that answer.", {})

METRICS = (
    MESSAGES,
    SECONDS,
    ROUTES,
    LOOKUPS,
    CACHE_ENTRIES,
    CACHE_REQUESTS,
    CACHE_FAILURES,
    PROVEN,
    KEYS,
    KEY_DAYS,
    RECORD_DAYS,
    PROCESSES,
)


class Counted:
    """Counts what happens with messages; safe for many threads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def ended(self, side: str, outcome: Outcome, seconds: float | None = None) -> None:
        """A message has its answer, after so many seconds where it got as far as the work threads."""
        reply = outcome.reply
        answer = "accepted" if reply is None else "refused" if reply.code.startswith("5") else "deferred"
        self._registry.add(MESSAGES, side, answer)
        if seconds is not None:
            self._registry.observe(SECONDS, side, value=seconds)

    def decided(self, made: Plan, reports: Mapping[str, ComplianceReport]) -> None:
        """An outgoing message has its routes."""
        for destination in made.destinations:
            decision = destination.decision
            code = decision.reasons[-1].code if decision.reasons else OTHER
            self._registry.add(ROUTES, decision.route.value, code)
        for report in reports.values():
            self._registry.add(LOOKUPS, report.status.value)


class State:
    """How the milter is: gauges, and what ``nta-milter status`` is told besides.

    ``snapshot`` gives the one in force. Nothing here asks DNS or Postfix: ``examined`` is given what the
    proofs found when they were made.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._started = snapshot().settings
        self._routing: tuple[str, ...] | None = None
        self._resolver = ""
        self._records: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self.loaded()

    def loaded(self) -> None:
        """The snapshot in force has just been loaded: note the state of its files."""
        settings = self._snapshot().settings
        self._files = {"settings": fingerprint(settings), "files": files_fingerprint(settings)}

    def examined(self, routing: tuple[str, ...], resolver: str, records: Mapping[str, str]) -> None:
        """What was found: faults of the routing, that of the resolver, the enddate of each own domain."""
        self._routing, self._resolver, self._records = routing, resolver, dict(records)

    def facts(self) -> dict[str, object]:
        """What a control socket tells."""
        snapshot = self._snapshot()
        return {
            "mode": snapshot.settings.mode,
            "configuration": self._files,
            "reload_refused": refused(self._started.milter.control),
            "restart_needed": needs_restart(self._started, snapshot.settings),
            "proven": None
            if self._routing is None
            else {"routing": list(self._routing), "resolver": self._resolver},
            "keys": [
                {"address": address, "until": until.isoformat(timespec="seconds")}
                for address, until in valid_until(snapshot.keys).items()
            ],
            "records": self._records,
        }

    def collect(self) -> Iterator[tuple[Metric, Labels, float]]:
        """The gauges."""
        snapshot, now = self._snapshot(), datetime.now(UTC)
        for name, counters in snapshot.compliance.counters().items():
            yield CACHE_ENTRIES, (name,), counters.entries
            yield CACHE_REQUESTS, (name, "hit"), counters.hits
            yield CACHE_REQUESTS, (name, "miss"), counters.misses
            yield CACHE_REQUESTS, (name, "joined"), counters.joined
            yield CACHE_FAILURES, (name,), counters.failures
        if self._routing is not None:
            yield PROVEN, ("routing",), not self._routing
            yield PROVEN, ("resolver",), not self._resolver
        yield KEYS, (), len(snapshot.keys.keys)
        ends = valid_until(snapshot.keys).values()
        if ends:
            yield KEY_DAYS, (), (min(ends) - now).total_seconds() / 86_400
        months = [
            month_ends(enddate, snapshot.compliance.timezone) for enddate in self._records.values() if enddate
        ]
        if months:
            yield RECORD_DAYS, (), (min(months) - now).total_seconds() / 86_400
        yield PROCESSES, (), 1


def valid_until(keys: KeyRing) -> dict[str, datetime]:
    """Until when each address or @domain has a certificate: expired keys stay, newer ones replace them."""
    found: dict[str, datetime] = {}
    for key in keys.keys:
        for address in sorted(key.addresses):
            found[address] = max(found.get(address, key.certificate.not_after), key.certificate.not_after)
    return found
