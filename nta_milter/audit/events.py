"""The closed list of events and one event's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum


class Event(Enum):
    """What can be recorded; a new event is added here or it does not exist (NTA 7516, 6.4.2)."""

    # Sending
    SENT = "sent"
    REFUSED = "refused"
    DEFERRED = "deferred"
    PASSED_INSIDE = "passed-inside"
    EXEMPTED = "exempted"
    PREPARED = "prepared"
    """Stored; it goes when Postfix has said that it queued the message."""
    DEPOSITED = "deposited"
    """Stored for the portal, its notification in place of the message."""
    RELEASED = "released"
    ABANDONED = "abandoned"
    """Postfix never queued it: nothing was sent."""
    DECIDED = "decided"
    """A recipient whose domain could not be looked up before has a route now."""
    SUBMITTED = "submitted"
    """A copy was handed to Postfix."""
    NOTIFIED = "notified"
    """A notification or reminder was handed to Postfix."""
    HELD = "held"
    """The sender was asked for a second factor."""
    REPORTED = "reported"
    """The sender was told what became of a message."""
    SHUNTED = "shunted"
    """Our own Postfix refused it too often: somebody must look."""
    UNDELIVERABLE = "undeliverable"

    # Changing and ending what was sent
    RECALLED = "recalled"
    EXTENDED = "extended"
    RESENT = "resent"
    EXPIRED = "expired"
    SHREDDED = "shredded"

    # Receiving
    PEER_JUDGED = "peer-judged"
    """What was found of the host and the domain that a mail comes from."""
    OPENED = "opened"
    NOT_OPENED = "not-opened"
    VERIFIED = "verified"

    # What a recipient does in the portal
    PORTAL_OPENED = "portal-opened"
    READ = "read"
    DOWNLOADED = "downloaded"
    REPLIED = "replied"
    FORWARDED = "forwarded"
    DELETED = "deleted"

    # Who may open what
    CODE_SENT = "code-sent"
    CODE_REFUSED = "code-refused"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    FACTOR_SET = "factor-set"
    FACTOR_REMOVED = "factor-removed"
    KEY_MADE = "key-made"
    KEY_IMPORTED = "key-imported"
    CERTIFICATE_SET = "certificate-set"
    """A recipient's certificate was kept from signed mail, added or accepted."""
    CERTIFICATE_PENDING = "certificate-pending"
    """A sender signs with another key than the kept one: an administrator decides."""
    CERTIFICATE_REMOVED = "certificate-removed"

    # The record itself
    PRUNED = "pruned"
    """Old records of a chain were removed."""


def moment(at: datetime) -> str:
    """A moment as records have it: ISO 8601 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


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
            "at": moment(self.at),
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
