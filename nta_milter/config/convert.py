"""From TOML's values to the model's: every value is checked by the type hint and the range of its key."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from nta_milter.config.describe import Key, Table, allowed, number, tables, toml
from nta_milter.config.key import IPNetwork
from nta_milter.config.source import Place, Source, dotted
from nta_milter.errors import ConfigurationError


@dataclass(frozen=True)
class Given:
    """A value and the ``FILE:LINE`` that gave it."""

    value: Any
    where: str


Tree = dict[str, Any]
"""Tables as dicts, arrays of tables as lists, and ``Given`` at the leaves."""


class Conversion:
    """One file's tree, with every mistake found on the way in ``problems``.

    A key whose value is wrong stays in the tree, so that it is not called missing too.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[ConfigurationError] = []
        top, *others = tables()
        self._tables = {table.name: table for table in others}
        self.tree: Tree = {}
        for name, value in source.values.items():
            if name in self._tables:
                self._enter(self._tables[name], value)
            else:
                self._member(top, name, value, (name,), self.tree)

    def _enter(self, table: Table, value: Any) -> None:
        place: Place = (table.name,)
        if table.array:
            if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
                self._wrong(place, f"{_kind(value)} cannot stand here; begin each entry with {table.heading}")
                return
            self.tree[table.name] = [
                self._members(table, element, (*place, index)) for index, element in enumerate(value)
            ]
        elif isinstance(value, dict):
            self.tree[table.name] = self._members(table, value, place)
        else:
            self._wrong(place, f"{_kind(value)} cannot stand here; {table.heading} is a table")

    def _members(self, table: Table, values: Mapping[str, Any], place: Place) -> Tree:
        tree: Tree = {}
        for name, value in values.items():
            self._member(table, name, value, (*place, name), tree)
        return tree

    def _member(self, table: Table, name: str, value: Any, place: Place, tree: Tree) -> None:
        key = next((key for key in table.keys if key.name == name), None)
        if key is None:
            self._wrong(place, _unknown(table, name))
        elif get_origin(key.hint) is dict and isinstance(value, dict):
            inner = get_args(key.hint)[1]
            tree[name] = {entry: self._leaf(inner, v, (*place, entry)) for entry, v in value.items()}
        else:
            tree[name] = self._leaf(key.hint, value, place, key)

    def _leaf(self, hint: Any, value: Any, place: Place, key: Key | None = None) -> Given:
        converted = None
        try:
            converted = _convert(hint, value)
            if key is not None:
                _in_range(key, converted)
        except ValueError as error:
            self._wrong(place, str(error))
        return Given(converted, self.source.where(place))

    def _wrong(self, place: Place, sentence: str) -> None:
        self.problems.append(
            ConfigurationError(f"{dotted(place)}: {sentence}", where=self.source.where(place))
        )


def missing(tree: Tree) -> Iterator[tuple[Place, Key]]:
    """The keys without a default that nobody gave."""
    for table in tables():
        branch = tree.get(table.name, [] if table.array else {}) if table.name else tree
        for index, element in enumerate(branch if table.array else [branch]):
            start: Place = (table.name, index) if table.array else (table.name,)
            for key in table.keys:
                if key.required and key.name not in element:
                    yield (*start, key.name), key


def _unknown(table: Table, name: str) -> str:
    names = [key.name for key in table.keys]
    if not table.name:
        names += [other.name for other in tables() if other.name]
    if close := difflib.get_close_matches(name, names, n=1):
        return f"unknown key; did you mean {close[0]}?"
    homes = [
        other.heading
        for other in tables()
        if other.name and other != table and any(key.name == name for key in other.keys)
    ]
    if homes:
        return f"unknown key here; it belongs in {' or '.join(homes)}"
    heading = table.heading if table.name else "the part before the first table"
    return f"unknown key; {heading} may have: {', '.join(names)}"


def _in_range(key: Key, value: Any) -> None:
    low, high = key.minimum, key.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{number(value)} is out of range; {key.allowed} is needed")


def _convert(hint: Any, value: Any) -> Any:
    """The value as ``hint`` wants it.

    Raises:
        ValueError: it is something else; the message says what is allowed.
    """
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            written = f"; write [{toml(value)}]" if isinstance(value, str) else ""
            raise ValueError(f"{_kind(value)} cannot stand here; {allowed(hint)}{written}")
        return tuple(_convert(get_args(hint)[0], element) for element in value)
    if get_origin(hint) is Literal:
        return _choice(hint, value)
    converters: dict[Any, Callable[[Any], Any]] = {
        str: _text,
        int: _integer,
        float: _number,
        bool: _boolean,
        Path: _path,
        IPNetwork: _network,
    }
    converter = converters.get(hint)
    if converter is None:
        raise ValueError(f"{_kind(value)} cannot stand here; {allowed(hint)}")
    return converter(value)


def _choice(hint: Any, value: Any) -> str:
    choices = get_args(hint)
    if isinstance(value, str) and value in choices:
        return value
    close = difflib.get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    guess = f"; did you mean {toml(close[0])}?" if close else ""
    written = toml(value) if isinstance(value, str) else _kind(value)
    raise ValueError(f"{written} is not allowed, only {allowed(hint)}{guess}")


def _needs(hint: Any, value: Any) -> ValueError:
    return ValueError(f"{_kind(value)} cannot stand here; {allowed(hint)} is needed")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _needs(str, value)
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError(f"{toml(value)} holds a control character")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _needs(int, value)
    if value.bit_length() > 63:
        raise ValueError("the number is too large")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _needs(float, value)
    try:
        converted = float(value)
    except OverflowError:
        converted = math.inf
    if not math.isfinite(converted):
        raise ValueError(f"{converted} is not a finite number")
    return converted


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _needs(bool, value)
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, str):
        raise _needs(Path, value)
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError(f"{toml(value)} is not an absolute path")
    return path


def _network(value: Any) -> IPNetwork:
    if not isinstance(value, str):
        raise _needs(IPNetwork, value)
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"{error}; {allowed(IPNetwork)} is needed") from None


def _kind(value: Any) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "text"),
        (list, "an array"),
        (dict, "a table"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "a date or time")
