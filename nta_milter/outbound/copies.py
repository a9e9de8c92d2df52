"""The outcome "apart": what each recipient gets who needs a copy of his own.

Recipients who may share one ciphertext share one; everybody else, hidden and portal recipients above all,
gets his own. Nothing is sent here: the copies are stored, and go when Postfix has queued the message.
"""

from __future__ import annotations

from datetime import datetime

from nta_milter.message.model import Entity
from nta_milter.outbound.plan import Destination, Plan, group, in_sight, route_value
from nta_milter.outbound.readable import ordinary
from nta_milter.outbound.smime import agreed, seal, secured
from nta_milter.outbox.queue import Copy
from nta_milter.policy.route import Route
from nta_milter.policy.snapshot import Snapshot
from nta_milter.postfix.route import INSIDE


def stays(destination: Destination) -> bool:
    """Whether a recipient remains in the transaction: he gets the message as it is, by the ordinary way."""
    return destination.decision.route is Route.PASS and not destination.decision.pinned


def copies(plan: Plan, snapshot: Snapshot, at: datetime) -> tuple[Copy, ...]:
    """A copy for each recipient who does not stay in the transaction, in their order.

    Raises:
        CertificateError: a certificate can no longer be used.
    """
    readable = Entity(secured(plan.inspection.message, snapshot), plan.inspection.message.body)
    marked = Entity(agreed(readable.headers, snapshot), readable.body)
    plain = Entity(agreed(ordinary(plan.inspection.message, snapshot), snapshot), readable.body)
    sealed = _sealed(plan, snapshot, at)
    made = []
    for destination in plan.destinations:
        recipient, decision = destination.addressee.recipient, destination.decision
        reasons = tuple(reason.text for reason in decision.reasons)
        if stays(destination):
            continue
        if decision.route is Route.SMIME:
            made.append(
                Copy(recipient, Route.SMIME, sealed[id(destination)], route_value(destination), reasons)
            )
        elif decision.route is Route.DANE:
            content = marked if destination.addressee.sensitivity.value else plain
            made.append(Copy(recipient, Route.DANE, content, route_value(destination), reasons))
        elif decision.route is Route.PASS:
            made.append(Copy(recipient, Route.PASS, readable, INSIDE, reasons))
        else:
            made.append(Copy(recipient, decision.route, readable, "", reasons))
    return tuple(made)


def _sealed(plan: Plan, snapshot: Snapshot, at: datetime) -> dict[int, Entity]:
    """The ciphertext of each S/MIME destination, by its identity; one object for a whole group."""
    message = plan.inspection.message
    visible = in_sight(message)
    groups: dict[object, list[Destination]] = {}
    for destination in plan.destinations:
        if destination.decision.route is Route.SMIME:
            shared = group(visible, destination)
            groups.setdefault(shared or id(destination), []).append(destination)
    found: dict[int, Entity] = {}
    for members in groups.values():
        entity = seal(message, members, plan.signer, snapshot, at)
        found.update(dict.fromkeys(map(id, members), entity))
    return found
