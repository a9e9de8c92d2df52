"""Who hands this mail in, and is it who it says? TLS, SPF, DKIM, DMARC, its record, the agreed header field.

First the questions to DNS (``look_up``, on threads that may wait), then the verdict (``judge``, which asks
nobody). What could not be asked is ``temperror``, never ``fail``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from nta_milter.compliance.report import Compliance, ComplianceReport
from nta_milter.config.libraries import missing
from nta_milter.config.model import PeerSettings, Settings
from nta_milter.inbound import dmarc
from nta_milter.inbound.believed import NOTHING, Believed, believe
from nta_milter.inbound.dmarc import Author, Policy
from nta_milter.inbound.organisation import organisational_domain
from nta_milter.inbound.questions import Questions
from nta_milter.inbound.result import Result, plain
from nta_milter.inbound.transport import transport
from nta_milter.lookup.answer import Answer
from nta_milter.message.headers import Headers
from nta_milter.message.model import Message
from nta_milter.policy.client import Client
from nta_milter.policy.outcome import Reply
from nta_milter.policy.snapshot import Snapshot

Mode = Literal["enforce", "mark"]
CHECKS = ("tls", "spf", "dkim", "dmarc", "record", "header")
"""In the order of their results; the first that refuses speaks."""

ASKING = frozenset(("spf", "dkim", "dmarc", "record"))
"""The checks that ask DNS, so that they must not keep others waiting."""

NO_SPF = Result("spf", "none")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was learnt of the sender by asking; empty where nothing had to be asked."""

    sender: Author
    spf: Result = NO_SPF
    keys: Mapping[str, Answer] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    report: ComplianceReport | None = None
    believed: Believed = NOTHING


NO_EVIDENCE = Evidence(Author(""))


@dataclass(frozen=True, slots=True)
class Peer:
    """The results to tell, in order, and the refusal where one check demands it."""

    results: tuple[Result, ...] = ()
    reply: Reply | None = None


def wanted(peer: PeerSettings, side: str) -> dict[str, Mode]:
    """The checks for a listener's side: on the ordinary one nothing is ever enforced."""
    if side != "ntamx" and (side != "inbound" or peer.inbound == "off"):
        return {}
    modes: dict[str, Mode] = {}
    for check in CHECKS:
        mode = getattr(peer, check)
        if mode != "off" and not missing(check):
            modes[check] = "enforce" if mode == "enforce" and side == "ntamx" else "mark"
    return modes


def idle(settings: Settings) -> tuple[str, ...]:
    """The checks that are wanted and cannot be made, each with the library that it misses."""
    sides = {listener.side for listener in settings.listeners}
    if "ntamx" not in sides and ("inbound" not in sides or settings.peer.inbound == "off"):
        return ()
    return tuple(
        f"{check}: {' and '.join(map(str, missing(check)))}"
        for check in CHECKS
        if getattr(settings.peer, check) != "off" and missing(check)
    )


def look_up(
    message: Message, client: Client, checks: Mapping[str, Mode], snapshot: Snapshot, at: datetime
) -> Evidence:
    """Ask what the checks need to know, within ``dns.deadline`` and one more look-up."""
    sender = dmarc.author(message.headers)
    questions = Questions(snapshot.resolver, snapshot.settings.dns.deadline)
    spf, keys, policy, report = NO_SPF, {}, Policy(), None
    believed = believe(message, client, snapshot)
    own = checks.keys() - believed.results.keys()
    bases = {"spf", "dkim"} - believed.results.keys() if "dmarc" in own else set()
    if "spf" in own | bases:
        from nta_milter.inbound.spf import sender_policy

        spf = sender_policy(message.sender, client, questions)
    if "dkim" in own | bases:
        from nta_milter.inbound import dkim

        keys = dkim.keys(dkim.signatures(message.headers, sender.domain)[0], questions)
    if "dmarc" in own and sender.domain:
        policy = dmarc.find_policy(sender.domain, organisational_domain(sender.domain), questions)
    if "record" in checks and sender.domain:
        deadline = snapshot.settings.dns.deadline
        report = snapshot.compliance.reports([sender.domain], at, deadline)[sender.domain]
    spf = believed.results.get("spf", (spf,))[0]
    return Evidence(sender, spf, keys, policy, report, believed)


def judge(
    message: Message, client: Client, checks: Mapping[str, Mode], evidence: Evidence, settings: Settings
) -> Peer:
    """The results of the checks, and whether they refuse the mail; asks nobody."""
    found: dict[str, tuple[Result, ...]] = {}
    signatures = _signatures(message, evidence) if {"dkim", "dmarc"} & checks.keys() else ()
    for check in checks:
        if check in evidence.believed.results:
            found[check] = evidence.believed.results[check]
            continue
        match check:
            case "tls":
                found[check] = (transport(client),)
            case "spf":
                found[check] = (evidence.spf,)
            case "dkim":
                found[check] = signatures
            case "dmarc":
                verdict = dmarc.judge(
                    evidence.sender, evidence.policy, evidence.spf, signatures, organisational_domain
                )
                found[check] = (verdict,)
            case "record":
                found[check] = (_record(evidence),)
            case _:
                found[check] = (_header(message.headers, settings),)
    results = tuple(result for check in found for result in found[check])
    return Peer(results, _refusal(found, checks, client, evidence, settings))


def _signatures(message: Message, evidence: Evidence) -> tuple[Result, ...]:
    if "dkim" in evidence.believed.results:
        return evidence.believed.results["dkim"]
    from nta_milter.inbound import dkim

    found, _ = dkim.signatures(message.headers, evidence.sender.domain)
    return dkim.verify(message, found, evidence.keys)


def _record(evidence: Evidence) -> Result:
    report = evidence.report
    if report is None:
        return Result("x-nta-record", "permerror", evidence.sender.fault)
    value = {Compliance.COMPLIANT: "pass", Compliance.NOT_COMPLIANT: "fail"}.get(report.status, "temperror")
    comment = "; ".join(reason.text for reason in report.reasons) if value != "pass" else ""
    return Result("x-nta-record", value, comment, (("header.from", evidence.sender.domain),))


def _header(headers: Headers, settings: Settings) -> Result:
    agreed = settings.nta_header
    values = [each.value for each in headers.all(agreed.name)]
    if values == [agreed.value.encode()]:
        return Result("x-nta-header", "pass")
    return Result("x-nta-header", "fail", f"{agreed.name} has another value" if values else "not there")


def _refusal(
    found: Mapping[str, tuple[Result, ...]],
    checks: Mapping[str, Mode],
    client: Client,
    evidence: Evidence,
    settings: Settings,
) -> Reply | None:
    """What cannot change is refused at once; what may be better later waits at the sender."""
    later = None
    for check, results in found.items():
        if checks[check] != "enforce" or any(result.value == "pass" for result in results):
            continue
        waiting = next((result for result in results if result.value == "temperror"), None)
        if waiting is None:
            return _refused(check, results, client, evidence, settings)
        if later is None:
            subject = _subject(waiting)
            text = f"{check.upper()} of {subject} cannot be judged now: {plain(waiting.comment)}"
            later = Reply.temporary(text, "4.7.24" if check == "spf" else "4.7.0")
    return later


def _refused(
    check: str, results: tuple[Result, ...], client: Client, evidence: Evidence, settings: Settings
) -> Reply:
    """A sentence for the administrator on the other side (status codes: RFC 7372, RFC 3463)."""
    result = results[0]
    why = f"{result.value} ({plain(result.comment)})" if result.comment else result.value
    match check:
        case "tls":
            return Reply.permanent(
                "this host takes mail only over TLS 1.2 or newer with a sound cipher; this came with "
                f"{plain(result.comment)}",
                "5.7.10",
            )
        case "spf":
            return Reply.permanent(
                f"SPF of {_subject(result)} is {why}; its record must let {client.ip or 'this client'} send",
                "5.7.24" if result.value == "permerror" else "5.7.23",
            )
        case "dkim":
            states = ", ".join(f"{_subject(each)} {each.value} ({plain(each.comment)})" for each in results)
            return Reply.permanent(f"no DKIM signature of this mail is good: {states}", "5.7.20")
        case "dmarc" if not evidence.sender.domain:
            return Reply.permanent(f"DMARC needs one domain in From: {evidence.sender.fault}", "5.7.1")
        case "dmarc" if result.value == "none":
            return Reply.permanent(
                f"{evidence.sender.domain} publishes no DMARC policy, which this host expects", "5.7.1"
            )
        case "dmarc":
            return Reply.permanent(
                f"DMARC of {evidence.sender.domain} fails: the domain in From must be the one that SPF or a "
                f"good DKIM signature proves; SPF is {evidence.spf.value} for {_subject(evidence.spf)}",
                "5.7.1",
            )
        case "record":
            subject = evidence.sender.domain or "From"
            return Reply.permanent(
                f"this host takes mail of NTA 7516 compliant domains only; {subject}: {plain(result.comment)}"
            )
        case _:
            return Reply.permanent(
                f"the agreed header field {settings.nta_header.name} is expected: {plain(result.comment)}"
            )


def _subject(result: Result) -> str:
    """Whom a result speaks of, for a reply."""
    named = next((value for _, value in result.properties), "")
    return plain(result.domain or named or "the sender")
