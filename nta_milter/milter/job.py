"""One message under way, from the end of its data to its answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.compliance.report import ComplianceReport, Reason
from nta_milter.inbound import peer
from nta_milter.message.model import Message
from nta_milter.milter.session import Submission
from nta_milter.milter.stream import Stream
from nta_milter.monitor.log import tell
from nta_milter.outbound.inspect import Inspection
from nta_milter.outbox.queue import Outbox
from nta_milter.policy.snapshot import Snapshot

log = logging.getLogger(__name__)

MESSAGE_ID_LIMIT = 300
"""Longest Message-ID that is recorded, in characters; a client chooses it."""


@dataclass(slots=True)
class Job:
    """One message under way, with the snapshot and the moment it began with."""

    submission: Submission
    snapshot: Snapshot
    at: datetime
    began: float = field(default_factory=time.monotonic)
    stream: Stream = field(default_factory=Stream)
    inspection: Inspection | None = None
    reports: Mapping[str, ComplianceReport] = field(default_factory=dict)
    checks: Mapping[str, peer.Mode] = field(default_factory=dict)
    evidence: peer.Evidence = peer.NO_EVIDENCE

    def log(self, level: int, event: str, **values: str) -> None:
        """One line: the queue id first, then key=value; never message content."""
        tell(log, level, event, self.submission.queue_id, **values)

    def record(
        self, event: Event, route: str, reasons: tuple[Reason, ...], recipients: tuple[str, ...] = ()
    ) -> AuditRecord:
        """The audit record of this message, for all its recipients or for some."""
        message = self.submission.message
        return AuditRecord(
            self.at,
            event,
            self.submission.queue_id,
            message.sender,
            recipients or tuple(recipient.address for recipient in message.recipients),
            route,
            tuple(reason.text for reason in reasons),
            message_id(message),
        )

    def outbox(self) -> Outbox:
        """The outbox of the snapshot's store; a plan asks for it only where there is one."""
        assert self.snapshot.store is not None
        return Outbox(self.snapshot.store, self.snapshot.settings)


def message_id(message: Message) -> dict[str, str]:
    """The Message-ID as a detail of the record, by which a message is found; nothing where there is none."""
    field = message.headers.first("Message-ID") or b""
    text = field.strip().decode("ascii", "replace")[:MESSAGE_ID_LIMIT]
    return {"message_id": text} if text and text.isprintable() else {}
