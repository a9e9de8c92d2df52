"""The NTA 7516 record among a domain's TXT records: which of them counts, and what it says.

The grammar of one version is a module in ``versions``; here is what all versions share: how a record is
recognised and what several records mean together.
"""

from __future__ import annotations

from collections.abc import Iterable

from nta_milter.compliance.codes import Code
from nta_milter.compliance.reasons import reason
from nta_milter.compliance.report import Reason
from nta_milter.compliance.versions import VERSIONS
from nta_milter.compliance.versions.fields import Reading, split

PREFIX = b"v=nta7516"
LENGTH_LIMIT = 2048
"""Longest record that is read, in bytes."""


def read_records(texts: Iterable[bytes]) -> Reading:
    """Read the record among TXT records, the character-strings of each already joined.

    Records that say the same count as one; of several different ones none is believed.
    """
    known: dict[str, set[bytes]] = {}
    others: dict[bytes, Reason] = {}
    mentioned = False
    for text in texts:
        stripped = _strip(text)
        if stripped[: len(PREFIX)].lower() == PREFIX:
            version = _version(stripped)
            if version in VERSIONS:
                known.setdefault(version, set()).add(stripped)
            else:
                others[stripped] = reason(_fault(version), _shown(stripped))
        elif PREFIX[2:] in stripped[:LENGTH_LIMIT].lower():
            mentioned = True
    if not known:
        absent = [reason(Code.RECORD_ABSENT)] if not others else []
        remarks = [reason(Code.RECORD_UNRECOGNISED)] if mentioned else []
        return Reading(None, (*absent, *others.values(), *remarks))
    newest = max(known, key=list(VERSIONS).index)
    remarks = [reason(Code.RECORD_IGNORED, _shown(text)) for text in sorted(others)]
    readings = [_read(text, newest) for text in sorted(known[newest])]
    first = readings[0]
    if len(readings) > 1 and (first.record is None or any(each.record != first.record for each in readings)):
        return Reading(None, (reason(Code.RECORD_AMBIGUOUS, f"{len(readings)} records"), *remarks))
    return Reading(first.record, (*first.reasons, *remarks))


def _read(text: bytes, version: str) -> Reading:
    if len(text) > LENGTH_LIMIT:
        return Reading(None, (reason(Code.RECORD_TOO_LONG, f"{len(text)} bytes"),))
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        return Reading(None, (reason(Code.RECORD_NOT_TEXT, f"byte {error.start + 1}"),))
    decoded = decoded.replace("\t", " ")
    if not decoded.isprintable():
        return Reading(None, (reason(Code.RECORD_NOT_TEXT),))
    return VERSIONS[version](split(decoded))


def _strip(text: bytes) -> bytes:
    """Without outer blanks and one pair of literal quotes, which some control panels add."""
    text = text.strip(b" \t")
    if len(text) > 1 and text[:1] == text[-1:] == b'"':
        text = text[1:-1].strip(b" \t")
    return text


def _version(text: bytes) -> str:
    """What stands between ``v=NTA7516`` and the first semicolon; empty for the 2019 draft."""
    return text[len(PREFIX) : LENGTH_LIMIT].partition(b";")[0].rstrip().decode("ascii", "replace")


def _fault(version: str) -> Code:
    if not version:
        return Code.RECORD_DRAFT
    number = version.removeprefix("-")
    if number != version and number.isascii() and number.isdigit():
        return Code.RECORD_VERSION_UNSUPPORTED
    return Code.RECORD_VERSION_MALFORMED


def _shown(text: bytes) -> str:
    return text[:80].decode("ascii", "replace")
