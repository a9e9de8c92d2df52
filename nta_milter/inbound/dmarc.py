"""Is the domain in From the one that was proven? DMARC (RFC 7489)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nta_milter.inbound.questions import Questions
from nta_milter.inbound.result import Result
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.lookup.name import domain_name
from nta_milter.message.address import MALFORMED, addresses
from nta_milter.message.headers import Headers

RECORD_LIMIT = 4_096
"""Longest policy record that is read, in bytes."""
POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class Author:
    """The one domain in From, or why there is none (section 6.6.1)."""

    domain: str
    fault: str = ""


def author(headers: Headers) -> Author:
    """The domain that From names, in lower-case A-labels."""
    fields = headers.all("From")
    if len(fields) != 1:
        return Author("", f"{len(fields)} From fields" if fields else "no From field")
    found = addresses(headers, "From")
    domains = {address.rpartition("@")[2] for address in found}
    if not found or MALFORMED in found:
        return Author("", "From cannot be read")
    if len(domains) != 1:
        return Author("", f"addresses of {len(domains)} domains in From")
    domain = domain_name(domains.pop())
    return Author(domain) if domain else Author("", "the domain in From is none")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain asks for: ``request`` is none, quarantine or reject; empty where it publishes nothing.

    ``strict_spf`` and ``strict_dkim``: the very same domain is wanted. ``unknown`` says why DNS did not tell.
    """

    request: str = ""
    strict_spf: bool = False
    strict_dkim: bool = False
    unknown: str = ""


def find_policy(domain: str, organisation: str, questions: Questions) -> Policy:
    """The policy of a domain, else the one of its organisation for its sub-domains (section 6.6.3)."""
    for owner in dict.fromkeys((domain, organisation)):
        answer = questions.ask(f"_dmarc.{owner}", "TXT")
        if answer.presence is Presence.UNKNOWN:
            return Policy(unknown=answer.reason)
        policy = _read(answer, below=owner != domain)
        if policy is not None:
            return policy
    return Policy()


def _read(answer: Answer, *, below: bool) -> Policy | None:
    records = [tags for record in answer.records if (tags := _tags(record))]
    if len(records) != 1:
        return None
    (tags,) = records
    request = tags.get("p", "")
    if request not in POLICIES:
        if "rua" not in tags:
            return None
        request = "none"
    if below and tags.get("sp", "") in POLICIES:
        request = tags["sp"]
    return Policy(request, tags.get("aspf", "r") == "s", tags.get("adkim", "r") == "s")


def _tags(record: object) -> dict[str, str]:
    """The tags of a record that begins with the version (section 6.3); empty for another one."""
    if not isinstance(record, bytes) or len(record) > RECORD_LIMIT:
        return {}
    pairs = [part.partition("=") for part in record.decode("ascii", "replace").split(";")]
    if (pairs[0][0].strip(), pairs[0][2].strip()) != ("v", "DMARC1"):
        return {}
    return {name.strip().lower(): value.strip().lower() for name, _, value in reversed(pairs)}


def judge(
    sender: Author,
    policy: Policy,
    spf: Result,
    signatures: Iterable[Result],
    organisation: Callable[[str], str],
) -> Result:
    """DMARC's result (RFC 7489 section 11.2): one good result for the domain in From suffices."""
    if not sender.domain:
        return Result("dmarc", "permerror", sender.fault)
    properties = (("header.from", sender.domain),)
    if policy.unknown:
        return Result("dmarc", "temperror", policy.unknown, properties)
    if not policy.request:
        return Result("dmarc", "none", "no policy", properties)

    def aligned(result: Result, strict: bool) -> bool:
        if strict or result.domain == sender.domain:
            return result.domain == sender.domain
        return bool(result.domain) and organisation(result.domain) == organisation(sender.domain)

    candidates = [
        *((result, aligned(result, policy.strict_dkim)) for result in signatures),
        (spf, aligned(spf, policy.strict_spf)),
    ]
    for result, fits in candidates:
        if fits and result.value == "pass":
            return Result("dmarc", "pass", f"p={policy.request}, by {result.method}", properties)
    for result, fits in candidates:
        if fits and result.value == "temperror":
            return Result("dmarc", "temperror", f"{result.method}: {result.comment}", properties)
    return Result("dmarc", "fail", f"p={policy.request}", properties)
