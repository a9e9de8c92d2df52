"""Removes what the record of events has kept for long enough, once a day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from nta_milter.audit.chain import Signer, load_public
from nta_milter.audit.prune import prune
from nta_milter.audit.write import AuditWriter
from nta_milter.config.model import Settings
from nta_milter.errors import ConfigurationError, StoreUnavailable
from nta_milter.store.database import Database
from nta_milter.store.records import Records


class Prune:
    """Keeps to ``audit.retention``; any number of hosts may."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        audit: AuditWriter,
        signer: Signer | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._database = database
        self._audit = audit
        self._signer = signer
        self._clock = clock
        self._done: datetime | None = None

    def round(self) -> int:
        """Remove the records of whole days (UTC) whose time is over; how many there were.

        Raises:
            ConfigurationError: no key signs what is left, or its public half cannot be read.
            StoreUnavailable: the database cannot be changed, or a chain is broken and stays as it is.
        """
        at = self._clock()
        days = self._settings.audit.retention
        before = at.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
        if not days or before == self._done:
            return 0
        if self._signer is None:
            raise ConfigurationError(
                "needs the key audit-key, which signs what is left", where="audit.retention"
            )
        keys = load_public(self._settings.store.public / "audit.pem")
        faults, count, uncovered = [], 0, 0
        for each in prune(Records(self._database), keys, before, at, self._signer):
            if each.removed:
                self._audit.write(each.record(before, at))
            if each.fault is not None:
                faults.append(each.fault)
            count += each.removed
            uncovered += each.uncovered
        if count:
            self._database.checkpoint()
        if faults:
            first = faults[0]
            raise StoreUnavailable(
                f"{first.writer} is broken at record {first.sequence} and stays: {first.text}", where="audit"
            )
        if not uncovered:  # else again when a checkpoint stands after them
            self._done = before
        return count
