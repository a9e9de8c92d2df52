"""One TOML file: its values, and the line that each of them stands on.

``tomllib`` names a line for syntax errors only. A statement of TOML ends at the first line end outside of
strings and brackets and parses on its own: the keys it yields stand where it begins.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nta_milter.errors import ConfigurationError

SIZE_LIMIT = 1_048_576
"""Longest file that is read, in bytes: longer ones are something else than a configuration."""

Place = tuple[str | int, ...]
"""Where a value stands: the names of tables and keys, and the positions in arrays of tables."""

_AT_LINE = re.compile(r" ?\(at line (\d+), column (\d+)\)$")
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[{\]}\n]",
    re.DOTALL,
)
"""What may hold or end a line: strings, comments, brackets and line ends."""
_WORD = re.compile(r"[A-Za-z/@][^\s,\]}#]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Source:
    """One parsed file; ``lines`` counts from 1."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[Place, int]

    def where(self, place: Place) -> str:
        """``FILE:LINE`` of a value, or of the nearest table around it."""
        while place:
            if place in self.lines:
                return f"{self.path}:{self.lines[place]}"
            place = place[:-1]
        return str(self.path)


def dotted(place: Place) -> str:
    """A place in words: ``rules[0].sender``; names that TOML would quote are quoted."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if _BARE.fullmatch(step) else '"' + step.replace('"', '\\"') + '"'
            text += f".{name}" if text else name
    return text


def read(path: Path) -> Source:
    """Read and parse one file.

    Raises:
        ConfigurationError: it cannot be read, is not UTF-8, or is not TOML; ``where`` has the line.
    """
    text = _text(path)
    try:
        values = tomllib.loads(text)
        return Source(path, values, _lines(text))
    except RecursionError:
        raise ConfigurationError("is nested too deep", where=str(path)) from None
    except ValueError as error:  # TOMLDecodeError, and numbers longer than Python converts
        raise _syntax_error(path, text, str(error)) from None


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigurationError("is not a regular file", where=str(path))
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        root = "; run it as root" if isinstance(error, PermissionError) else ""
        raise ConfigurationError(f"cannot be read: {error.strerror}{root}", where=str(path)) from None
    except ValueError as error:  # a NUL in the name
        raise ConfigurationError(f"cannot be read: {error}", where=repr(str(path))) from None
    if len(content) > SIZE_LIMIT:
        raise ConfigurationError(f"is longer than {SIZE_LIMIT} bytes", where=str(path))
    if content.startswith(b"\xef\xbb\xbf"):
        raise ConfigurationError(
            "begins with a byte order mark; save it as UTF-8 without one", where=f"{path}:1"
        )
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"is not UTF-8: byte 0x{content[error.start]:02x}", where=f"{path}:{line}"
        ) from None


def _syntax_error(path: Path, text: str, message: str) -> ConfigurationError:
    found = _AT_LINE.search(message)
    if found is not None:
        line, column = int(found[1]), int(found[2])
        word = _WORD.match(text.split("\n")[line - 1][column - 1 :])
        hint = (
            f'; a text stands in quotes: "{word[0]}"' if word and message.startswith("Invalid value") else ""
        )
        message = f"{message[: found.start()]}, column {column}{hint}"
    else:
        line = text.rstrip().count("\n") + 1
        message = message.removesuffix(" (at end of document)")
    return ConfigurationError(f"is not TOML: {message}", where=f"{path}:{line}")


def _lines(text: str) -> dict[Place, int]:
    """The line of every table and key of a text that is known to be TOML."""
    lines: dict[Place, int] = {}
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, statement in _statements(text):
        values = tomllib.loads(statement)
        if statement.lstrip(" \t").startswith("["):
            table = _enter(values, counts)
            lines.setdefault(table, number)
        else:
            for place in _places(values):
                lines.setdefault(table + place, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each statement with the number of its first line."""
    begin, number, depth = 0, 1, 0
    for token in _TOKEN.finditer(f"{text}\n"):
        mark = token[0]
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        elif mark == "\n" and depth == 0:
            statement = text[begin : token.start()]
            if statement.strip() and not statement.lstrip().startswith("#"):
                yield number, statement
            number += statement.count("\n") + 1
            begin = token.end()


def _enter(header: Mapping[str, Any], counts: dict[Place, int]) -> Place:
    """The place that ``[a.b]`` or ``[[a.b]]`` opens; arrays of tables are entered at their last element."""
    place: Place = ()
    value: Any = header
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        place += (name,)
        if isinstance(value, list):
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place += (counts[place],)
    return place


def _places(values: Mapping[str, Any], around: Place = ()) -> Iterator[Place]:
    for name, value in values.items():
        place = (*around, name)
        yield place
        tables = value if isinstance(value, list) else ()
        for index, element in enumerate(tables):
            if isinstance(element, dict):
                yield (*place, index)
                yield from _places(element, (*place, index))
        if isinstance(value, dict):
            yield from _places(value, place)
