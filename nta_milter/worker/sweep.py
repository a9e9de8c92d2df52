"""What time does to stored messages: expiry, reports about it, the end of the content, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from nta_milter.audit.chain import Signer
from nta_milter.audit.events import Event
from nta_milter.audit.write import AuditWriter
from nta_milter.config.model import Settings
from nta_milter.store.records import Records
from nta_milter.store.store import Store
from nta_milter.worker.record import record_of

REPORTS_COME = timedelta(days=7)
"""Time in which Postfix may still report what became of a mail (its queue lifetime is 5 days), and we may
have to: no row that is needed for that goes sooner.
"""


class Sweep:
    """One round of each; any number of hosts may sweep."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        audit: AuditWriter,
        signer: Signer | None,
        clock: Callable[[], datetime],
        copies_since: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """``copies_since`` says which copies' content is still needed (LateWatch.kept_since)."""
        self._copies_since = copies_since
        self._settings = settings
        self._store = store
        self._audit = audit
        self._signer = signer
        self._clock = clock

    def round(self) -> int:
        """Remind, expire and shred what is due; how many messages were shredded.

        Raises:
            StoreUnavailable: the database or a blob cannot be changed.
        """
        at = self._clock()
        remind = self._settings.portal.remind
        if remind:
            self._store.handover.remind(at, timedelta(days=remind))
        forget_after = max(timedelta(days=self._settings.store.forget_after), REPORTS_COME)
        swept = self._store.retention.sweep(
            at, forget_after, resend=self._settings.portal.resend, copies_since=self._copies_since()
        )
        for delivery in swept.expired:
            self._audit.write(record_of(Event.EXPIRED, delivery, at))
        for delivery in swept.shredded:
            self._audit.write(record_of(Event.SHREDDED, delivery, at))
        return len(swept.shredded)

    def checkpoint(self) -> int:
        """Sign where each chain stands; how many have grown. Raises StoreUnavailable."""
        if self._signer is None:
            return 0
        return len(self._signer.sign(Records(self._store.database), self._clock()))
