"""Header fields as the bytes that came in: order, case, folds and duplicates are kept (RFC 5322)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from nta_milter.errors import LimitExceeded
from nta_milter.message.buffer import Buffer

HEADER_LIMIT = 1_048_576
"""Most bytes of header fields that one entity may have; Postfix's own header_size_limit is far below."""

FIELD_LIMIT = 5_000
"""Most header fields that one entity may have."""

VALUE_LIMIT = 65_000
"""Longest value of a field that a milter can set, in octets: with its name it is one packet of 65,535."""

# A field with its folds (RFC 5322 section 2.2), a bare LF accepted; blanks before the colon are obsolete
# syntax (section 4.5). What a mailbox file puts first is no field.
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)")
_BLANK = re.compile(rb"\r?\n")
_MAILBOX_LINE = re.compile(rb">?From [^\n]*\n")


class HeaderField(NamedTuple):
    """One field. ``raw`` is what follows the colon: leading blank, CRLF folds, no final CRLF."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """The unfolded value without surrounding blanks (RFC 5322 section 2.2.3)."""
        raw = self.raw
        if b"\n" in raw:
            raw = raw.replace(b"\r\n", b"").replace(b"\n", b"")
        return raw.strip()

    def __bytes__(self) -> bytes:
        return b"%b:%b\r\n" % self


@dataclass(frozen=True, slots=True)
class Headers:
    """An immutable sequence of fields; names compare without regard to case."""

    fields: tuple[HeaderField, ...] = ()
    _by_name: dict[bytes, tuple[HeaderField, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def parse(cls, data: Buffer) -> Headers:
        """The fields at the start of ``data``, as far as the blank line or the first line that is no field.

        Raises:
            LimitExceeded: more than HEADER_LIMIT bytes or FIELD_LIMIT fields.
        """
        return split(data)[0]

    def __iter__(self) -> Iterator[HeaderField]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def by_name(self) -> dict[bytes, tuple[HeaderField, ...]]:
        """The fields of each name, in order, under the name in lower case."""
        if not self._by_name:
            found: dict[bytes, list[HeaderField]] = {}
            for each in self.fields:
                found.setdefault(each.name.lower(), []).append(each)
            # at once, for other threads
            self._by_name.update({name: tuple(fields) for name, fields in found.items()})
        return self._by_name

    def all(self, name: str) -> tuple[HeaderField, ...]:
        """Every field of this name, in order."""
        return self.by_name().get(_lower(name), ())

    def first(self, name: str) -> bytes | None:
        """The unfolded value of the first field of this name."""
        found = self.all(name)
        return found[0].value if found else None

    def without(self, names: tuple[str, ...]) -> Headers:
        """The same fields without those of the given names."""
        dropped = _all_lower(names)
        return Headers(tuple([field for field in self.fields if field.name.lower() not in dropped]))

    def only(self, names: tuple[str, ...]) -> Headers:
        """Just the fields of the given names."""
        kept = _all_lower(names)
        return Headers(tuple([field for field in self.fields if field.name.lower() in kept]))

    def add(self, name: str, value: str | bytes) -> Headers:
        """These fields and one more at the end."""
        encoded = value.encode("utf-8") if isinstance(value, str) else value
        return Headers((*self.fields, HeaderField(name.encode("ascii"), b" " + encoded)))

    def __bytes__(self) -> bytes:
        return b"".join([b"%b:%b\r\n" % field for field in self.fields])


@lru_cache(maxsize=1024)
def _lower(name: str) -> bytes:
    return name.encode("ascii").lower()


@lru_cache(maxsize=64)
def _all_lower(names: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(map(_lower, names))


def split(data: Buffer, start: int = 0, stop: int | None = None) -> tuple[Headers, int]:
    """The fields of the entity at ``data[start:stop]`` and the offset of its body (RFC 5322 section 2.1).

    A line that is neither a field nor a fold begins the body, as it does for Postfix. Folds are kept as
    CRLF, whatever they were.

    Raises:
        LimitExceeded: more than HEADER_LIMIT bytes or FIELD_LIMIT fields.
    """
    end = len(data) if stop is None else stop
    limit = min(end, start + HEADER_LIMIT)
    fields: list[HeaderField] = []
    mailbox_line = _MAILBOX_LINE.match(data, start, limit)
    position = mailbox_line.end() if mailbox_line else start
    while field := _FIELD.match(data, position, limit):
        raw = field[2].removesuffix(b"\r")
        if b"\n" in raw:
            raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        fields.append(HeaderField(field[1], raw))
        position = field.end()
        if len(fields) > FIELD_LIMIT:
            raise LimitExceeded(f"more than {FIELD_LIMIT} header fields", where=f"byte {start}")
    if position == limit < end:
        raise LimitExceeded(f"more than {HEADER_LIMIT} bytes of header fields", where=f"byte {start}")
    blank = _BLANK.match(data, position, end)
    return Headers(tuple(fields)), blank.end() if blank else position
