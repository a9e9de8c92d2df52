"""The libmilter callbacks: they collect bytes, read macros and apply actions, and compute nothing.

Debian's libmilter runs the callbacks of one connection on changing threads, while pymilter keeps one Python
thread state per connection; work that re-enters Python from C there crashes the process. So all work is done
on threads that Python made, and a callback only waits for it.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import Milter

from nta_milter.errors import NtaMilterError, TemporaryError
from nta_milter.milter.actions import apply, reply_text
from nta_milter.milter.job import Job
from nta_milter.milter.service import Service
from nta_milter.milter.session import Session, Submission, listener
from nta_milter.milter.stream import Stream
from nta_milter.policy.client import Client
from nta_milter.policy.outcome import Outcome, Reply

PROGRESS_INTERVAL = 20
"""Seconds after which Postfix is told that work goes on (its patience is milter_content_timeout)."""

log = logging.getLogger(__name__)


@Milter.header_leading_space
class Callbacks(Milter.Base):  # type: ignore[misc]
    """One connection with Postfix; ``service`` is set once, before any connection."""

    service: ClassVar[Service]

    def __init__(self) -> None:
        self.session = Session(self.service.new_spool)

    def negotiate(self, options: list[int]) -> int:
        """Postfix waits for an answer at end of message alone; to the connection too where we refuse it."""
        answer = super().negotiate(options)
        if self.service.unasked:
            self._protocol = options[1] = options[1] & ~Milter.P_NR_CONN
        return int(answer)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def connect(self, hostname: str, family: int, hostaddr: Any) -> int:
        """Remember who connects and on which listener; where we would not see the content, take no mail."""
        self.session.address = hostaddr[0] if isinstance(hostaddr, tuple) else ""
        self.session.side = self.getsymval("{nta_side}") or ""
        self.session.listener = listener(self.getsymval("{daemon_addr}"), self.getsymval("{daemon_port}"))
        if self.session.outgoing and self.service.unasked:
            return int(Milter.TEMPFAIL)
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def hello(self, hostname: str) -> int:
        """Remember the name that the client gives itself; with this step Postfix tells of TLS."""
        self.session.helo = hostname
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    @Milter.decode("bytes")  # type: ignore[untyped-decorator]
    def envfrom(self, sender: bytes, *arguments: bytes) -> int:
        """Begin a transaction."""
        self.session.begin(sender, arguments)
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    @Milter.decode("bytes")  # type: ignore[untyped-decorator]
    def envrcpt(self, recipient: bytes, *arguments: bytes) -> int:
        """Remember a recipient and let its domain be looked up meanwhile."""
        transaction = self.session.transaction
        if transaction is not None:
            self.service.expect(self.session.side, transaction.add_recipient(recipient, arguments))
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    @Milter.decode("bytes")  # type: ignore[untyped-decorator]
    def header(self, name: str, value: bytes) -> int:
        """Collect a header field."""
        if self.session.transaction is not None:
            self.session.transaction.add_header(name.encode("utf-8", "surrogateescape"), value)
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def body(self, chunk: bytes) -> int:
        """Collect a piece of the body; a fault is told at end of message."""
        transaction = self.session.transaction
        if transaction is not None and transaction.failure is None:
            try:
                transaction.spool.write(chunk)
            except NtaMilterError as error:
                transaction.failure = error
        return int(Milter.CONTINUE)

    def eom(self) -> int:
        """Hand the message to the work threads, wait, and carry their outcome out."""
        transaction = self.session.transaction
        if transaction is None:
            return int(Milter.TEMPFAIL)
        queue_id = "-"
        try:
            queue_id = self.getsymval("i") or "-"
            client = Client(
                self.session.side,
                self.session.address,
                self.getsymval("{auth_authen}") or "",
                self.getsymval("{tls_version}") or "",
                self.getsymval("{cipher}") or "",
                self.session.helo,
                self.getsymval("{cert_subject}") or "",
                self.session.listener,
            )
            if transaction.failure is not None:
                outcome = self.service.failed(queue_id, transaction.failure)
            else:
                submission = Submission(client, queue_id, transaction.message())
                outcome = self._carry_out(self.service.submit(submission))
        except NtaMilterError as error:
            outcome = self.service.failed(queue_id, error)
        except Exception:  # noqa: BLE001 - the edge to libmilter: whatever it is, the mail waits
            outcome = self.service.crashed(queue_id)
        finally:
            self.session.discard()
        return self._answer(outcome.reply)

    def abort(self) -> int:
        """The client gave the message up."""
        self.session.discard()
        return int(Milter.CONTINUE)

    def close(self) -> int:
        """The connection ended, perhaps in the middle of a message."""
        self.session.discard()
        return int(Milter.CONTINUE)

    def _carry_out(self, job: Job) -> Outcome:
        """Change the message as the outcome says; a long body is sent as it is made, and its end decides."""
        try:
            outcome = self._next(job.stream)
            if outcome.reply is None:
                apply(self, job.submission.message.headers, outcome)
            return self._next(job.stream) if job.stream.begun else outcome
        except Milter.error as error:
            raise TemporaryError(f"libmilter cannot change the message: {error}") from error
        finally:
            job.stream.leave()

    def _next(self, stream: Stream) -> Outcome:
        """Wait for the next Outcome and send what comes before it."""
        while not isinstance(step := stream.take(PROGRESS_INTERVAL), Outcome):
            for chunk in step:
                self.replacebody(chunk)
            if not step:
                self.progress()
        return step

    def _answer(self, reply: Reply | None) -> int:
        if reply is None:
            return int(Milter.ACCEPT)
        self.setreply(reply.code, reply.status, reply_text(reply.text))
        return int(Milter.TEMPFAIL if reply.code.startswith("4") else Milter.REJECT)
