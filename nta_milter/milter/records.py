"""What the audit keeps of a message: which event, which route, for whom."""

from __future__ import annotations

from collections.abc import Iterator

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.compliance.report import Reason
from nta_milter.inbound import peer
from nta_milter.milter.job import Job
from nta_milter.outbound.copies import stays
from nta_milter.outbound.plan import Plan
from nta_milter.policy.route import Route
from nta_milter.smime.harvest import Outcome as Harvested

EVENTS = {
    Route.SMIME: Event.SENT,
    Route.DANE: Event.SENT,
    Route.PORTAL: Event.DEPOSITED,
    Route.REJECT: Event.REFUSED,
    Route.TEMPFAIL: Event.DEFERRED,
}

HARVESTED = {Harvested.KEPT: Event.CERTIFICATE_SET, Harvested.PENDING: Event.CERTIFICATE_PENDING}
"""What becomes of a sender's certificate that is worth a record."""


def peer_record(job: Job, judged: peer.Peer) -> AuditRecord:
    """What was found of a mail's sender, and whether the mail was refused for it."""
    reply = judged.reply
    event, route = Event.PEER_JUDGED, "pass"
    if reply is not None:
        event, route = (
            (Event.REFUSED, "reject") if reply.code.startswith("5") else (Event.DEFERRED, "tempfail")
        )
    return job.record(event, route, tuple(Reason("peer", str(result)) for result in judged.results))


def records_of(job: Job, made: Plan) -> Iterator[AuditRecord]:
    """One record for the whole message, or one for each recipient when they go apart."""
    if not made.combined.apart:
        yield job.record(_event(made, made.combined.pinned), made.combined.route.value, made.combined.reasons)
        return
    for destination in made.destinations:
        if stays(destination) and not (made.inspection.sensitive or made.exempted):
            continue
        event = Event.EXEMPTED if stays(destination) else Event.PREPARED
        decision = destination.decision
        yield job.record(event, decision.route.value, decision.reasons, (decision.recipient,))


def _event(made: Plan, pinned: bool) -> Event:
    if made.combined.route is not Route.PASS:
        return EVENTS[made.combined.route]
    if pinned:
        return Event.PASSED_INSIDE
    return Event.EXEMPTED if made.exempted else Event.SENT


def routes_of(made: Plan) -> str:
    """The route for the log: one, or one for each recipient."""
    if not made.combined.apart:
        return made.combined.route.value
    return ",".join(destination.decision.route.value for destination in made.destinations)
