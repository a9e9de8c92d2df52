"""Version 1: ``v=NTA7516-1;startdate=2026-01;enddate=2028-12;provider=Example;ntamx=10 nta-mx.care.test``."""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR

from nta_milter.compliance.codes import Code
from nta_milter.compliance.reasons import reason
from nta_milter.compliance.report import NtaRecord, Reason
from nta_milter.compliance.versions.fields import Field, Reading
from nta_milter.lookup.name import is_host_name

VERSION = "-1"
NAME = "NTA7516-1"
HOST_LIMIT = 20
REASON_LIMIT = 10
"""Faults, and remarks, that are named of one record: a hostile one could be made of nothing else."""

_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_NTAMX = re.compile(r"([0-9]{1,5}) +(\S+)")


def read(fields: tuple[Field, ...]) -> Reading:
    """Read the fields; anything malformed makes the record invalid, and every fault is named."""
    faults: list[Reason] = []
    remarks: list[Reason] = []
    values: dict[str, str] = {}
    hosts: list[tuple[int, str]] = []
    doubled = {
        "startdate": Code.STARTDATE_DUPLICATE,
        "enddate": Code.ENDDATE_DUPLICATE,
        "provider": Code.PROVIDER_DUPLICATE,
    }
    for field in fields:
        if field.key in doubled and field.value is not None:
            if field.key in values:
                faults.append(reason(doubled[field.key], field.value))
            values.setdefault(field.key, field.value)
        elif _is_ntamx(field.key):
            host = _ntamx(field)
            if isinstance(host, Reason):
                faults.append(host)
            else:
                hosts.append(host)
        else:
            remarks.append(reason(Code.FIELD_UNKNOWN, field.key))
    start = _month(values, "startdate", Code.STARTDATE_MISSING, Code.STARTDATE_MALFORMED, faults)
    end = _month(values, "enddate", Code.ENDDATE_MISSING, Code.ENDDATE_MALFORMED, faults)
    if start and end and end < start:
        faults.append(reason(Code.DATES_REVERSED, f"{start} to {end}"))
    if len(hosts) > HOST_LIMIT:
        faults.append(reason(Code.NTAMX_TOO_MANY, str(len(hosts))))
    if not values.get("provider"):
        remarks.append(reason(Code.PROVIDER_MISSING))
    ntamx = _in_order(hosts)
    if len(ntamx) < len(hosts):
        remarks.append(reason(Code.NTAMX_DUPLICATE))
    if faults:
        return Reading(None, (*_once(faults), *_once(remarks)))
    record = NtaRecord(NAME, start, end, values.get("provider") or None, ntamx)
    return Reading(record, _once(remarks))


def _is_ntamx(key: str) -> bool:
    """Whether a field is, or is a misspelt, ntamx: then it may not be ignored like other unknown ones."""
    letters = "".join(letter for letter in key if letter.isalpha())
    return "ntamx" in letters or letters.endswith("mx")


def _ntamx(field: Field) -> tuple[int, str] | Reason:
    found = _NTAMX.fullmatch(field.value) if field.key == "ntamx" and field.value else None
    if found is None or int(found[1]) > 65535:
        shown = field.key if field.value is None else f"{field.key}={field.value}"
        return reason(Code.NTAMX_MALFORMED, shown)
    host = found[2].lower()
    # Some letters outside ASCII have a lower case inside it.
    if not found[2].isascii() or not is_host_name(host):
        return reason(Code.NTAMX_HOST_INVALID, found[2])
    return int(found[1]), host


def _month(values: dict[str, str], key: str, missing: Code, malformed: Code, faults: list[Reason]) -> str:
    """The month as ``YYYY-MM``, or an empty string and a fault."""
    if key not in values:
        faults.append(reason(missing))
        return ""
    found = _MONTH.fullmatch(values[key])
    if found is None or not (MINYEAR <= int(found[1]) <= MAXYEAR and 1 <= int(found[2]) <= 12):
        faults.append(reason(malformed, values[key]))
        return ""
    return values[key]


def _in_order(hosts: list[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Lowest preference first, equal ones as written, each host once."""
    lowest: dict[str, int] = {}
    for preference, host in sorted(hosts, key=lambda each: each[0]):
        lowest.setdefault(host, preference)
    return tuple((preference, host) for host, preference in lowest.items())


def _once(reasons: list[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))[:REASON_LIMIT]
