"""Our own side: what a domain of ours publishes against what we are, with the line that mends it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import cast

from cryptography import x509

from nta_milter.compliance.codes import Code
from nta_milter.compliance.dane import Tlsa, matches, tlsa_name
from nta_milter.compliance.publish import Line, record_line, smimea_line, text_line, tlsa_line
from nta_milter.compliance.reasons import reason
from nta_milter.compliance.report import ComplianceReport, NtaRecord, Reason
from nta_milter.compliance.verdict import month_ends
from nta_milter.errors import ConfigurationError
from nta_milter.lookup.answer import Answer, Presence

WARNING = timedelta(days=60)
"""How long before the end of the enddate's month we begin to warn."""

Ask = Callable[[str, str], Answer]

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, what is the matter with it, if anything, and the line that mends it."""

    subject: str
    reasons: tuple[Reason, ...] = ()
    line: Line | None = None


def check_record(report: ComplianceReport, at: datetime, timezone: tzinfo) -> Finding:
    """The record and its hosts as others see them, and a warning 60 days before it ends.

    The line for a record that ends or has ended is the same with the end a year later.
    """
    reasons = report.reasons
    record = report.record
    if record is not None and at < month_ends(record.enddate, timezone) <= at + WARNING:
        reasons += (reason(Code.RECORD_ENDS_SOON, f"enddate={record.enddate}"),)
    over = any(_is(each, Code.RECORD_ENDS_SOON) or _is(each, Code.RECORD_EXPIRED) for each in reasons)
    line = _renewed(report.domain, record) if record is not None and over else None
    return Finding(f"NTA 7516 record of {report.domain}", reasons, line)


def _renewed(domain: str, record: NtaRecord) -> Line | None:
    """The record with its end a year later; None for one that cannot be written so."""
    year, _, month = record.enddate.partition("-")
    try:
        return record_line(
            domain,
            startdate=record.startdate,
            enddate=f"{int(year) + 1:04d}-{month}",
            provider=record.provider,
            ntamx=[f"{preference} {host}" for preference, host in record.ntamx],
        )
    except ConfigurationError:
        return None


def check_tlsa(host: str, certificate: x509.Certificate, ask: Ask) -> Finding:
    """Whether a usable TLSA record of ``host`` holds the certificate that it presents, or its key."""
    subject, line = f"TLSA of {host}", tlsa_line(host, certificate)
    answer = ask(tlsa_name(host), "TLSA")
    if answer.presence is Presence.UNKNOWN:
        return Finding(subject, (reason(Code.OWN_UNKNOWN, answer.reason),))
    if answer.presence is Presence.ABSENT:
        return Finding(subject, (reason(Code.TLSA_ABSENT, tlsa_name(host)),), line)
    if not answer.secure:
        return Finding(subject, (reason(Code.TLSA_INSECURE),))
    records = [cast(Tlsa, record) for record in answer.records]
    if any(record[0] == 3 and matches(certificate, record) for record in records):
        return Finding(subject)
    return Finding(subject, (reason(Code.TLSA_MISMATCH),), line)


def check_smimea(address: str, certificates: Sequence[x509.Certificate], ask: Ask) -> Finding:
    """Whether an SMIMEA record of ``address`` holds one of its certificates (RFC 8162)."""
    subject, line = f"SMIMEA of {address}", smimea_line(address, certificates[0])
    answer = ask(line.name, "SMIMEA")
    if answer.presence is Presence.UNKNOWN:
        return Finding(subject, (reason(Code.OWN_UNKNOWN, answer.reason),))
    if answer.presence is Presence.ABSENT:
        return Finding(subject, (reason(Code.SMIMEA_ABSENT),), line)
    if not answer.secure:
        return Finding(subject, (reason(Code.OWN_INSECURE),))
    records = [cast(Tlsa, record) for record in answer.records]
    if any(matches(certificate, record) for record in records for certificate in certificates):
        return Finding(subject)
    return Finding(subject, (reason(Code.SMIMEA_MISMATCH),), line)


def check_spf(domain: str, ask: Ask) -> Finding:
    """One SPF record that refuses what it does not name (RFC 7208)."""
    subject = f"SPF of {domain}"
    answer = ask(domain, "TXT")
    records = [text for text in _texts(answer) if re.match(r"v=spf1(?: |$)", text, re.IGNORECASE)]
    faults = _several_or_none(answer, records, Code.SPF_ABSENT, Code.SPF_SEVERAL)
    strict = (
        text_line(domain, "v=spf1 mx -all") if any(_is(each, Code.SPF_ABSENT) for each in faults) else None
    )
    if len(records) == 1:
        terms = records[0].lower().split()
        if not (terms[-1] == "-all" or any(term.startswith("redirect=") for term in terms)):
            faults.append(reason(Code.SPF_NOT_STRICT, records[0]))
            kept = [term for term in records[0].split() if term.lower().lstrip("+-~?") != "all"]
            strict = text_line(domain, " ".join((*kept, "-all")))
    return Finding(subject, tuple(faults), strict)


def check_dmarc(domain: str, ask: Ask) -> Finding:
    """One DMARC record with a policy that refuses or sets apart (RFC 7489)."""
    name = f"_dmarc.{domain}"
    answer = ask(name, "TXT")
    records = [text for text in _texts(answer) if re.match(r"v\s*=\s*DMARC1\s*(?:;|$)", text)]
    faults = _several_or_none(answer, records, Code.DMARC_ABSENT, Code.DMARC_SEVERAL)
    absent = any(_is(each, Code.DMARC_ABSENT) for each in faults)
    line = text_line(name, "v=DMARC1; p=reject") if absent else None
    if len(records) == 1:
        tags = _tags(records[0])
        strict = tags.get("p", "").lower() in ("reject", "quarantine") and tags.get("pct", "100") == "100"
        if not strict:
            faults.append(reason(Code.DMARC_NOT_STRICT, records[0]))
            others = (f"{tag}={value}" for tag, value in tags.items() if tag not in ("v", "p", "pct"))
            line = text_line(name, "; ".join(("v=DMARC1", "p=reject", *others)))
    return Finding(f"DMARC of {domain}", tuple(faults), line)


def check_dkim(domain: str, selector: str, ask: Ask) -> Finding:
    """A DKIM key under the selector (RFC 6376 section 3.6.1)."""
    subject = f"DKIM of {domain}, selector {selector}"
    if _SELECTOR.fullmatch(selector) is None:
        return Finding(subject, (reason(Code.DKIM_ABSENT, selector),))
    answer = ask(f"{selector}._domainkey.{domain}", "TXT")
    keys = [tags["p"] for tags in map(_tags, _texts(answer)) if "p" in tags]
    faults = _several_or_none(answer, keys[:1], Code.DKIM_ABSENT, Code.DKIM_ABSENT)
    if keys and not all(keys):
        faults.append(reason(Code.DKIM_REVOKED))
    return Finding(subject, tuple(faults))


def to_json(finding: Finding) -> dict[str, object]:
    """One line of ``record --check --json``."""
    line = finding.line
    return {
        "subject": finding.subject,
        "reasons": [{"code": each.code, "text": each.text} for each in finding.reasons],
        "publish": None if line is None else {"name": line.name, "type": line.rdtype, "data": line.data},
    }


def _texts(answer: Answer) -> list[str]:
    return [cast(bytes, record).decode("utf-8", "replace").strip() for record in answer.records]


def _several_or_none(answer: Answer, found: Sequence[str], none: Code, several: Code) -> list[Reason]:
    if answer.presence is Presence.UNKNOWN:
        return [reason(Code.OWN_UNKNOWN, answer.reason)]
    if not found:
        return [reason(none)]
    faults = [] if len(found) == 1 else [reason(several, str(len(found)))]
    return faults if answer.secure else [*faults, reason(Code.OWN_INSECURE)]


def _is(found: Reason, code: Code) -> bool:
    return found.code == code.value


def _tags(text: str) -> dict[str, str]:
    """The tag list of DKIM and DMARC (RFC 6376 section 3.2); of a doubled tag the first counts."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip(), value.strip())
    return tags
