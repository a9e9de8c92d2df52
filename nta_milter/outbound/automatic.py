"""A report that a program writes about a message, reduced to the parts that a program reads.

A receipt (MDN, RFC 8098) or a report of delivery (DSN, RFC 3464) about a secure message quotes its Subject
and more, and has no envelope sender, so that it cannot be stored or held for anybody. Which message it is
about, and what became of that, tells nothing of its content.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

from nta_milter.errors import LimitExceeded
from nta_milter.message.headers import Headers, split
from nta_milter.message.mime import Part
from nta_milter.message.model import Buffer
from nta_milter.outbound.smime import outer_fields
from nta_milter.policy.outcome import Outcome

RECEIPT = ("Original-Recipient", "Final-Recipient", "Original-Message-ID", "Disposition")
STATUS = (
    *("Original-Envelope-Id", "Reporting-MTA", "Arrival-Date"),
    *("Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA"),
    *("Last-Attempt-Date", "Will-Retry-Until"),
)
KEPT = {
    "disposition-notification": ("message/disposition-notification", RECEIPT),
    "delivery-status": ("message/delivery-status", STATUS),
}
"""By report-type: the type of the part that programs read, and the fields of it that stay."""

SUBJECT = "Automatische melding / Automatic notice"
TEXT = (
    "Dit is een automatische melding over een bericht, met alleen wat een programma ervan leest.\r\n"
    "This is an automatic notice about a message, with only what a program reads of it.\r\n"
)
GROUP_LIMIT = 100
"""Most groups of fields (recipients) that are kept."""

_VALUE = re.compile(rb"[ -~]{1,500}")
_BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")


def reduced(part: Part, body: Buffer, secured: Headers) -> Outcome | None:
    """The message as a report without content; None when it is no such report.

    ``secured`` are its fields as those of a secure message, ``part`` is what ``parse`` made of it.
    """
    kind = KEPT.get(part.parameters.get("report-type", "").lower())
    if part.content_type != "multipart/report" or kind is None:
        return None
    content_type, names = kind
    found = [each for each in part.children if each.content_type == content_type]
    groups = list(_groups(found[0], body, names)) if len(found) == 1 else []
    if not groups:
        return None
    boundary = f"=_{secrets.token_hex(16)}"
    subtype = content_type.partition("/")[2]
    headers = outer_fields(secured).without(("Auto-Submitted",))
    headers = (
        headers.add("Subject", SUBJECT)
        .add("Auto-Submitted", "auto-replied")
        .add("MIME-Version", "1.0")
        .add("Content-Type", f'multipart/report; report-type={subtype};\r\n\tboundary="{boundary}"')
    )
    parts = (
        b"--%b\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n%b"
        b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n--%b--\r\n"
    )
    edge = boundary.encode()
    told = b"\r\n".join(groups)
    content = parts % (edge, TEXT.encode(), edge, content_type.encode(), told, edge)
    return Outcome(headers=headers, body=content)


def _groups(part: Part, body: Buffer, names: tuple[str, ...]) -> Iterator[bytes]:
    """The fields that stay of each group, which a blank line ends; folds and odd values go."""
    for group in _BLANK_LINE.split(part.decoded(body).strip())[:GROUP_LIMIT]:
        try:
            fields = split(group.strip() + b"\r\n")[0]
        except LimitExceeded:
            continue
        kept = Headers(tuple(field for field in fields.only(names) if _VALUE.fullmatch(field.raw.strip())))
        if kept:
            yield bytes(kept)
