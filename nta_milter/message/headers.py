"""Header fields as the bytes that came in: order, case, folds and duplicates are kept (RFC 5322)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One field. ``raw`` is what follows the colon: leading blank, CRLF folds, no final CRLF."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """The unfolded value without surrounding blanks (RFC 5322 section 2.2.3)."""
        return self.raw.replace(b"\r\n", b"").replace(b"\n", b"").strip()

    def __bytes__(self) -> bytes:
        return b"%b:%b\r\n" % (self.name, self.raw)


@dataclass(frozen=True, slots=True)
class Headers:
    """An immutable sequence of fields; names compare without regard to case."""

    fields: tuple[HeaderField, ...] = ()

    def __iter__(self) -> Iterator[HeaderField]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def all(self, name: str) -> tuple[HeaderField, ...]:
        """Every field of this name, in order."""
        wanted = name.encode("ascii").lower()
        return tuple(field for field in self.fields if field.name.lower() == wanted)

    def first(self, name: str) -> bytes | None:
        """The unfolded value of the first field of this name."""
        found = self.all(name)
        return found[0].value if found else None

    def without(self, names: Iterable[str]) -> Headers:
        """The same fields without those of the given names."""
        dropped = {name.encode("ascii").lower() for name in names}
        return Headers(tuple(field for field in self.fields if field.name.lower() not in dropped))

    def only(self, names: Iterable[str]) -> Headers:
        """Just the fields of the given names."""
        kept = {name.encode("ascii").lower() for name in names}
        return Headers(tuple(field for field in self.fields if field.name.lower() in kept))

    def add(self, name: str, value: str | bytes) -> Headers:
        """These fields and one more at the end."""
        encoded = value.encode("utf-8") if isinstance(value, str) else value
        return Headers((*self.fields, HeaderField(name.encode("ascii"), b" " + encoded)))

    def __bytes__(self) -> bytes:
        return b"".join(bytes(field) for field in self.fields)
