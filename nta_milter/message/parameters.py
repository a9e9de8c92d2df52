"""Content-Type and Content-Disposition: a value and its parameters (RFC 2045 section 5.1, RFC 2231)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from nta_milter.message.charset import decode_text, decode_words

PARAMETER_LIMIT = 200
"""Most parameters of one field; more make it ambiguous."""

_CACHED_LENGTH = 512
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})

_COMMENT = re.compile(rb"\([^()]*\)")
_PARAMETER = re.compile(rb';\s*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)|([^;"]*))', re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_EXTENDED_NAME = re.compile(r"([^*]+)(?:\*([0-9]{1,3}))?(\*)?")


@dataclass(frozen=True, slots=True)
class Structured:
    """A field's value, lower case, and its parameters with names in lower case.

    ``boundary`` is that parameter as the bytes it was. ``ambiguous`` says that a parameter stands twice
    with different values, the boundary in two notations, or that there are too many: readers may differ
    about what it means.
    """

    value: str
    parameters: Mapping[str, str]
    boundary: bytes = b""
    ambiguous: bool = False


ABSENT = Structured("", _NO_PARAMETERS)


def structured(raw: bytes) -> Structured:
    """Take an unfolded field value apart; never raises, what cannot be read is left out."""
    return _cached(raw) if len(raw) <= _CACHED_LENGTH else _parse(raw)


@lru_cache(maxsize=512)
def _cached(raw: bytes) -> Structured:
    return _parse(raw)


def _parse(raw: bytes) -> Structured:
    head = raw.partition(b";")[0]
    value = _COMMENT.sub(b"", head).strip().lower().decode("ascii", "replace")
    first: dict[str, bytes] = {}
    pieces: dict[str, dict[int, tuple[bytes, bool]]] = {}
    ambiguous = False
    for count, (name, content) in enumerate(islice(_pairs(raw), PARAMETER_LIMIT + 1)):
        if count == PARAMETER_LIMIT or first.setdefault(name, content) != content:
            ambiguous = True
            continue
        extended = _EXTENDED_NAME.fullmatch(name)
        if extended is not None and "*" in name:
            base, index, encoded = extended.groups()
            pieces.setdefault(base, {}).setdefault(int(index or 0), (content, bool(encoded)))
    parameters = {name: decode_words(content) for name, content in first.items() if "*" not in name}
    for base, numbered in pieces.items():
        parameters[base] = _join(numbered)
    ambiguous |= "boundary" in first and "boundary" in pieces
    boundary = first.get("boundary", b"") or parameters.get("boundary", "").encode("utf-8", "replace")
    return Structured(value, MappingProxyType(parameters), boundary, ambiguous)


def _pairs(raw: bytes) -> Iterator[tuple[str, bytes]]:
    for found in _PARAMETER.finditer(raw):
        name, quoted, plain = found.groups()
        if quoted is not None:
            content = _QUOTED_PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        else:
            content = plain.strip()
            if content.endswith(b")"):  # charset=us-ascii (Plain text)
                content = content.partition(b" (")[0].rstrip()
        yield name.decode("ascii", "replace").lower(), content


def _join(numbered: dict[int, tuple[bytes, bool]]) -> str:
    """The pieces 0, 1, 2 … as one text (RFC 2231 sections 3 and 4)."""
    charset = ""
    joined = b""
    for index in range(len(numbered)):
        if index not in numbered:
            break
        content, encoded = numbered[index]
        if encoded:
            if index == 0 and content.count(b"'") >= 2:
                name, _, content = content.split(b"'", 2)
                charset = name.decode("ascii", "replace")
            content = unquote_to_bytes(content)
        joined += content
    return decode_text(joined, charset)
