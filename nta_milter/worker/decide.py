"""The decision about a delivery that waits: the milter's policy, one recipient, no client to prove.

The message was judged sensitive and its client proven when it came in. The worker has no S/MIME keys: what it
encrypts is not signed.
"""

from __future__ import annotations

from datetime import datetime

from nta_milter.message.mime import parse
from nta_milter.message.model import Entity, Message
from nta_milter.outbound.inspect import Addressee, Inspection, is_internal
from nta_milter.outbound.plan import Plan, plan, route_value
from nta_milter.outbound.smime import agreed, seal
from nta_milter.policy.client import Client
from nta_milter.policy.route import Route
from nta_milter.policy.rules import match
from nta_milter.policy.sensitivity import Sensitivity
from nta_milter.policy.snapshot import Snapshot
from nta_milter.postfix.route import INSIDE
from nta_milter.store.rows import Delivery
from nta_milter.worker.again import Decided, Decider

SENSITIVE = Sensitivity(True)


def decider(snapshot: Snapshot) -> Decider:
    """A decider by the settings, certificates and look-ups of a snapshot without keys."""

    def decide(message: Message, delivery: Delivery, at: datetime) -> Decided:
        made = _plan(message, snapshot, at)
        (destination,) = made.destinations
        decision = destination.decision
        reasons = tuple(reason.text for reason in decision.reasons)
        match decision.route:
            case Route.SMIME:
                content = seal(message, made.destinations, None, snapshot, at)
                return Decided(Route.SMIME, reasons, route_value(destination), content)
            case Route.DANE:
                content = Entity(agreed(message.headers, snapshot), message.body)
                return Decided(Route.DANE, reasons, route_value(destination), content)
            case Route.PASS:
                return Decided(Route.PASS, reasons, INSIDE)
            case _:
                return Decided(decision.route, reasons)

    return decide


def _plan(message: Message, snapshot: Snapshot, at: datetime) -> Plan:
    policy = snapshot.settings.policy
    (recipient,) = message.recipients
    addressee = Addressee(
        recipient,
        is_internal(recipient, snapshot),
        match(snapshot.settings.rules, message.sender, recipient.address),
        SENSITIVE,
    )
    part = parse(message.headers, message.body, part_limit=policy.part_limit, depth_limit=policy.depth_limit)
    inspection = Inspection(message, part, (addressee,), (), client_fault="", ciphertext=False)
    reports = snapshot.compliance.reports(inspection.domains, at, snapshot.settings.dns.deadline)
    return plan(inspection, reports, Client("outbound"), snapshot, snapshot.routing.current(), at)
