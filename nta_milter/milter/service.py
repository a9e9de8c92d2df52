"""What happens with a message, step by step, on threads that Python made.

An outgoing message passes (1) inspection, which never waits for anybody, (2) the look-ups, on threads of
their own so that slow DNS does not hold up other mail, (3) the decision and the cryptography. A message that
is not sensitive is done after (1).
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime
from functools import partial

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.write import AuditWriter
from nta_milter.compliance.report import Reason, to_json
from nta_milter.errors import (
    CertificateError,
    LookupUnavailable,
    MessageError,
    NtaMilterError,
    PermanentError,
    StoreUnavailable,
)
from nta_milter.inbound import peer
from nta_milter.inbound.probe import Probes
from nta_milter.inbound.receive import receive
from nta_milter.message.model import LongBody, Message, Recipient
from nta_milter.message.spool import Spool
from nta_milter.milter.job import Job
from nta_milter.milter.metrics import Counted
from nta_milter.milter.records import HARVESTED, peer_record, records_of, routes_of
from nta_milter.milter.session import Submission
from nta_milter.milter.threads import Threads
from nta_milter.monitor.log import tell, tell_crash
from nta_milter.outbound import automatic, smime
from nta_milter.outbound.connector import refusal
from nta_milter.outbound.copies import copies
from nta_milter.outbound.inspect import inspect, is_internal, is_outgoing
from nta_milter.outbound.plan import Plan, plan, route_value
from nta_milter.outbound.readable import over_dane, pin_inside, untouched
from nta_milter.outbound.smime import outer_fields
from nta_milter.outbox.queue import STUB_BODY, Deposit
from nta_milter.policy.outcome import UNTOUCHED, Outcome, Reply
from nta_milter.policy.route import Route
from nta_milter.policy.snapshot import Snapshot
from nta_milter.postfix import live
from nta_milter.postfix.route import OUTGOING, ROUTE_HEADER

log = logging.getLogger(__name__)

UNMARKED = Reply.temporary("this listener has no side marker for nta-milter (milter_macro_defaults)", "4.3.5")
NO_PROBE = Reply.permanent("this listener takes probes of nta-milter alone")
STOPPING = Reply.temporary("nta-milter is stopping", "4.3.2")
REDUCED = Reason("reduced", "a report about a secure message, without what it quotes")
BUSY = Reply.temporary("the message cannot be handled now, try again later", "4.3.0")
INTERNAL_ERROR = Reply.temporary("internal error, the message is kept by its sender", "4.3.0")


class Service:
    """The work behind the callbacks. ``snapshot`` is swapped whole by ``reload``."""

    def __init__(
        self,
        snapshot: Snapshot,
        audit: AuditWriter,
        clock: Callable[[], datetime],
        counted: Counted,
        tickets: live.Tickets,
    ) -> None:
        self.snapshot = snapshot
        self._tickets = tickets
        self._probes = Probes()
        self._counted = counted
        self._audit = audit
        self._clock = clock
        for check in peer.idle(snapshot.settings):
            tell(log, logging.WARNING, "check-idle", missing=check)
        settings = snapshot.settings.milter
        self._work = Threads(settings.threads, "work")
        self._waiting = ThreadPoolExecutor(settings.lookup_threads, thread_name_prefix="lookup")

    def new_spool(self) -> Spool:
        """A spool for one message's body."""
        settings = self.snapshot.settings.milter
        return Spool(settings.spool_threshold, settings.spool)

    def expect(self, side: str, recipient: Recipient) -> None:
        """Warm the cache for a recipient's domain; fire and forget."""
        snapshot = self.snapshot
        if side in OUTGOING and not is_internal(recipient, snapshot):
            snapshot.compliance.warm(recipient.domain)
            if snapshot.certificates.asks:
                self._waiting.submit(snapshot.certificates.find, recipient.address, self._clock())

    @property
    def unasked(self) -> str:
        """Why Postfix would not show us the content of outgoing mail; in shadow mode nobody asks."""
        proof = self.snapshot.routing.known  # a callback proves nothing itself
        return proof.unasked if proof and self.snapshot.settings.mode != "shadow" else ""

    def submit(self, submission: Submission) -> Job:
        """Begin the work on a message; its stream ends with the Outcome, whatever happens."""
        job = Job(submission, self.snapshot, self._clock())
        self._step(self._work, job, self._begin)
        return job

    def _step(self, threads: Threads | Executor, job: Job, step: Callable[[Job], None]) -> None:
        """Do the next step on the threads it belongs to; whatever fails there ends the job."""

        def guarded() -> None:
            try:
                step(job)
            except NtaMilterError as error:
                job.log(logging.WARNING, "refused", error=str(error))
                self._end(job, Outcome(reply=_reply(error)))
            except BaseException:  # noqa: BLE001 - whatever it is, a panic of a library too, the mail waits
                try:
                    tell_crash(log, "internal-error", job.submission.queue_id)
                finally:
                    self._end(job, Outcome(reply=INTERNAL_ERROR))

        try:
            threads.submit(guarded)
        except RuntimeError:
            self._end(job, Outcome(reply=STOPPING))

    def _end(self, job: Job, outcome: Outcome) -> None:
        """Give the outcome to the waiting callback; in shadow mode nothing is changed or refused."""
        try:
            self._counted.ended(job.submission.client.side, outcome, time.monotonic() - job.began)
        finally:
            job.stream.end(UNTOUCHED if job.snapshot.settings.mode == "shadow" else outcome)

    def _record(self, job: Job, outcome: Outcome, records: Iterable[AuditRecord]) -> None:
        """Make a long body and write the audit records while Postfix takes the changes.

        ``_end`` says whether the message may go.
        """
        records = tuple(records)
        if outcome.reply is None and (records or isinstance(outcome.body, LongBody)):
            self._early(job, outcome)
        if records:
            self._audit.write(*records)

    def _early(self, job: Job, outcome: Outcome) -> None:
        """Let Postfix take the changes before the work has ended, a long body while it is made."""
        if job.stream.begun:
            return
        if job.snapshot.settings.mode == "shadow":
            outcome = UNTOUCHED
        if isinstance(outcome.body, LongBody):
            job.stream.begin(dataclasses.replace(outcome, body=None))
            outcome.body.write(job.stream.write)
        else:
            job.stream.begin(outcome)

    def _begin(self, job: Job) -> None:
        side = job.submission.client.side
        if (seen := self._probes.take(job.submission.message, job.submission.client)) is not None:
            job.stream.end(seen)
        elif side == live.SIDE:
            job.stream.end(self._probed(job.submission.message))
        elif job.snapshot.listener(side) is None:
            job.log(logging.ERROR, "listener-unmarked", side=side or "none")
            self._end(job, Outcome(reply=UNMARKED))
        elif fault := refusal(job.submission.message, job.submission.client, job.snapshot):
            job.log(logging.WARNING, "connector-refused", reason=fault)
            # in shadow mode too: it is not about the content, but about who may send through us at all
            job.stream.end(Outcome(reply=Reply.permanent(f"not taken from here: {fault}")))
        elif side in OUTGOING or is_outgoing(job.submission.message, job.submission.client, job.snapshot):
            self._inspect(job)
        else:
            job.checks = peer.wanted(job.snapshot.settings.peer, side)
            if job.checks.keys() & peer.ASKING:
                self._step(self._waiting, job, self._ask)
            else:
                self._receive(job)

    def _probed(self, message: Message) -> Outcome:
        """A probe of our own gets the route that the tables refuse; nothing else is taken there."""
        if all(self._tickets.knows(recipient.address) for recipient in message.recipients):
            return Outcome(headers=message.headers.add(ROUTE_HEADER, live.ROUTE))
        return Outcome(reply=NO_PROBE)

    def _inspect(self, job: Job) -> None:
        message = job.submission.message
        job.inspection = inspect(message, job.submission.client, job.snapshot)
        known = job.snapshot.compliance.at_hand(job.inspection.domains, job.at)
        if known is None or (known and job.snapshot.certificates.asks):
            self._step(self._waiting, job, self._look_up)
        else:
            job.reports = known
            self._finish(job)

    def _look_up(self, job: Job) -> None:
        assert job.inspection is not None
        deadline = job.snapshot.settings.dns.deadline
        until = time.monotonic() + deadline
        job.reports = job.snapshot.compliance.reports(job.inspection.domains, job.at, deadline)
        if job.snapshot.certificates.asks:
            # Found again by the plan, which must not wait for DNS.
            for addressee in job.inspection.addressees:
                if addressee.sensitivity.value and not addressee.internal:
                    if time.monotonic() > until:
                        raise LookupUnavailable("certificates could not be looked up in time, try again")
                    job.snapshot.certificates.find(addressee.recipient.address, job.at)
        self._step(self._work, job, self._finish)

    def _finish(self, job: Job) -> None:
        assert job.inspection is not None
        routing = job.snapshot.routing.current() if job.inspection.needs_route else None
        made = plan(job.inspection, job.reports, job.submission.client, job.snapshot, routing, job.at)
        self._counted.decided(made, job.reports)
        if (reduced := self._reduced(job, made)) is not None:
            self._end(job, reduced)
            return
        shadow = job.snapshot.settings.mode == "shadow"
        outcome = UNTOUCHED if shadow else self._carry_out(job, made)
        kept = job.inspection.sensitive or made.exempted or made.combined.route is not Route.PASS
        self._record(job, outcome, records_of(job, made) if kept else ())
        job.log(
            logging.INFO,
            "outgoing",
            route=routes_of(made),
            sensitive=made.sensitivity or "no",
            reasons=made.combined.text,
        )
        self._end(job, outcome)

    def _reduced(self, job: Job, made: Plan) -> Outcome | None:
        """A report about a secure message, which nobody could keep, goes without what it quotes."""
        refused = made.combined.route is Route.REJECT and not made.combined.apart
        if not refused or job.submission.message.sender:
            return None
        message = job.submission.message
        headers = smime.secured(message, job.snapshot)
        outcome = automatic.reduced(made.inspection.part, message.body, headers)
        if outcome is not None:
            self._audit.write(job.record(Event.SENT, Route.PASS.value, (REDUCED,)))
            job.log(logging.INFO, "outgoing", route="pass", sensitive=made.sensitivity, reasons=REDUCED.text)
        return outcome

    def _carry_out(self, job: Job, made: Plan) -> Outcome:
        message = job.submission.message
        if made.combined.apart:
            return self._apart(job, made)
        match made.combined.route:
            case Route.PASS if made.combined.pinned:
                return pin_inside(message, job.snapshot)
            case Route.PASS:
                return untouched(message, job.snapshot)
            case Route.DANE if not made.inspection.sensitive:
                return over_dane(message, route_value(made.destinations[0]), job.snapshot)
            case Route.SMIME:
                return smime.rewrite(made, job.snapshot, job.at)
            case Route.PORTAL:
                return self._deposit(job, made)
            case Route.REJECT:
                return Outcome(reply=Reply.permanent(made.explanation))
            case _:
                return Outcome(reply=Reply.temporary(made.explanation))

    def _apart(self, job: Job, made: Plan) -> Outcome:
        """Store the copies; they go when Postfix has told the worker that it queued the message."""
        submission = job.submission
        stored = copies(made, job.snapshot, job.at)
        commit = job.outbox().prepare(submission.message, stored, submission.queue_id, job.at)
        removed = tuple(copy.recipient.address for copy in stored)
        if len(removed) < len(made.destinations):
            return dataclasses.replace(
                untouched(submission.message, job.snapshot), removed=removed, added=commit
            )
        return Outcome(
            headers=outer_fields(submission.message.headers), body=STUB_BODY, removed=removed, added=commit
        )

    def _deposit(self, job: Job, made: Plan) -> Outcome:
        """Store the message for its one recipient while Postfix takes the notification in its place."""
        (copy,) = copies(made, job.snapshot, job.at)
        message, queue_id = job.submission.message, job.submission.queue_id
        deposit = job.outbox().deposit(
            message, copy, queue_id, job.at, lambda deposit: self._early(job, _notifying(deposit))
        )
        return _notifying(deposit)

    def _ask(self, job: Job) -> None:
        """Learn from DNS what the checks of a mail's sender need."""
        submission = job.submission
        job.evidence = peer.look_up(submission.message, submission.client, job.checks, job.snapshot, job.at)
        self._step(self._work, job, self._receive)

    def _receive(self, job: Job) -> None:
        message, client = job.submission.message, job.submission.client
        judged = peer.judge(message, client, job.checks, job.evidence, job.snapshot.settings)
        records = [peer_record(job, judged)] if judged.results else []
        if judged.reply is not None:
            self._audit.write(*records)
            job.log(logging.INFO, "peer-refused", reply=judged.reply.text)
            self._end(job, Outcome(reply=judged.reply))
            return
        received = receive(message, job.snapshot, job.at, judged.results)
        if received.mark:
            event = Event.VERIFIED if received.verified else Event.NOT_OPENED
            event = Event.OPENED if received.opened else event
            causes = (received.mark, *received.causes)
            records.append(job.record(event, "pass", tuple(Reason("result", cause) for cause in causes)))
        offer = received.offer
        if offer is not None and offer.entry is not None and offer.outcome in HARVESTED:
            subject = Reason("certificate", f"{offer.entry.certificate.subject}: {offer.reason}")
            records.append(job.record(HARVESTED[offer.outcome], "pass", (subject,)))
        outcome = self._reportable(job, received.outcome) if received.opened else received.outcome
        self._record(job, outcome, records)
        job.log(
            logging.INFO,
            "incoming",
            mark=received.mark or "none",
            peer="; ".join(f"{result.method}={result.value}" for result in judged.results) or "none",
            causes="; ".join(received.causes),
            **({"unproven": job.evidence.believed.doubt} if job.evidence.believed.doubt else {}),
            **({} if offer is None else {"certificate": f"{offer.outcome.value}: {offer.reason}"}),
        )
        self._end(job, outcome)

    def _reportable(self, job: Job, opened: Outcome) -> Outcome:
        """Mail that was opened, from an address of ours: its sender shall hear what became of it.

        Without a store, or while it cannot be used, reports stay with our postmaster.
        """
        message = job.submission.message
        if job.snapshot.store is None or not message.sender:
            return opened
        try:
            sender = job.outbox().opened(message, job.submission.queue_id, job.at)
            return dataclasses.replace(opened, sender=sender)
        except StoreUnavailable as error:
            job.log(logging.WARNING, "reports-to-postmaster", error=str(error))
            return opened

    def control(self, command: str, domain: str) -> dict[str, object]:
        """What the control socket tells (``nta-milter cache``)."""
        compliance = self.snapshot.compliance
        if command == "flush":
            return {"domain": domain, "held": compliance.flush(domain)}
        if command != "show":
            return self._probes.control(command, domain)
        known = compliance.peek(domain, self._clock())
        if known is None:
            return {"domain": domain, "held": False}
        report, seconds = known
        return {"domain": domain, "held": True, "seconds": int(seconds), "report": to_json(report)}

    def failed(self, queue_id: str, error: NtaMilterError) -> Outcome:
        """The answer to a fault that was met while the message came in."""
        self._work.submit(partial(tell, log, logging.WARNING, "refused", queue_id, error=error))
        return self._unseen(Outcome(reply=_reply(error)))

    def crashed(self, queue_id: str) -> Outcome:
        """The answer to a fault of our own, seen in a callback; logged on a thread of ours."""
        line = f"{queue_id}: event=internal-error"
        self._work.submit(partial(log.error, "%s", line, exc_info=sys.exc_info()))
        return self._unseen(Outcome(reply=INTERNAL_ERROR))

    def _unseen(self, outcome: Outcome) -> Outcome:
        """Count an outcome that was found in a callback, not on the work threads."""
        self._counted.ended("", outcome)
        return outcome

    def close(self) -> None:
        """End the threads when their work is done."""
        self._waiting.shutdown()
        self._work.close()
        self._audit.close()


def _notifying(deposit: Deposit) -> Outcome:
    return Outcome(
        headers=deposit.notification.headers,
        body=deposit.notification.body,
        sender=deposit.sender,
        sender_arguments=deposit.sender_arguments,
        added=deposit.commit,
    )


def _reply(error: NtaMilterError) -> Reply:
    """What cannot change is 5xx, what time may cure 4xx; which file or server fails is for the log alone."""
    if isinstance(error, MessageError):
        return Reply.permanent(error.message, "5.6.0")
    if isinstance(error, CertificateError):
        return Reply.temporary(str(error))
    return Reply.permanent(str(error)) if isinstance(error, PermanentError) else BUSY
