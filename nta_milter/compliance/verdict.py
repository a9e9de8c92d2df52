"""From the facts about a domain to the answer at one moment; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, tzinfo

from nta_milter.compliance.codes import Code, Kind
from nta_milter.compliance.reasons import explanation, reason
from nta_milter.compliance.report import Compliance, ComplianceReport, HostReport, NtaRecord, Reason

_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Facts:
    """What DNS says of a domain, whatever the date; ``ttl`` in seconds, from when it was looked up.

    ``reasons`` are those that do not depend on the hosts or the date.
    """

    domain: str
    secure: bool | None
    record: NtaRecord | None
    hosts: tuple[HostReport, ...]
    reasons: tuple[Reason, ...]
    ttl: int

    @property
    def hosts_known(self) -> bool:
        """Whether it is settled that there is, or is not, a usable host among ``hosts``."""
        return any(host.usable for host in self.hosts) or all(host.secure is not None for host in self.hosts)

    @property
    def settled(self) -> bool:
        """Whether nothing that matters is missing for want of an answer."""
        return self.hosts_known and all(explanation(each).kind is not Kind.UNKNOWN for each in self.reasons)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A report and the time in which it is the answer: ``since`` <= moment < ``until``."""

    report: ComplianceReport
    since: datetime
    until: datetime


def judge(facts: Facts, at: datetime, timezone: tzinfo) -> Verdict:
    """The verdict on ``at``, an aware datetime; the record's months are months in ``timezone``."""
    since, until = _ALWAYS
    reasons = facts.reasons
    if facts.record is not None:
        begin = _month_begins(facts.record.startdate, 0, timezone)
        end = month_ends(facts.record.enddate, timezone)
        if at < begin:
            reasons += (reason(Code.RECORD_NOT_STARTED, f"startdate={facts.record.startdate}"),)
            until = begin
        elif at >= end:
            reasons += (reason(Code.RECORD_EXPIRED, f"enddate={facts.record.enddate}"),)
            since = end
        else:
            since, until = begin, end
    # Without a usable host nothing is compliant, also if nothing else says why.
    silent = all(explanation(each).kind is Kind.REMARK for each in reasons)
    if (facts.hosts or silent) and not any(host.usable for host in facts.hosts):
        code = Code.HOSTS_UNUSABLE if facts.hosts_known else Code.HOSTS_UNKNOWN
        reasons += (reason(code, ", ".join(host.name for host in facts.hosts)),)
    kinds = {explanation(each).kind for each in reasons}
    if Kind.REFUSAL in kinds:
        status = Compliance.NOT_COMPLIANT
    elif Kind.UNKNOWN in kinds:
        status = Compliance.UNKNOWN
    else:
        status = Compliance.COMPLIANT
    ttl = facts.ttl if until == _ALWAYS[1] else min(facts.ttl, int((until - at).total_seconds()))
    report = ComplianceReport(
        facts.domain, status, facts.secure, facts.record, facts.hosts, _important_first(reasons), ttl
    )
    return Verdict(report, since, until)


def unknown(domain: str, why: Reason) -> ComplianceReport:
    """The report on a domain of which nothing is known now."""
    return ComplianceReport(domain, Compliance.UNKNOWN, None, None, (), (why,), 0)


def month_ends(month: str, timezone: tzinfo) -> datetime:
    """The first moment after a month ``YYYY-MM``."""
    return _month_begins(month, 1, timezone)


def _month_begins(month: str, later: int, timezone: tzinfo) -> datetime:
    """Midnight on the first of a month ``YYYY-MM``, or of the one ``later`` months after it."""
    years, months = divmod(int(month[5:]) - 1 + later, 12)
    year = int(month[:4]) + years
    if year > MAXYEAR:
        return _ALWAYS[1]
    # Far from now a time zone's offset could carry the moment out of what datetime can hold.
    if not 1 < year < MAXYEAR:
        return datetime(year, months + 1, 1, tzinfo=UTC)
    return datetime(year, months + 1, 1, tzinfo=timezone)


def _important_first(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    order = list(Kind)
    return tuple(sorted(reasons, key=lambda each: order.index(explanation(each).kind)))
