"""What DNS said: PRESENT, ABSENT or UNKNOWN. UNKNOWN is never treated as ABSENT."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Presence(Enum):
    """The three values of a look-up."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """One look-up's answer.

    ``records`` are the RDATA in a form of plain Python values: TXT as the joined ``bytes`` of one RR,
    MX as ``(preference, "host")``, A and AAAA as ``"address"``, TLSA and SMIMEA as
    ``(usage, selector, matching_type, data)``, CNAME as ``"host"``, other types in presentation form.
    Host names are lower case without a trailing dot (the root is ``""``). ``secure`` is the AD bit of a
    resolver whose word we take (RFC 4035 section 3.2.3). ``ttl`` is in seconds. ``canonical`` is the name
    after CNAMEs, in the same form. ``reason`` says why an answer is UNKNOWN. ``rcode`` is the response's
    RCODE by its name (RFC 1035 section 4.1.1), empty when nothing usable came back.
    """

    presence: Presence
    secure: bool
    ttl: int
    records: tuple[object, ...] = ()
    canonical: str = ""
    reason: str = ""
    rcode: str = ""


class Resolver(Protocol):
    """Whoever answers look-ups; it never raises for what DNS does."""

    def query(self, name: str, rdtype: str) -> Answer:
        """Ask for the records of one type at ``name`` (an A-label host name, no trailing dot)."""
        ...
