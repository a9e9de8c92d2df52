"""Second step: with the compliance reports in hand, what becomes of the message for each recipient?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nta_milter.compliance.report import ComplianceReport
from nta_milter.message.address import addresses
from nta_milter.message.mime import attachments_over, wire_size
from nta_milter.message.model import Message
from nta_milter.outbound.inspect import Addressee, Inspection
from nta_milter.policy.client import Client, may_sign_as_person
from nta_milter.policy.route import Certificate, Combined, Decision, Facts, Route, combine, decide, passed
from nta_milter.policy.snapshot import Snapshot
from nta_milter.postfix.proof import RoutingProof
from nta_milter.postfix.route import to_hosts
from nta_milter.smime.directory import Found
from nta_milter.smime.keystore import PrivateKey


@dataclass(frozen=True, slots=True)
class Destination:
    """One recipient's decision with what it rests on."""

    addressee: Addressee
    decision: Decision
    report: ComplianceReport | None
    found: Found | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole message's route, and who signs."""

    inspection: Inspection
    destinations: tuple[Destination, ...]
    combined: Combined
    signer: PrivateKey | None

    @property
    def sensitivity(self) -> str:
        """What makes the message sensitive; empty when nothing does. It quotes nothing of the content."""
        found = (reason for each in self.inspection.addressees for reason in each.sensitivity.reasons)
        return next((reason.text for reason in found), "")

    @property
    def explanation(self) -> str:
        """For the sender: to whom the message does not go, what makes it sensitive, what is in the way."""
        route = self.combined.route
        named = [each.decision.recipient for each in self.destinations if each.decision.route is route]
        named = named or [each.decision.recipient for each in self.destinations]
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        kind = f" ({self.sensitivity})" if self.sensitivity else ""
        fate = "is not sent" if route is Route.REJECT else "waits"
        return f"sensitive mail{kind} to {named[0]}{more} {fate}: {self.combined.text}"

    @property
    def exempted(self) -> bool:
        """Whether a rule let a recipient have it without a look at the content; that is audited."""
        return any(
            addressee.rule is not None and addressee.rule.sensitive == "no"
            for addressee in self.inspection.addressees
        )


def plan(
    inspection: Inspection,
    reports: Mapping[str, ComplianceReport],
    client: Client,
    snapshot: Snapshot,
    routing: RoutingProof | None,
    at: datetime,
) -> Plan:
    """Decide for every recipient and for the whole.

    ``routing`` is None where nothing needs a route. Pure but for the certificate directory's memory.
    """
    destinations = []
    for addressee in inspection.addressees:
        report = reports.get(addressee.recipient.domain)
        found = None
        if addressee.sensitivity.value and not addressee.internal:
            found = snapshot.certificates.find(addressee.recipient.address, at)
        facts = _facts(addressee, inspection, report, found, snapshot, routing)
        decision = _decide(addressee.recipient.address, facts, snapshot)
        destinations.append(Destination(addressee, decision, report, found))
    if not inspection.sensitive:
        destinations, combined = _ordinary(destinations, outbox=snapshot.store is not None)
    else:
        combined = combine(
            [destination.decision for destination in destinations],
            one_copy=one_copy(inspection.message, destinations),
            outbox=snapshot.store is not None,
        )
    return Plan(inspection, tuple(destinations), combined, _signer(inspection, client, snapshot, at))


def _ordinary(destinations: list[Destination], *, outbox: bool) -> tuple[list[Destination], Combined]:
    """A message that is sensitive for nobody: over mandatory DANE in place where one route serves all.

    Otherwise copies apart; and without an ``outbox`` it goes the ordinary way, since it need not wait.
    """
    decisions = [destination.decision for destination in destinations]
    ways = {
        route_value(destination) if destination.decision.route is Route.DANE else ""
        for destination in destinations
    }
    if len(ways) == 1 and "" not in ways:
        reasons = dict.fromkeys(reason for decision in decisions for reason in decision.reasons)
        return destinations, Combined(Route.DANE, tuple(reasons))
    if not outbox:
        decisions = [passed(decision) for decision in decisions]
        destinations = [
            dataclasses.replace(destination, decision=decision)
            for destination, decision in zip(destinations, decisions, strict=True)
        ]
    return destinations, combine(decisions, one_copy=True, outbox=outbox)


def _facts(
    addressee: Addressee,
    inspection: Inspection,
    report: ComplianceReport | None,
    found: Found | None,
    snapshot: Snapshot,
    routing: RoutingProof | None,
) -> Facts:
    rule = addressee.rule
    exempted = rule.name if rule is not None and rule.sensitive == "no" else ""
    if not addressee.sensitivity.value:
        return Facts(
            sensitive=False,
            exempted=exempted,
            internal=addressee.internal,
            compliance=report,
            all_mail=inspection.all_mail and routing is not None and routing.proven,
        )
    certificate = found.certificate if found is not None else None
    routing_fault = "" if routing is None or routing.proven else routing.faults[0]
    inside_fault = snapshot.hop_fault(routing)
    return Facts(
        sensitive=True,
        exempted=exempted,
        internal=addressee.internal,
        inside=not inside_fault,
        null_sender=not inspection.message.sender,
        ciphertext=inspection.ciphertext,
        over_limit=_over_limit(addressee, inspection, snapshot, routing),
        wanted=Route(rule.route) if rule is not None and rule.route else None,
        rule=rule.name if rule is not None else "",
        client=inspection.client_fault,
        compliance=report,
        certificate=Certificate(certificate.certificate_class) if certificate else Certificate.NONE,
        certificate_fault="; ".join(r.text for r in found.reasons) if found and not certificate else "",
        personal=snapshot.settings.smime.personal == "prefer",
        routing_fault=routing_fault,
        inside_fault=inside_fault,
        outbox=snapshot.store is not None,
        portal=snapshot.store is not None and bool(snapshot.settings.portal.url),
        factor=True,
    )


def _decide(address: str, facts: Facts, snapshot: Snapshot) -> Decision:
    """The store is asked whether the recipient can prove who he is where his route depends on it alone."""
    decision = decide(address, facts)
    if decision.route is Route.PORTAL and snapshot.store and not snapshot.store.access.can_prove(address):
        return decide(address, dataclasses.replace(facts, factor=False))
    return decision


def _over_limit(
    addressee: Addressee, inspection: Inspection, snapshot: Snapshot, routing: RoutingProof | None
) -> str:
    """Which limit the message exceeds on its way to this recipient, in words; empty when none."""
    limit = snapshot.settings.policy.attachment_limit
    if size := attachments_over(inspection.part, inspection.message.body, limit):
        return f"attachments of {size} bytes are more than {limit}"
    on_the_wire = wire_size(len(inspection.message.body), enveloped=True)
    for most, whose in (
        (addressee.rule.size_limit if addressee.rule else 0, "the recipient's domain takes"),
        (routing.message_size_limit if routing else 0, "our Postfix takes (message_size_limit)"),
    ):
        if most and on_the_wire > most:
            return f"about {on_the_wire} bytes on the wire are more than {whose}: {most}"
    return ""


def one_copy(message: Message, destinations: Sequence[Destination]) -> bool:
    """Whether one mail may serve all: a single recipient, or one group without anybody in secret."""
    if len(destinations) == 1:
        return True
    visible = in_sight(message)
    groups = {group(visible, destination) for destination in destinations}
    return len(groups) == 1 and None not in groups


def in_sight(message: Message) -> frozenset[str]:
    """The addresses of To and Cc, which every recipient sees."""
    return frozenset((*addresses(message.headers, "To"), *addresses(message.headers, "Cc")))


def group(visible: frozenset[str], destination: Destination) -> tuple[str, str, str] | None:
    """What recipients have in common who may share one ciphertext; None for one who needs his own.

    They share a domain and its settings, and each is ``visible``: the RecipientInfos betray nobody.
    """
    addressee = destination.addressee
    if addressee.recipient.address.lower() not in visible:
        return None
    rule = addressee.rule
    return (addressee.recipient.domain, rule.subject if rule else "hide", rule.cipher if rule else "")


def _signer(inspection: Inspection, client: Client, snapshot: Snapshot, at: datetime) -> PrivateKey | None:
    """The sender's own key when the login proves the sender, else the domain's, else nobody's."""
    if not snapshot.settings.smime.sign or len(inspection.senders) != 1:
        return None
    sender = inspection.senders[0]
    if may_sign_as_person(client, snapshot.settings.internal, sender):
        return snapshot.keys.signer_for(sender, at=at)
    return snapshot.keys.signer_for("@" + sender.rpartition("@")[2], at=at)


def route_value(destination: Destination) -> str:
    """The internal header's value for a destination reached over mandatory DANE.

    Raises PermanentError for a host name that the tables would refuse.
    """
    report = destination.report
    if report is None or report.record is None or not report.record.ntamx:
        return to_hosts(())
    return to_hosts([host.name for host in report.hosts if host.usable])
