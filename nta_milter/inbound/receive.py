"""One message that arrives: forged marks die, what can be opened is opened, the result is marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nta_milter.inbound.harvest import harvest, note_lists
from nta_milter.inbound.mark import NOT_OPENED, result, verdict
from nta_milter.inbound.result import RESULT_HEADER, Result, field_value
from nta_milter.message.headers import VALUE_LIMIT, Headers
from nta_milter.message.model import Message
from nta_milter.policy.marks import with_thread_mark
from nta_milter.policy.outcome import UNTOUCHED, Outcome
from nta_milter.policy.reserved import without_reserved
from nta_milter.policy.snapshot import Snapshot
from nta_milter.postfix.route import INSIDE, ROUTE_HEADER
from nta_milter.smime.harvest import Offer
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.open import Opened, open_message

RING_LIMIT = 10
"""Most different sets of keys that one message is tried with, since each try is a private-key operation."""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of it: the outcome, the mark, and the causes for the administrator alone.

    ``offer`` tells what became of the sender's certificate, where such are kept.
    """

    outcome: Outcome
    mark: str
    causes: tuple[str, ...] = ()
    opened: bool = False
    verified: bool = False
    offer: Offer | None = None


def receive(message: Message, snapshot: Snapshot, at: datetime, results: Sequence[Result] = ()) -> Received:
    """Open a message for its envelope recipients; whatever fails, the mail goes on with its body untouched.

    A key opens only for recipients it is bound to, and one body serves all recipients of a transaction: so
    it is opened only when every recipient could have opened it. ``results`` are those about its sender, told
    in the same header field.
    """
    own_id = snapshot.authserv_id
    clean = without_reserved(message.headers, own_id, snapshot.reserved)
    opened = _open_for_all(message, clean, snapshot, at)
    if opened.error is not None:
        return _unopened(clean, own_id, results, f"{type(opened.error).__name__}: {opened.error}")
    if opened.entity is None:
        if results:
            return Received(Outcome(headers=_marked(clean, own_id, "", results)), "")
        return Received(UNTOUCHED if clean is message.headers else Outcome(headers=clean), "")
    mark = result(opened)
    verified = any(verdict(layer) == "pass" for layer in opened.signatures)
    offer = harvest(opened, clean, snapshot, at)
    note_lists(opened, snapshot)
    if not opened.encrypted:
        outcome = _readable(opened, clean, own_id, mark, results)
        return Received(outcome, mark, verified=verified, offer=offer)
    fault = snapshot.hop_fault(snapshot.routing.current()) or _too_long(opened)
    if fault:
        return _unopened(clean, own_id, results, f"next hop: {fault}")
    headers = with_thread_mark(_around(opened), snapshot.settings.internal.domains[0])
    outcome = Outcome(
        headers=_marked(headers, own_id, mark, results).add(ROUTE_HEADER, INSIDE),
        body=opened.entity.body,
        sender=snapshot.bounce_address,
        sender_arguments="RET=HDRS",
    )
    return Received(outcome, mark, opened=True, verified=verified, offer=offer)


def _open_for_all(message: Message, clean: Headers, snapshot: Snapshot, at: datetime) -> Opened:
    """Open with a key that every recipient is bound to, else only if each one's own keys open it."""
    rings: dict[tuple[int, ...], KeyRing] = {}
    common = snapshot.keys
    for recipient in message.recipients:
        ring = snapshot.keys.bound_to([recipient.address])
        common = common.bound_to([recipient.address])
        rings[tuple(map(id, ring.keys))] = ring

    def open_with(keys: KeyRing) -> Opened:
        limit = snapshot.settings.smime.layer_limit
        return open_message(clean, message.body, keys, snapshot.trust, at=at, layer_limit=limit)

    opened = open_with(common)
    if opened.opened or len(rings) == 1 or len(rings) > RING_LIMIT:
        return opened
    for ring in rings.values():
        opened = open_with(ring)
        if not opened.opened:
            return opened
    return opened


def _unopened(clean: Headers, own_id: str, results: Sequence[Result], cause: str) -> Received:
    headers = _marked(clean, own_id, NOT_OPENED, results)
    return Received(Outcome(headers=headers), NOT_OPENED, causes=(cause,))


def _readable(opened: Opened, clean: Headers, own_id: str, mark: str, results: Sequence[Result]) -> Outcome:
    """A message that was only signed or compressed: without its wrapper, if it has one (decision 025)."""
    if not opened.wrapped or _too_long(opened):
        return Outcome(headers=_marked(clean, own_id, mark, results))
    assert opened.entity is not None
    return Outcome(headers=_marked(_around(opened), own_id, mark, results), body=opened.entity.body)


def _around(opened: Opened) -> Headers:
    """The header fields for what was inside: the message's own, and those of the new body."""
    entity = opened.entity.headers if opened.entity is not None else Headers()
    headers = Headers((*opened.headers, *entity)).without(("MIME-Version",))
    return headers.add("MIME-Version", "1.0")


def _marked(headers: Headers, own_id: str, mark: str, results: Sequence[Result]) -> Headers:
    """The fields with one more that tells every result."""
    told = ([mark] if mark else []) + [str(each) for each in results]
    return headers.add(RESULT_HEADER, field_value(own_id, told))


def _too_long(opened: Opened) -> str:
    """Why a field from inside cannot stand outside: libmilter would refuse it, and the mail be lost."""
    entity = opened.entity.headers if opened.entity is not None else ()
    for field in (*opened.headers, *entity):
        # what is not ASCII may be encoded, which makes it up to four times as long
        if len(field.name) + len(field.raw) * (1 if field.raw.isascii() else 4) > VALUE_LIMIT:
            return f"takes no header field of more than {VALUE_LIMIT} octets"
    return ""
