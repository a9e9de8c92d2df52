"""One domain's compliance: every check, every reason (NTA 7516, the e-mail interoperability agreement)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Compliance(Enum):
    """The answer about a domain; UNKNOWN is a temporary failure, never "not compliant"."""

    COMPLIANT = "compliant"
    NOT_COMPLIANT = "not-compliant"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code of the closed list in packaging/doc/reasons.md, and a sentence for a person."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class NtaRecord:
    """A valid record. ``startdate`` and ``enddate`` are ``YYYY-MM``; ``ntamx`` is in order of preference."""

    version: str
    startdate: str
    enddate: str
    provider: str | None
    ntamx: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class HostReport:
    """One receiving host: usable only when its name, addresses and TLSA records are all secure."""

    name: str
    usable: bool
    secure: bool | None
    tlsa: tuple[str, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class ComplianceReport:
    """What is known of one domain at one moment; ``ttl`` in seconds says how long it holds."""

    domain: str
    status: Compliance
    secure: bool | None
    record: NtaRecord | None
    hosts: tuple[HostReport, ...]
    reasons: tuple[Reason, ...]
    ttl: int


def to_json(report: ComplianceReport) -> dict[str, object]:
    """The object that ``check --json`` and ``explain --json`` print; its keys are documented and kept."""
    record = report.record
    return {
        "domain": report.domain,
        "status": report.status.value,
        "secure": report.secure,
        "record": None
        if record is None
        else {
            "version": record.version,
            "startdate": record.startdate,
            "enddate": record.enddate,
            "provider": record.provider,
            "ntamx": [[preference, host] for preference, host in record.ntamx],
        },
        "hosts": [
            {
                "name": host.name,
                "usable": host.usable,
                "secure": host.secure,
                "tlsa": list(host.tlsa),
                "reasons": reasons_to_json(host.reasons),
            }
            for host in report.hosts
        ],
        "reasons": reasons_to_json(report.reasons),
        "ttl": report.ttl,
    }


def reasons_to_json(reasons: tuple[Reason, ...]) -> list[dict[str, str]]:
    """Reasons as every JSON output of the project has them."""
    return [{"code": reason.code, "text": reason.text} for reason in reasons]
