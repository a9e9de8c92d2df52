"""Proves routing and resolver at start, on reload and now and then, for as long as a worker runs."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime

from nta_milter.milter.metrics import State
from nta_milter.milter.service import Service
from nta_milter.monitor.log import tell, tell_crash
from nta_milter.policy.snapshot import Snapshot
from nta_milter.postfix.live import Tickets, probe

log = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds after which a probe that proved nothing is repeated, doubled each time: Postfix may be starting."""
LONGEST_PAUSE = 5.0

NOT_YET = "the running Postfix has not been looked at yet"


class Prover:
    """The proofs of one worker process; what changes in them is logged.

    Nothing sensitive is routed before the first look at the running Postfix, and after a change of its tables
    before the next.
    """

    def __init__(self, service: Service, state: State, tickets: Tickets, number: int) -> None:
        self._service = service
        self._state = state
        self._number = number
        self._tickets = tickets
        self._wanted = threading.Event()
        self._look_at = float("-inf")
        self._pause = AGAIN
        self._asked = 0
        self._said: tuple[str, ...] | None = None
        service.snapshot.routing.watch(self.now, NOT_YET)

    def now(self) -> None:
        """Prove without waiting for the interval's end."""
        self._asked += 1
        self._look_at, self._pause = float("-inf"), AGAIN
        self._wanted.set()

    def run(self) -> None:
        """Prove for ever; for a thread of its own."""
        while True:
            snapshot = self._service.snapshot
            try:
                self._look(snapshot)
                self._prove(snapshot)
            except Exception:  # noqa: BLE001 - without this thread nothing would ever be proven again
                tell_crash(log, "internal-error", worker=self._number)
            pause = max(self._look_at - time.monotonic(), AGAIN)
            self._wanted.wait(min(pause, snapshot.settings.routing.interval))
            self._wanted.clear()

    def _look(self, snapshot: Snapshot) -> None:
        """Look at the running Postfix where it is time to; unproven tables could lead the probe away."""
        settings, routing = snapshot.settings.routing, snapshot.routing
        routing.current()
        proof = routing.known
        if time.monotonic() < self._look_at or proof is None or not proof.proven:
            return
        asked = self._asked
        fault = probe(settings.probe, self._tickets) if settings.probe else ""
        routing.looked(proof, fault, runs=bool(settings.probe))
        if asked != self._asked:
            return  # a reload, or a change of the tables, came meanwhile: what was seen is not of it
        if routing.live:
            self._look_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            self._look_at, self._pause = time.monotonic() + settings.probe_interval, AGAIN

    def _prove(self, snapshot: Snapshot) -> None:
        resolver = snapshot.compliance.proof()
        routing = snapshot.routing.current().faults
        faults = (*routing, *(() if resolver.proven else (resolver.reason,)))
        if faults != self._said:
            for fault in faults:
                tell(log, logging.ERROR, "not-proven", worker=self._number, fault=fault)
            if not faults:
                tell(log, logging.INFO, "proven", worker=self._number, what="routing,resolver")
            self._said = faults
        self._state.examined(routing, "" if resolver.proven else resolver.reason, _records(snapshot))


def _records(snapshot: Snapshot) -> dict[str, str]:
    """The enddate of each internal domain's NTA 7516 record; empty for one without a record."""
    found = {}
    for domain in sorted(snapshot.internal_domains):
        record = snapshot.compliance.report(domain, datetime.now(UTC)).record
        found[domain] = record.enddate if record is not None else ""
    return found
