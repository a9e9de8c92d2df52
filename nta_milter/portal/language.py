"""The words of the pages: a table per language, and which language a visitor gets.

A language is a file ``locale/CODE.toml``; adding one needs no code and no compiler.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from pathlib import Path

LOCALE = Path(__file__).with_name("locale")

_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?")
_HEADER_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its code (RFC 5646) and its texts by ``section.name``."""

    code: str
    texts: Mapping[str, str]
    weekdays: tuple[str, ...]
    months: tuple[str, ...]

    def __call__(self, name: str, /, **words: object) -> str:
        """The text of that name with its words filled in; with ``count`` it is singular or plural."""
        if name not in self.texts and "count" in words:
            name += "_one" if words["count"] == 1 else "_other"
        text = self.texts[name]
        return text.format(**words) if words else text

    def moment(self, at: datetime, zone: tzinfo) -> str:
        """Day and time of day in ``zone``."""
        return self._written("language.moment", at.astimezone(zone))

    def date(self, at: datetime, zone: tzinfo) -> str:
        """The day in ``zone``."""
        return self._written("language.date", at.astimezone(zone))

    def size(self, count: int) -> str:
        """A number of bytes in decimal units (kB = 1000 bytes)."""
        if count < 1000:
            return f"{count} B"
        number, unit = next(
            (count / scale, unit)
            for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
            if count >= scale * 0.9995 or unit == "kB"
        )
        digits = f"{number:.1f}" if number < 9.95 else f"{number:.0f}"
        return f"{digits.replace('.', self.texts['language.decimal'])} {unit}"

    def _written(self, form: str, at: datetime) -> str:
        return self.texts[form].format(
            weekday=self.weekdays[at.weekday()],
            day=at.day,
            month=self.months[at.month - 1],
            year=at.year,
            hour=f"{at.hour:02d}",
            minute=f"{at.minute:02d}",
        )


@cache
def languages() -> Mapping[str, Language]:
    """Every language there is, by its code."""
    return {file.stem: _read(file) for file in sorted(LOCALE.glob("*.toml"))}


def choose(wishes: tuple[str | None, ...], accepted: str, default: str) -> Language:
    """The first wish that exists, else the best of an Accept-Language field (RFC 9110 section 12.5.4)."""
    known = languages()
    for code in (*wishes, *_accepted(accepted), default):
        if code is not None and code in known:
            return known[code]
    return next(iter(known.values()))


def _accepted(field: str) -> list[str]:
    ranges = [_RANGE.fullmatch(item) for item in field[:_HEADER_LENGTH].split(",")]
    weighted = [(float(found[2] or 1), found[1].lower()) for found in ranges if found]
    return [code for weight, code in sorted(weighted, key=lambda item: -item[0]) if weight > 0]


def _read(file: Path) -> Language:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    texts: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for section, entries in tables.items():
        for name, value in entries.items():
            if isinstance(value, list):
                lists[name] = tuple(value)
            else:
                texts[f"{section}.{name}"] = value
    return Language(file.stem, texts, lists["weekdays"], lists["months"])
