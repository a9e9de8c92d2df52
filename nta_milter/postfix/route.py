"""The internal header ``X-Nta-Route`` and what Postfix's tables make of it.

The tables in packaging/postfix turn the header into a FILTER action (header_checks(5)): to the
mandatory-DANE transport ``nta`` or to the pinned next hop inside, ``nta-inside``. The header is removed
before a message leaves, and every copy that arrives from outside is removed before we look at the mail.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nta_milter.errors import PermanentError

ROUTE_HEADER = "X-Nta-Route"
GUARD_HEADER = "X-Nta-Guard"
RESERVED_PREFIX = b"x-nta-"
"""Header fields that begin so are ours alone; copies from outside are forged and removed."""

OUTGOING = frozenset(("outbound", "connector"))
"""The side markers (nta_side) of listeners that our own users' mail comes in by."""

MX = "mx"
"""By the ordinary MX hosts of a domain whose record names no ntamx, over mandatory DANE all the same."""

INSIDE = "inside"
"""By the pinned next hop inside, which neither aliases nor .forward can turn outside."""

HOST_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""Just the names that nta_route lets through; any other name is fatal in smtp(8) and stops the transport."""


def to_hosts(hosts: Sequence[str]) -> str:
    """The header's value for hosts in order of preference; no hosts means the domain's own MX.

    Raises PermanentError for a name that the tables would refuse.
    """
    if not hosts:
        return MX
    for host in hosts:
        if len(host) > 253 or not HOST_NAME.fullmatch(host):
            raise PermanentError("not a host name that mail can be routed to", where=ascii(host))
    return ", ".join(f"[{host}]" for host in hosts)
