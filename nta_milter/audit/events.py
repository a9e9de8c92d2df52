"""The closed list of events and one event's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Event(Enum):
    """What can be recorded; a new event is added here or it does not exist."""

    SENT = "sent"
    REFUSED = "refused"
    DEFERRED = "deferred"
    PASSED_INSIDE = "passed-inside"
    EXEMPTED = "exempted"
    OPENED = "opened"
    NOT_OPENED = "not-opened"
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One event: when (UTC), Postfix's queue id, who to whom, by which route, and why.

    It never holds a subject, a text or a file name.
    """

    at: datetime
    event: Event
    queue_id: str
    sender: str
    recipients: tuple[str, ...]
    route: str
    reasons: tuple[str, ...]
    details: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> bytes:
        """The record as one line of JSON, newline included."""
        fields: dict[str, object] = {
            "at": self.at.isoformat(timespec="milliseconds"),
            "event": self.event.value,
            "queue_id": self.queue_id,
            "sender": self.sender,
            "recipients": self.recipients,
            "route": self.route,
            "reasons": self.reasons,
        }
        if self.details:
            fields["details"] = dict(self.details)
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"
