"""TLSA and SMIMEA records out of an answer as they are, sound or not.

New releases of dnspython refuse a whole answer for one record whose digest has the wrong length, where a
mail server passes over that record and uses the next (RFC 6698 section 4.1), so these types are read here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dns.name
import dns.rdatatype

TYPES = {"TLSA": int(dns.rdatatype.TLSA), "SMIMEA": int(dns.rdatatype.SMIMEA)}

_HEADER = struct.Struct("!HHIH")
_MISSING = b"\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Association:
    """One record: owner, TTL in seconds, and (usage, selector, matching type, data)."""

    owner: dns.name.Name
    ttl: int
    values: tuple[int, int, int, bytes]


def associations(answer: bytes, rdtype: str) -> list[Association]:
    """Every record of one of TYPES in the answer section (RFC 1035 section 4.1, RFC 6698 section 2.1).

    What is cut short has 255 for the values that are missing. Raises DNSException or ValueError for
    what is no DNS message.
    """
    found = []
    try:
        questions, answers = struct.unpack_from("!HH", answer, 4)
        at = 12
        for _ in range(questions):
            at += dns.name.from_wire(answer, at)[1] + 4
        for _ in range(answers):
            owner, length = dns.name.from_wire(answer, at)
            at += length
            kind, _, ttl, size = _HEADER.unpack_from(answer, at)
            at += _HEADER.size
            data = answer[at : at + size]
            if len(data) < size:
                raise ValueError("a record goes beyond the end")
            at += size
            if kind == TYPES[rdtype]:
                usage, selector, matching = (data[:3] + _MISSING)[:3]
                found.append(Association(owner, ttl, (usage, selector, matching, data[3:])))
    except struct.error as error:
        raise ValueError("the message is cut short") from error
    return found
