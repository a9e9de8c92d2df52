"""The outcome PASS: the message goes on as it is, or by the pinned next hop inside."""

from __future__ import annotations

from nta_milter.message.headers import Headers
from nta_milter.message.model import Message
from nta_milter.outbound.smime import agreed, headers_only, secured
from nta_milter.policy.outcome import UNTOUCHED, Outcome
from nta_milter.policy.reserved import without_reserved
from nta_milter.policy.sensitivity import without_tags
from nta_milter.policy.snapshot import Snapshot
from nta_milter.postfix.route import INSIDE, ROUTE_HEADER


def untouched(message: Message, snapshot: Snapshot) -> Outcome:
    """Only our reserved fields and the sender's tags go; where there are none, nothing is changed at all."""
    headers = ordinary(message, snapshot)
    return UNTOUCHED if headers is message.headers else Outcome(headers=headers)


def ordinary(message: Message, snapshot: Snapshot) -> Headers:
    """The fields without reserved ones and tags; the very same object where there are none."""
    headers = without_reserved(message.headers, snapshot.authserv_id, snapshot.reserved)
    return without_tags(headers, snapshot.sensitivity)


def over_dane(message: Message, route: str, snapshot: Snapshot) -> Outcome:
    """Mail that is not sensitive takes the mandatory-DANE transport as it is, to the hosts in ``route``."""
    headers = agreed(ordinary(message, snapshot), snapshot)
    return Outcome(headers=headers.add(ROUTE_HEADER, route))


def pin_inside(message: Message, snapshot: Snapshot) -> Outcome:
    """A sensitive message inside takes the protected hop, and a report about it quotes no body."""
    headers = secured(message, snapshot).add(ROUTE_HEADER, INSIDE)
    return Outcome(headers=headers, sender=message.sender, sender_arguments=headers_only(message))
