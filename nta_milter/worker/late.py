"""Routed mail that Postfix cannot deliver: after some time its sender is told, or the portal has it instead.

A host that cannot prove its certificate gets nothing, and Postfix goes on trying: that the mail waits is
right, and that nobody knows would be wrong. It is never sent in another way than over mandatory DANE.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nta_milter.audit.events import Event
from nta_milter.audit.write import AuditWriter
from nta_milter.config.model import Settings
from nta_milter.message.address import envelope_domain
from nta_milter.monitor.log import tell
from nta_milter.outbox.addresses import bounced_id
from nta_milter.policy.route import Route
from nta_milter.store.late import READABLE, UNPROVEN, UNREACHABLE, LateCopies
from nta_milter.store.rows import Delivery, NewDelivery, NewMessage
from nta_milter.store.store import Store
from nta_milter.worker.postqueue import Look, Queued
from nta_milter.worker.record import record_of

ROUTED = ("smime", "dane")
"""The routes that leave over mandatory DANE."""

MARGIN = timedelta(hours=1)
"""How much longer content is kept than the looks at the queue need."""

_UNPROVEN = re.compile(
    r"TLSA|non DNSSEC destination|Server certificate not (?:trusted|verified)|TLS is required, but|"
    r"Cannot start TLS|certificate verification failed",
    re.IGNORECASE,
)
"""What smtp(8) gives as the reason when a host does not do what mandatory DANE asks."""

log = logging.getLogger(__name__)


class LateWatch:
    """Looks for what has been in the queue for too long."""

    def __init__(
        self, settings: Settings, store: Store, audit: AuditWriter, look: Look, clock: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._after = timedelta(seconds=settings.worker.late_after)
        internal = settings.internal
        self._ours = frozenset(domain.lower() for domain in internal.sender_domains or internal.domains)
        self._store = store
        self._copies = LateCopies(store.database)
        self._audit = audit
        self._look = look
        self._clock = clock
        self._looked_at: datetime | None = None

    def round(self) -> int:
        """One look; how many senders were told or copies moved.

        Raises:
            TemporaryError: the queue or the database cannot be looked at.
        """
        if not self._after:
            return 0
        at = self._clock()
        done = sum(self._one(queued, at) for queued in self._look() if queued.queue == "deferred")
        self._looked_at = at
        return done

    def kept_since(self) -> datetime | None:
        """The content of readable copies that Postfix took after this is kept, to move it if it must be."""
        if self._settings.worker.late != "portal" or not self._after:
            return None
        if self._looked_at is None:
            return datetime.min.replace(tzinfo=UTC)
        return self._looked_at - self._after - MARGIN

    def _one(self, queued: Queued, at: datetime) -> bool:
        status = UNPROVEN if any(_UNPROVEN.search(reason) for reason in queued.reasons) else UNREACHABLE
        identifier = bounced_id(queued.sender)
        if identifier is not None:
            return self._copy(identifier, queued, status, at)
        if queued.arrived_at > at - self._after or status != UNPROVEN:
            return False  # of other mail the reason alone tells that it was routed
        return sum(self._in_place(recipient, queued, at) for recipient in queued.recipients) > 0

    def _copy(self, submission_id: str, queued: Queued, status: str, at: datetime) -> bool:
        """One that was handed in: the store knows it, and since when Postfix has it."""
        late = self._copies.find(submission_id)
        if late is None or late.delivery.route not in ROUTED or late.submitted_at > at - self._after:
            return False
        delivery = late.delivery
        return self._moved(delivery, queued, status, at) or self._told(delivery, queued, status, at)

    def _moved(self, delivery: Delivery, queued: Queued, status: str, at: datetime) -> bool:
        if self._settings.worker.late != "portal" or not self._settings.portal.url:
            return False
        if delivery.route != READABLE:
            return False
        known = self._store.access.can_prove(delivery.recipient)
        route = (Route.PORTAL if known else Route.HOLD).value
        reasons = (*delivery.reasons, f"could not be delivered over mandatory DANE ({status})")
        if not self._copies.move(delivery.id, route, reasons, at):
            return False
        tell(
            log, logging.WARNING, "late-moved", queued.queue_id, delivery=delivery.id, to=route, status=status
        )
        self._audit.write(
            record_of(Event.DECIDED, delivery, at, {"decided": route, "because": "; ".join(reasons)})
        )
        return True

    def _told(self, delivery: Delivery, queued: Queued, status: str, at: datetime) -> bool:
        if not self._copies.tell(delivery.id, status, at):
            return False
        tell(log, logging.WARNING, "late", queued.queue_id, delivery=delivery.id, status=status)
        self._audit.write(record_of(Event.DEFERRED, delivery, at, {"status": status}))
        return True

    def _in_place(self, recipient: str, queued: Queued, at: datetime) -> bool:
        """Ciphertext that never was in the store: what is needed to write a report is remembered now."""
        if envelope_domain(queued.sender) not in self._ours:
            return False
        seed = f"{queued.queue_id} {queued.arrived_at.isoformat()} {recipient}".encode("utf-8", "replace")
        name = hashlib.sha256(seed).hexdigest()[:32]
        if self._store.handover.find(name) is None:
            self._store.outgoing.remember(_remembered(name, recipient, queued, self._settings))
        delivery = self._store.handover.find(name)
        return delivery is not None and self._told(delivery, queued, UNPROVEN, at)


def _remembered(name: str, recipient: str, queued: Queued, settings: Settings) -> NewMessage:
    return NewMessage(
        id=name,
        digest="",
        sender=queued.sender,
        author=queued.sender,
        language=settings.notification.language,
        created_at=queued.arrived_at,
        expires_at=queued.arrived_at,
        worker_wrap=None,
        blobs=(),
        deliveries=(NewDelivery(name, "", recipient, Route.SMIME.value),),
        queue_id=queued.queue_id,
    )
