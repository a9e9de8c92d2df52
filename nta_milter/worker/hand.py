"""Takes what is due, writes it, and hands it to Postfix; what fails is tried again later and later."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from nta_milter.audit.events import Event
from nta_milter.audit.write import AuditWriter
from nta_milter.config.model import Settings
from nta_milter.errors import (
    NtaMilterError,
    RecipientRefused,
    RoutingNotProven,
    SubmissionInDoubt,
    TemporaryError,
)
from nta_milter.message.model import Entity
from nta_milter.monitor.log import tell, tell_crash
from nta_milter.outbox.addresses import bounce_address
from nta_milter.outbox.compose import Composer, Identity
from nta_milter.postfix.route import ROUTE_HEADER
from nta_milter.store.keys import PrivateKeys, Token
from nta_milter.store.late import UNPROVEN, UNREACHABLE
from nta_milter.store.rows import Delivery, Form, NewLink, Submission
from nta_milter.store.store import Store
from nta_milter.worker.postqueue import Look
from nta_milter.worker.record import record_of
from nta_milter.worker.submit import submit

LEASE = timedelta(minutes=30)
"""Time in which a claim is alone; longer than the patience with Postfix."""
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)

EVENTS = {
    Form.COPY: Event.SUBMITTED,
    Form.NOTIFICATION: Event.NOTIFIED,
    Form.REMINDER: Event.NOTIFIED,
    Form.HOLD: Event.HELD,
    Form.LOCKED: Event.REPORTED,
    Form.ANSWER: Event.NOTIFIED,
    Form.REPORT: Event.REPORTED,
}

ABOUT_RECIPIENT = (Form.COPY, Form.NOTIFICATION, Form.REMINDER)
"""What goes to the recipient of a delivery, and not to its sender."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail for Postfix: where it goes in, its envelope and its content."""

    listener: Path
    sender: str
    sender_arguments: tuple[str, ...]
    recipient: str
    recipient_arguments: tuple[str, ...]
    content: Iterator[bytes]


class Hand:
    """Hands over what the store holds; any number of workers may do so at the same time."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: PrivateKeys,
        audit: AuditWriter,
        look: Look,
        clock: Callable[[], datetime],
        name: str,
        unproven: Callable[[str], str] = lambda _: "",
    ) -> None:
        """``name`` is this worker's: what another process of this name had claimed is free again.

        ``unproven`` says why no copy for a next hop may be handed in (HandIn.fault).
        """
        self._unproven = unproven
        self._settings = settings
        self._store = store
        self._keys = keys
        self._audit = audit
        self._look = look
        self._clock = clock
        self._composer = Composer(settings)
        self._name = name
        store.handover.end_claims(name, clock())

    def round(self) -> int:
        """Hand over what is due now; how much that was.

        Raises:
            StoreUnavailable: the database cannot be used.
        """
        claimed = self._store.handover.claim(self._clock(), LEASE, self._name)
        for submission in claimed:
            try:
                self._one(submission)
            except NtaMilterError as error:
                self._tell(logging.ERROR, "hand-failed", submission, error=error)
            except Exception:  # noqa: BLE001 - one that Postfix has and we cannot record must keep no other
                tell_crash(log, "internal-error", submission.delivery.queue_id, submission=submission.id)
        return len(claimed)

    def _one(self, submission: Submission) -> None:
        if submission.form is Form.REPORT and not _wanted(submission):
            self._store.handover.submitted(submission, "", self._clock())
            return
        try:
            queue_id = self._already_there(submission)
            if queue_id is None:
                queue_id = self._submit(submission)
        except RecipientRefused as error:
            self._refused(submission, error)
            return
        except NtaMilterError as error:
            self._failed(submission, error)
            return
        except Exception:  # noqa: BLE001 - one that cannot be handed in must not keep the others
            tell_crash(log, "internal-error", submission.delivery.queue_id, submission=submission.id)
            self._failed(submission, TemporaryError("internal error"))
            return
        at = self._clock()
        if not self._store.handover.submitted(submission, queue_id, at):
            self._tell(logging.ERROR, "claim-lost", submission)
            return
        self._record(EVENTS[submission.form], submission, {"queue_id": queue_id})
        if submission.form in (Form.COPY, Form.NOTIFICATION) and wants_success(submission.delivery):
            self._store.handover.report(submission.delivery.id, "2.0.0", "", at)

    def _already_there(self, submission: Submission) -> str | None:
        """The queue id of a mail that an earlier try left in Postfix's queue without our knowing it.

        Raises:
            TemporaryError: the queue cannot be looked at, so that nobody knows.
        """
        if not submission.retried:
            return None
        sender = bounce_address(submission.id, self._settings)
        return next((queued.queue_id for queued in self._look() if queued.sender == sender), None)

    def _submit(self, submission: Submission) -> str:
        with contextlib.ExitStack() as opened:
            mail = self._mail(submission, opened)
            return submit(
                mail.listener,
                mail.sender,
                mail.sender_arguments,
                mail.recipient,
                mail.recipient_arguments,
                mail.content,
            )

    def _mail(self, submission: Submission, opened: contextlib.ExitStack) -> Mail:
        """The mail, written or opened now: a link exists in the mail that holds it and nowhere else."""
        delivery = submission.delivery
        at = self._clock()
        sender = bounce_address(submission.id, self._settings)
        mail = Identity(submission.id, submission.created_at)
        own = self._settings.worker.mail
        match submission.form:
            case Form.COPY:
                if fault := self._unproven(delivery.next_hop):
                    raise RoutingNotProven(fault)
                content = self._copy(submission, opened)
                arguments = copied_arguments(delivery)
                hand = self._settings.worker.hand
                return Mail(hand, sender, _headers_only(delivery), delivery.recipient, arguments, content)
            case Form.NOTIFICATION | Form.REMINDER:
                token = self._link(submission, at)
                entity = self._composer.notification(delivery, token, mail, submission.form)
                return Mail(own, sender, ("RET=HDRS",), delivery.recipient, (), _pieces(entity))
            case Form.HOLD | Form.LOCKED:
                is_held = submission.form is Form.HOLD
                token = Token.new()
                link = NewLink(token.lookup, delivery.id, "hold" if is_held else "unlock")
                self._store.outgoing.add_link(link, at)
                compose = self._composer.hold if is_held else self._composer.locked
                entity = compose(delivery, token, mail)
                return Mail(own, sender, ("RET=HDRS",), delivery.author, (), _pieces(entity))
            case Form.ANSWER:
                entity = self._composer.answer(delivery, mail)
                return Mail(own, "", (), delivery.recipient, ("NOTIFY=NEVER",), _pieces(entity))
            case Form.REPORT:
                entity = self._composer.report(delivery, submission.status, submission.detail, mail)
                # a report has no sender, so that nothing answers it (RFC 3464 section 2)
                recipient = delivery.sender or delivery.author
                return Mail(own, "", (), recipient, ("NOTIFY=NEVER",), _pieces(entity))

    def _link(self, submission: Submission, at: datetime) -> Token:
        delivery = submission.delivery
        token = Token.new()
        sealed = self._store.public.for_link(token, self._key(submission), delivery.message_id)
        self._store.outgoing.add_link(NewLink(token.lookup, delivery.id, "open", sealed), at)
        return token

    def _copy(self, submission: Submission, opened: contextlib.ExitStack) -> Iterator[bytes]:
        """The stored content under its route, opened before Postfix is asked for anything."""
        delivery = submission.delivery
        content = opened.enter_context(
            self._store.open(delivery.message_id, delivery.blob_id, self._key(submission))
        )
        return with_route(content.pieces(), f"{ROUTE_HEADER}: {delivery.next_hop}\r\n".encode("ascii"))

    def _key(self, submission: Submission) -> bytes:
        if submission.worker_wrap is None:
            raise TemporaryError("the message cannot be opened any more", where=submission.delivery.id)
        return self._store.message_key(self._keys, submission.worker_wrap, submission.delivery.message_id)

    def _refused(self, submission: Submission, error: RecipientRefused) -> None:
        """Nothing is ever taken for this recipient: the sender is told, or, if that is he, a person."""
        if submission.form not in ABOUT_RECIPIENT:
            self._failed(submission, error, hopeless=True)
            return
        self._tell(logging.WARNING, "recipient-refused", submission, error=error)
        if self._store.handover.refused(submission, error.status, self._clock()):
            self._record(Event.UNDELIVERABLE, submission, {"status": error.status})

    def _failed(self, submission: Submission, error: NtaMilterError, *, hopeless: bool = False) -> None:
        """Try again later, each time later; after too many tries somebody must look."""
        shunt = hopeless or submission.tries + 1 >= self._settings.worker.tries
        due_at = None if shunt else self._clock() + pause(submission.tries)
        in_doubt = isinstance(error, SubmissionInDoubt)
        self._store.handover.failed(submission, str(error), due_at)
        level = logging.ERROR if shunt else logging.WARNING
        self._tell(
            level,
            "submission-failed",
            submission,
            form=submission.form.value,
            tries=submission.tries + 1,
            set_aside="yes" if shunt else "no",
            in_doubt="yes" if in_doubt else "no",
            error=error,
        )
        if shunt:
            self._record(Event.SHUNTED, submission, {})

    @staticmethod
    def _tell(level: int, event: str, submission: Submission, **values: object) -> None:
        """A line about a submission, under the queue id of the message that it came with."""
        tell(log, level, event, submission.delivery.queue_id, submission=submission.id, **values)

    def _record(self, event: Event, submission: Submission, details: dict[str, str]) -> None:
        delivery = submission.delivery
        self._audit.write(
            record_of(
                event,
                delivery,
                self._clock(),
                {"form": submission.form.value, "submission": submission.id, **details},
            )
        )


def with_route(pieces: Iterable[bytes], route: bytes) -> Iterator[bytes]:
    """The content with the route as the last field of its header: of several FILTER actions the last counts.

    So no header check of the site, which a requeue asks too, can take the route's place.
    """
    head = b"\r\n"  # the line end before the first field, so that a header without fields ends too
    pieces = iter(pieces)
    for piece in pieces:
        head += piece
        end = head.find(b"\r\n\r\n")
        if end >= 0:
            yield head[2 : end + 2] + route + head[end + 2 :]
            break
    else:
        yield route + head[2:]
    yield from pieces


def pause(tries: int) -> timedelta:
    """How long to wait after so many failures: doubled each time, a little at random."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries, 20))
    return longest * random.uniform(0.75, 1.0)  # noqa: S311 - only spreads load


def wants_success(delivery: Delivery) -> bool:
    """Whether the client asked to be told of success (RFC 3461 section 4.1)."""
    return "SUCCESS" in _notify(delivery)


def wants_failure(delivery: Delivery) -> bool:
    """Whether a report of failure is wanted: yes, unless the client said otherwise."""
    notify = _notify(delivery)
    return not notify or "FAILURE" in notify


def wants_delay(delivery: Delivery) -> bool:
    """Whether a report of delay is wanted: yes, unless the client said otherwise."""
    notify = _notify(delivery)
    return not notify or "DELAY" in notify


def copied_arguments(delivery: Delivery) -> tuple[str, ...]:
    """The DSN arguments of a copy: reports of failure come to us, success we report ourselves."""
    original = [item for item in delivery.arguments if item.upper().startswith("ORCPT=")]
    return ("NOTIFY=FAILURE" if wants_failure(delivery) else "NOTIFY=NEVER", *original)


def _wanted(submission: Submission) -> bool:
    """Whether the client wants this report; that a message expired in the portal is no delivery report."""
    if submission.status.startswith("2"):
        return wants_success(submission.delivery)
    if submission.status in (UNPROVEN, UNREACHABLE):
        return wants_delay(submission.delivery)
    return wants_failure(submission.delivery)


def _notify(delivery: Delivery) -> set[str]:
    for item in delivery.arguments:
        name, _, value = item.upper().partition("=")
        if name == "NOTIFY":
            return set(value.split(","))
    return set()


def _headers_only(delivery: Delivery) -> tuple[str, ...]:
    """No report may quote the body; the client's ENVID stays (RFC 3461 section 4.4)."""
    envelope = [item for item in delivery.message_arguments if item.upper().startswith("ENVID=")]
    return ("RET=HDRS", *envelope)


def _pieces(entity: Entity) -> Iterator[bytes]:
    yield bytes(entity)
