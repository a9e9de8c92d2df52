"""What the versions of the record share: fields, and the outcome of reading them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nta_milter.compliance.report import NtaRecord, Reason

_SEPARATOR = re.compile("[=:]")


@dataclass(frozen=True, slots=True)
class Field:
    """One field: ``key`` in lower case; ``value`` is None where there is neither ``=`` nor ``:``."""

    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """A valid record, perhaps with remarks, or none with at least one refusal."""

    record: NtaRecord | None
    reasons: tuple[Reason, ...]


def split(text: str) -> tuple[Field, ...]:
    """The fields of a record after its first one, ``v=…``; empty ones are dropped."""
    fields = []
    for part in text.split(";")[1:]:
        part = part.strip()
        if not part:
            continue
        found = _SEPARATOR.search(part)
        if found is None:
            fields.append(Field(part.lower(), None))
        else:
            fields.append(Field(part[: found.start()].rstrip().lower(), part[found.end() :].lstrip()))
    return tuple(fields)
