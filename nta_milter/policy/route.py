"""The route of a message, per recipient and for the whole: a total, pure function of facts.

Each decision carries the reasons that the audit row, the log line and ``explain`` show. Nothing here can
mean "in clear": a sensitive message to someone outside becomes ciphertext, or waits, or is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from nta_milter.compliance.codes import Code
from nta_milter.compliance.report import Compliance, ComplianceReport, Reason


class Route(Enum):
    """What becomes of a message for one recipient."""

    PASS = "pass"  # noqa: S105 - a route, not a password
    SMIME = "smime"
    DANE = "dane"
    PORTAL = "portal"
    HOLD = "hold"
    REJECT = "reject"
    TEMPFAIL = "tempfail"


class Certificate(Enum):
    """The best certificate known for a recipient, by how we came to know it."""

    NONE = "none"
    PERSONAL = "personal"
    CONFIGURED = "configured"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the route of one recipient depends on.

    ``compliance`` is None where it was not asked for (internal recipients). ``over_limit`` names the
    limit that the message exceeds, or is empty. ``wanted`` is the route that a rule asks for, or None.
    ``client`` is empty for a client that may have mail secured, else why it may not. ``outbox``: copies can
    be stored and handed in apart. ``portal``: there is one. ``factor``: the recipient can prove who he is.
    ``inside_fault`` says why ``inside`` does not hold.
    ``all_mail``: what is not sensitive goes over mandatory DANE too, where that can be.
    """

    sensitive: bool
    exempted: str = ""
    internal: bool = False
    inside: bool = False
    null_sender: bool = False
    ciphertext: bool = False
    over_limit: str = ""
    wanted: Route | None = None
    rule: str = ""
    client: str = ""
    compliance: ComplianceReport | None = None
    certificate: Certificate = Certificate.NONE
    certificate_fault: str = ""
    personal: bool = False
    routing_fault: str = ""
    inside_fault: str = ""
    outbox: bool = False
    portal: bool = False
    factor: bool = False
    all_mail: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """One recipient's route. ``pinned`` means that a PASS must take the protected next hop inside."""

    recipient: str
    route: Route
    reasons: tuple[Reason, ...]
    pinned: bool = False

    @property
    def text(self) -> str:
        """The reasons in one line, the deciding one last."""
        return "; ".join(reason.text for reason in self.reasons)


def decide(recipient: str, facts: Facts) -> Decision:
    """The route of one recipient; the first condition that fits decides."""
    if not facts.sensitive:
        return _not_sensitive(recipient, facts)
    if facts.internal:
        if facts.inside:
            decision = _decision(recipient, Route.PASS, "internal", "stays inside, next hop pinned")
            return Decision(recipient, decision.route, decision.reasons, pinned=True)
        return _decision(
            recipient,
            Route.TEMPFAIL,
            "inside-not-protected",
            f"internal, but no protected next hop is proven{_because(facts.inside_fault)}",
        )
    if facts.null_sender:
        return _decision(
            recipient,
            Route.REJECT,
            "null-sender",
            "an automatic message with sensitive content is neither stored nor held",
        )
    if facts.ciphertext:
        return _decision(recipient, Route.PASS, "already-encrypted", "is ciphertext already")
    if facts.client:
        return _decision(recipient, Route.REJECT, "client-not-proven", facts.client)
    return _possible(_outside(recipient, facts), facts)


def _not_sensitive(recipient: str, facts: Facts) -> Decision:
    """Mail that may go in clear; it never waits for a fault of the better way."""
    if facts.exempted:
        reason = Reason("exempt", f"exempted by the rule {facts.exempted!r}")
    else:
        reason = Reason("not-sensitive", "not sensitive")
    compliant = facts.compliance is not None and facts.compliance.status is Compliance.COMPLIANT
    if facts.all_mail and compliant and not facts.internal and not facts.routing_fault:
        dane = Reason("dane-for-all", "all mail to compliant domains goes over mandatory DANE")
        return Decision(recipient, Route.DANE, (reason, dane))
    return Decision(recipient, Route.PASS, (reason,))


def passed(decision: Decision) -> Decision:
    """The ordinary way, for mail that is not sensitive where the better one does not serve all."""
    if decision.route is not Route.DANE:
        return decision
    return Decision(decision.recipient, Route.PASS, (*decision.reasons[:1], _NO_COPIES))


def _possible(decision: Decision, facts: Facts) -> Decision:
    """The route where this site has what it needs, else the one that is left; never clear."""
    route, code, text = decision.route, "", ""
    if route is Route.PORTAL and not facts.portal:
        route, code, text = Route.REJECT, "no-portal", "secure download is not set up here"
    elif route is Route.PORTAL and not facts.factor:
        route, code, text = Route.HOLD, "no-factor", "no second factor of the recipient is known"
    elif route is Route.DANE and not facts.outbox:
        route, code, text = Route.TEMPFAIL, "no-outbox", "copies cannot be handed in apart without a store"
    if not code:
        return decision
    return Decision(decision.recipient, route, (*decision.reasons, Reason(code, text)))


def _outside(recipient: str, facts: Facts) -> Decision:
    """A sensitive message in readable form, from a proven client, to someone outside."""
    if facts.wanted is Route.REJECT:
        return _decision(recipient, Route.REJECT, "rule", f"refused by the rule {facts.rule!r}")
    report = facts.compliance
    absent = [each for each in report.reasons if each.code == Code.DOMAIN_ABSENT.value] if report else []
    if absent:  # a slip in an address is told at once, and nothing is kept for it
        return _decision(recipient, Route.REJECT, "domain-absent", absent[0].text)
    if facts.over_limit:
        return _decision(recipient, Route.PORTAL, "too-big", facts.over_limit)
    if facts.wanted is Route.PORTAL:
        return _decision(recipient, Route.PORTAL, "rule", f"portal by the rule {facts.rule!r}")
    if report is None or report.status is Compliance.UNKNOWN:
        return _with_report(
            recipient, Route.TEMPFAIL, report, "compliance-unknown", "compliance cannot be established now"
        )
    if report.status is Compliance.NOT_COMPLIANT:
        return _with_report(recipient, Route.PORTAL, report, "not-compliant", "domain is not compliant")
    if facts.routing_fault:
        text = f"Postfix is not shown to keep the route: {facts.routing_fault}"
        return _with_report(recipient, Route.TEMPFAIL, report, "routing-not-proven", text)
    if facts.wanted is not Route.DANE and _certificate_serves(facts):
        text = f"compliant, {facts.certificate.value} certificate"
        return _with_report(recipient, Route.SMIME, report, "smime", text)
    if facts.certificate_fault:
        fault = Reason("certificate-unusable", facts.certificate_fault)
        report_reasons = (*report.reasons, fault)
    else:
        report_reasons = report.reasons
    if facts.wanted is Route.SMIME:
        reason = Reason("no-certificate", f"the rule {facts.rule!r} wants S/MIME, no certificate can be used")
        return Decision(recipient, Route.PORTAL, (*report_reasons, reason))
    reason = Reason("dane", "compliant, readable by the recipient over mandatory DANE")
    return Decision(recipient, Route.DANE, (*report_reasons, reason))


def _certificate_serves(facts: Facts) -> bool:
    if facts.certificate is Certificate.NONE:
        return False
    return facts.certificate is not Certificate.PERSONAL or facts.personal


def _decision(recipient: str, route: Route, code: str, text: str) -> Decision:
    return Decision(recipient, route, (Reason(code, text),))


def _with_report(
    recipient: str, route: Route, report: ComplianceReport | None, code: str, text: str
) -> Decision:
    known = report.reasons if report is not None and report.status is not Compliance.COMPLIANT else ()
    return Decision(recipient, route, (*known, Reason(code, text)))


def _because(fault: str) -> str:
    return f": {fault}" if fault else ""


@dataclass(frozen=True, slots=True)
class Combined:
    """What becomes of the whole message: libmilter has one reply and one body for all recipients.

    ``apart``: recipients get copies of their own, released when Postfix has queued the message; who passes
    unpinned stays in the transaction. Otherwise ``route`` holds for all, in place.
    """

    route: Route
    reasons: tuple[Reason, ...]
    pinned: bool = False
    apart: bool = False

    @property
    def text(self) -> str:
        """The reasons in one line."""
        return "; ".join(reason.text for reason in self.reasons)


IN_PLACE = frozenset({Route.PASS, Route.SMIME, Route.PORTAL, Route.REJECT, Route.TEMPFAIL})
"""What a milter can do to a message for all its recipients; anything else needs copies."""


def combine(decisions: Sequence[Decision], *, one_copy: bool, outbox: bool) -> Combined:
    """One answer for all recipients.

    ``one_copy`` says that one and the same mail may serve them all: one recipient, or one ciphertext for
    recipients who share a domain and all stand in To or Cc, so that it betrays nobody. All refused: refused.
    All refused or unknown: 4xx. Else copies apart, or without an ``outbox`` the message waits as a whole.
    """
    if not decisions:
        return Combined(Route.PASS, ())
    routes = {decision.route for decision in decisions}
    reasons = _reasons(decisions)
    if len(routes) == 1:
        route = routes.pop()
        pins = {decision.pinned for decision in decisions}
        # A notification holds one recipient's link, whoever else stands in To.
        own = {Route.SMIME: not one_copy, Route.PORTAL: len(decisions) > 1}
        alike = len(pins) == 1 and not own.get(route, False)
        if route in IN_PLACE and alike:
            return Combined(route, reasons, pinned=pins == {True})
    elif routes <= {Route.REJECT, Route.TEMPFAIL}:
        waiting = [decision for decision in decisions if decision.route is Route.TEMPFAIL]
        return Combined(Route.TEMPFAIL, _reasons(waiting))
    if outbox:
        worst = max(decisions, key=lambda decision: _ORDER.index(decision.route)).route
        return Combined(worst, reasons, apart=True)
    waiting = [decision for decision in decisions if decision.route is Route.TEMPFAIL]
    return Combined(Route.TEMPFAIL, _reasons(waiting) or (_APART,))


def _reasons(decisions: Sequence[Decision]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reason for decision in decisions for reason in decision.reasons))


_ORDER = (Route.PASS, Route.SMIME, Route.DANE, Route.PORTAL, Route.HOLD, Route.TEMPFAIL, Route.REJECT)
_NO_COPIES = Reason("no-outbox", "not over mandatory DANE: copies cannot be handed in apart without a store")
_APART = Reason("separate-copies", "recipients need copies of their own; send to each group apart")
