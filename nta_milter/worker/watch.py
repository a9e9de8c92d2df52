"""Watches Postfix's queue: what was prepared and is not there any more will never be committed.

A message is looked for by its commit recipient, not by its queue id, which ``postsuper -r`` changes. That
it is gone must be seen twice, after the time that the milter's own answer may have taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from nta_milter.audit.events import Event
from nta_milter.audit.write import AuditWriter
from nta_milter.config.model import Settings
from nta_milter.monitor.log import tell
from nta_milter.outbox.addresses import commit_id
from nta_milter.store.store import Store
from nta_milter.worker.postqueue import Postqueue, Queued
from nta_milter.worker.record import record_of

LATE = timedelta(minutes=2)
"""A commit that waits for longer is an alarm, told again each time that it has waited twice as long."""
LOOKS = 2
"""How many looks must miss a message before it is given up."""

log = logging.getLogger(__name__)


class Watch:
    """Compares the attempts that wait for a commit with the queue."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        audit: AuditWriter,
        postqueue: Postqueue,
        clock: Callable[[], datetime],
    ) -> None:
        self._grace = timedelta(seconds=settings.milter.timeout + 60)
        self._store = store
        self._audit = audit
        self._postqueue = postqueue
        self._clock = clock
        self._missed: dict[str, int] = {}
        self._told: dict[str, timedelta] = {}
        self.commits: tuple[datetime, ...] = ()
        """Since when each commit in the queue waits, as it was seen last."""

    def round(self) -> int:
        """One look; how many attempts were given up.

        Raises:
            TemporaryError: the queue cannot be looked at, so that nothing is given up.
        """
        began_at = self._clock()
        queued = self._postqueue.look()
        waiting = {name for each in queued for name in commits(each)}
        self.commits = tuple(each.arrived_at for each in queued if commits(each))
        self._hurry(queued, began_at)
        missed: dict[str, int] = {}
        given_up = 0
        for attempt in self._store.outgoing.open_attempts():
            if attempt.created_at > began_at - self._grace or attempt.id in waiting:
                continue
            missed[attempt.id] = self._missed.get(attempt.id, 0) + 1
            if missed[attempt.id] >= LOOKS:
                given_up += 1
                self._give_up(attempt.id, attempt.queue_id)
        self._missed = missed
        return given_up

    def _hurry(self, queued: Iterable[Queued], at: datetime) -> None:
        """A commit that was deferred is tried now, since we are there."""
        late = [each for each in queued if commits(each) and each.arrived_at < at - LATE]
        told = {each.queue_id: self._told.get(each.queue_id, timedelta(0)) for each in late}
        for each in late:
            waited = at - each.arrived_at
            if waited >= 2 * told[each.queue_id]:
                told[each.queue_id] = waited
                tell(
                    log,
                    logging.ERROR,
                    "commit-late",
                    each.queue_id,
                    queue=each.queue,
                    since=each.arrived_at.isoformat(),
                    reason="; ".join(reason for reason in each.reasons if reason) or "none",
                )
            if each.queue == "deferred":
                self._postqueue.deliver_now(each.queue_id)
        self._told = told

    def _give_up(self, attempt_id: str, queue_id: str) -> None:
        delivery = self._store.outgoing.abandon(attempt_id)
        tell(log, logging.INFO, "attempt-abandoned", queue_id, attempt=attempt_id)
        if delivery is not None:
            self._audit.write(record_of(Event.ABANDONED, delivery, self._clock(), {"postfix": queue_id}))


def commits(queued: Queued) -> tuple[str, ...]:
    """The ids of the commit recipients that a message in the queue still has."""
    found = (commit_id(recipient) for recipient in queued.recipients)
    return tuple(identifier for identifier in found if identifier is not None)
