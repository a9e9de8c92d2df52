"""Recipients whose domain could not be looked up, and replies from the portal: decided again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from nta_milter.audit.events import Event
from nta_milter.audit.write import AuditWriter
from nta_milter.config.model import Settings
from nta_milter.errors import NtaMilterError
from nta_milter.message.headers import split
from nta_milter.message.model import Entity, Message, Recipient
from nta_milter.monitor.log import tell, tell_crash
from nta_milter.policy.route import Route
from nta_milter.store.keys import PrivateKeys, new_id
from nta_milter.store.rows import Delivery, NewBlob
from nta_milter.store.store import Store
from nta_milter.worker.record import record_of

PAUSE = timedelta(minutes=5)
"""Time between two decisions about one recipient."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decided:
    """A route for one recipient; TEMPFAIL means that it is still not known.

    ``content`` is given where the recipient gets another than what is stored: ciphertext, or other header
    fields. ``next_hop`` is the value of X-Nta-Route for SMIME, DANE and PASS (which means inside).
    """

    route: Route
    reasons: tuple[str, ...]
    next_hop: str = ""
    content: Entity | None = None


Decider = Callable[[Message, Delivery, datetime], Decided]
"""Decides for the one recipient of a message; ``Delivery.reply_to`` says that it is a reply of the portal."""


class Again:
    """Asks the decider for what is undecided and due."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: PrivateKeys,
        audit: AuditWriter,
        decide: Decider,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys
        self._audit = audit
        self._decide = decide
        self._clock = clock

    def round(self) -> int:
        """Decide what is due now, and let go what was held for a factor that is known by now.

        How many have a route after it. Raises StoreUnavailable.
        """
        at = self._clock()
        claimed = self._store.handover.claim_undecided(at, PAUSE)
        known = sum(self._guarded(delivery, wrap) for delivery, wrap in claimed)
        for delivery in self._store.handover.release_held(at):
            known += 1
            self._audit.write(record_of(Event.DECIDED, delivery, at, {"decided": Route.PORTAL.value}))
        return known

    def _guarded(self, delivery: Delivery, wrap: bytes) -> bool:
        """One that cannot be opened must not keep the others."""
        try:
            return self._one(delivery, wrap)
        except NtaMilterError as error:
            tell(log, logging.ERROR, "undecidable", delivery.queue_id, delivery=delivery.id, error=error)
        except Exception:  # noqa: BLE001 - as above
            tell_crash(log, "internal-error", delivery.queue_id, delivery=delivery.id)
        return False

    def _one(self, delivery: Delivery, wrap: bytes) -> bool:
        at = self._clock()
        key = self._store.message_key(self._keys, wrap, delivery.message_id)
        try:
            decided = self._decide(self._message(delivery, key), delivery, at)
        except NtaMilterError as error:
            tell(log, logging.WARNING, "undecided", delivery.queue_id, delivery=delivery.id, error=error)
            decided = Decided(Route.TEMPFAIL, (str(error),))
        if decided.route is Route.TEMPFAIL:
            limit = timedelta(seconds=self._settings.worker.decide_limit)
            if at < delivery.created_at + limit:
                return False
            decided = self._without_look_up(delivery, decided.reasons)
        blob = self._stored(delivery, key, decided.content)
        known = self._store.handover.decide(
            delivery.id, decided.route.value, decided.reasons, at, decided.next_hop, blob
        )
        if known:
            self._audit.write(
                record_of(
                    Event.DECIDED,
                    delivery,
                    at,
                    {"decided": decided.route.value, "because": "; ".join(decided.reasons)},
                )
            )
        return known

    def _without_look_up(self, delivery: Delivery, reasons: tuple[str, ...]) -> Decided:
        """The time is over: what needs nobody's record."""
        reasons = (*reasons, "could not be looked up in time")
        if not self._settings.portal.url:
            return Decided(Route.REJECT, reasons)
        known = self._store.access.can_prove(delivery.recipient)
        return Decided(Route.PORTAL if known else Route.HOLD, reasons)

    def _message(self, delivery: Delivery, key: bytes) -> Message:
        with self._store.open(delivery.message_id, delivery.blob_id, key) as content:
            data = content.read()
        headers, start = split(data)
        return Message(
            delivery.sender,
            delivery.message_arguments,
            (Recipient(delivery.recipient, delivery.arguments),),
            headers,
            memoryview(data)[start:],
        )

    def _stored(self, delivery: Delivery, key: bytes, content: Entity | None) -> NewBlob | None:
        if content is None:
            return None
        pieces = (bytes(content.headers) + b"\r\n", content.body)
        return self._store.put(delivery.message_id, new_id(), key, pieces)
