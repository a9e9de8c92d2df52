"""What becomes of a mail that Postfix delivers to one of our own addresses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from nta_milter.audit.events import Event
from nta_milter.audit.write import AuditWriter
from nta_milter.errors import MessageError, TemporaryError
from nta_milter.message.headers import Headers
from nta_milter.monitor.log import tell
from nta_milter.outbox.queue import OPENED
from nta_milter.store.rows import Commit, Delivery, Form
from nta_milter.store.store import Store
from nta_milter.worker.bounce import SIZE_LIMIT, Bounce, read_bounce, read_bounces
from nta_milter.worker.record import record_of

ONCE_A_DAY = timedelta(days=1)
MOST_RECIPIENTS = 1_000
"""Recipients of one message that a commit or report is recorded for (Postfix takes 1000)."""

_MOVED = ("portal", "hold")
_ABOUT_DELIVERY = (Form.COPY, Form.NOTIFICATION, Form.REMINDER, None)

log = logging.getLogger(__name__)


class Answers:
    """Acts on commits, bounces and answers; each is done and on disk when the method returns."""

    def __init__(
        self, store: Store, audit: AuditWriter, clock: Callable[[], datetime], wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._wake = wake

    def receive(self, kind: str, identifier: str, content: bytes) -> None:
        """Take a mail; raises TemporaryError when Postfix shall keep it."""
        match kind:
            case "commit":
                self._commit(identifier)
            case "bounce":
                self._bounce(identifier, content)
            case _:
                self._answer(identifier, content)

    def _commit(self, attempt_id: str) -> None:
        at = self._clock()
        result = self._store.outgoing.commit(attempt_id, at)
        self._wake()
        if result is Commit.AGAIN:
            return
        attempt = self._store.outgoing.attempt(attempt_id)
        if attempt is None:
            # kept by Postfix and seen by the watch: perhaps the database was put back to an earlier state
            raise TemporaryError("is not known, though Postfix has the message", where=f"commit {attempt_id}")
        deliveries = self._store.handover.list_deliveries(
            message_id=attempt.message_id, limit=MOST_RECIPIENTS
        )
        if result is Commit.ABANDONED:
            tell(log, logging.ERROR, "committed-after-abandoned", attempt.queue_id, attempt=attempt_id)
            for delivery in deliveries:
                self._store.handover.report(delivery.id, "5.3.0", "", at)
            return
        for delivery in deliveries:
            self._audit.write(record_of(Event.RELEASED, delivery, at, {"postfix": attempt.queue_id}))

    def _bounce(self, identifier: str, content: bytes) -> None:
        found = self._store.handover.find_bounced(identifier)
        bounce = read_bounce(content)
        if found is None or bounce is None:
            known = "yes" if found else "no"
            tell(log, logging.WARNING, "bounce-ignored", bounced_by=identifier, known=known)
            return
        delivery, form = found
        tell(
            log,
            logging.INFO,
            "bounce",
            delivery.queue_id,
            delivery=delivery.id,
            action=bounce.action,
            status=bounce.status,
        )
        if delivery.route == OPENED:
            self._refused_inside(delivery, read_bounces(content))
        elif form is Form.COPY and delivery.route in _MOVED:
            pass  # the portal has it by now; that Postfix gives its copy up is no failure
        elif bounce.action == "failed" and form in _ABOUT_DELIVERY:
            self._undeliverable(delivery, bounce.status)

    def _refused_inside(self, first: Delivery, bounces: tuple[Bounce, ...]) -> None:
        """One report of Postfix may be about several recipients of mail that was opened on arrival."""
        siblings = self._store.handover.list_deliveries(message_id=first.message_id, limit=MOST_RECIPIENTS)
        for bounce in bounces:
            for delivery in siblings:
                if bounce.action == "failed" and bounce.recipient == delivery.recipient.lower():
                    self._undeliverable(delivery, bounce.status)

    def _undeliverable(self, delivery: Delivery, status: str) -> None:
        at = self._clock()
        if self._store.handover.undeliverable(delivery.id, status, "", at):
            self._audit.write(record_of(Event.UNDELIVERABLE, delivery, at, {"status": status}))
            self._wake()

    def _answer(self, delivery_id: str, content: bytes) -> None:
        """An answer in clear is not read; its author is asked, once a day, to answer in the portal."""
        at = self._clock()
        delivery = self._store.handover.find(delivery_id)
        if delivery is None or _is_automatic(content):
            return
        if self._store.access.count(f"answer {delivery_id}", at, ONCE_A_DAY) == 1:
            self._store.handover.ask_to_answer_securely(delivery_id, at)
            self._wake()


def _is_automatic(content: bytes) -> bool:
    """Whether a program wrote it (RFC 3834): two programs must not answer each other."""
    try:
        headers = Headers.parse(content[:SIZE_LIMIT])
    except MessageError:
        return True
    automatic = (headers.first("Auto-Submitted") or b"no").strip().lower()
    precedence = (headers.first("Precedence") or b"").strip().lower()
    sender = headers.first("Return-Path")
    return automatic != b"no" or precedence in (b"bulk", b"junk", b"list") or sender == b"<>"
