"""What a mail to one of our bounce addresses says (RFC 3464): a status, and nothing else is believed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nta_milter.errors import MessageError
from nta_milter.message.headers import Headers, split
from nta_milter.message.mime import parse

SIZE_LIMIT = 1_000_000
"""Bytes of a report that are looked at."""

_TYPES = ("message/delivery-status", "message/global-delivery-status")
_STATUS = re.compile(rb"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9])")


@dataclass(frozen=True, slots=True)
class Bounce:
    """One recipient's status: ``action`` is failed, delayed, delivered, relayed or expanded.

    ``recipient`` is the address as the report has it, in lower case, or empty; it chooses among ours alone.
    """

    action: str
    status: str
    recipient: str = ""


def read_bounce(content: bytes) -> Bounce | None:
    """The worst status of a report; None for what is no report, such as an automatic answer."""
    return min(read_bounces(content), key=lambda bounce: bounce.action != "failed", default=None)


def read_bounces(content: bytes) -> tuple[Bounce, ...]:
    """The status of each recipient that a report names; none for what is no report."""
    content = content[:SIZE_LIMIT]
    try:
        headers, start = split(content)
        body = content[start:]
        top = parse(headers, body, part_limit=100, depth_limit=10)
    except MessageError:
        return ()
    return tuple(
        bounce
        for part in top.walk()
        if part.content_type in _TYPES
        for bounce in _recipients(part.decoded(body))
    )


def _recipients(status: bytes) -> list[Bounce]:
    """The groups of fields after the first, which is about the message as a whole."""
    found: list[Bounce] = []
    position = 0
    while position < len(status) and len(found) < 100:
        try:
            fields, length = split(status[position:])
        except MessageError:
            break
        if not length:
            break
        position += length
        bounce = _bounce(fields)
        if bounce is not None:
            found.append(bounce)
    return found


def _bounce(fields: Headers) -> Bounce | None:
    action = (fields.first("Action") or b"").lower().strip()
    status = _STATUS.match(fields.first("Status") or b"")
    if action not in (b"failed", b"delayed", b"delivered", b"relayed", b"expanded") or status is None:
        return None
    recipient = (fields.first("Final-Recipient") or b"").partition(b";")[2].strip().lower()
    return Bounce(action.decode("ascii"), status[0].decode("ascii"), recipient.decode("utf-8", "replace"))
