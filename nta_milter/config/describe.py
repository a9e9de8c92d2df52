"""The settings as data, read from the classes of the model: for messages, manuals and ``config show``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from nta_milter.config.key import IPNetwork
from nta_milter.config.model import Settings


@dataclass(frozen=True)
class Key:
    """One key: ``default`` is ``None`` where there is none; ``example`` is a value in TOML."""

    name: str
    hint: Any
    required: bool
    default: Any
    text: str
    unit: str | None
    example: str | None
    minimum: float | None
    maximum: float | None

    @property
    def allowed(self) -> str:
        """What may be written, in words: the kind of value, its range and its unit."""
        words = allowed(self.hint)
        unit = f" {self.unit}" if self.unit else ""
        if self.minimum is not None and self.maximum is not None:
            return f"{words} from {number(self.minimum)} to {number(self.maximum)}{unit}"
        if self.minimum is not None:
            return f"{words} of at least {number(self.minimum)}{unit}"
        return words


@dataclass(frozen=True)
class Table:
    """One table; ``name`` is empty for the keys before the first table, ``array`` means ``[[name]]``."""

    name: str
    array: bool
    text: str
    keys: tuple[Key, ...]

    @property
    def heading(self) -> str:
        """How the table begins in the file."""
        return f"[[{self.name}]]" if self.array else f"[{self.name}]"


@cache
def tables() -> tuple[Table, ...]:
    """Every table of the configuration, the keys outside of tables first."""
    top: list[Key] = []
    found: list[Table] = []
    for name, (field, hint) in members(Settings).items():
        inner, array = table_class(hint)
        if inner is None:
            top.append(_key(field, hint))
        else:
            keys = tuple(_key(*member) for member in members(inner).values())
            found.append(Table(name, array, field.metadata["text"], keys))
    return (Table("", False, "keys before the first table", tuple(top)), *found)


@cache
def members(settings: type) -> dict[str, tuple[Field[Any], Any]]:
    """The fields of a class of the model with their types."""
    hints = get_type_hints(settings)
    return {field.name: (field, without_none(hints[field.name])) for field in fields(settings)}


def table_class(hint: Any) -> tuple[type | None, bool]:
    """The class of a table or of an array of tables (then ``True``); ``None`` for an ordinary key."""
    array = get_origin(hint) is tuple
    element = get_args(hint)[0] if array else hint
    return (element, array) if isinstance(element, type) and is_dataclass(element) else (None, False)


def without_none(hint: Any) -> Any:
    """The type of a key that may be absent."""
    if get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint):
        (hint,) = (choice for choice in get_args(hint) if choice is not NoneType)
    return hint


def allowed(hint: Any) -> str:
    """What a type allows, in words."""
    simple = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Path: "an absolute path",
        IPNetwork: "a network such as 192.0.2.0/24",
    }
    if hint in simple:
        return simple[hint]
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(toml(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return f"an array, each element: {allowed(get_args(hint)[0])}"
    return f"a table, each value: {allowed(get_args(hint)[1])}"


def number(value: float) -> str:
    """A number as a person writes it in the file."""
    return f"{int(value):_}" if value == int(value) else str(value)


def toml(value: Any) -> str:
    """A value of the model as it is written in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml(element) for element in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{toml(name)} = {toml(element)}" for name, element in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def plain(value: Any) -> Any:
    """A value of the model as JSON has it."""
    if isinstance(value, tuple):
        return [plain(element) for element in value]
    if isinstance(value, dict):
        return {name: plain(element) for name, element in value.items()}
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def effective(settings: Settings) -> Iterator[tuple[Table, int | None, tuple[tuple[Key, Any], ...]]]:
    """The tables of one configuration, with the position in an array of tables and each key's value."""
    for table in tables():
        owner: Any = getattr(settings, table.name) if table.name else settings
        for index, element in enumerate(owner if table.array else (owner,)):
            values = tuple((key, getattr(element, key.name)) for key in table.keys)
            yield table, index if table.array else None, values


def _key(field: Field[Any], hint: Any) -> Key:
    factory = field.default_factory
    default = field.default
    if default is MISSING and factory is not MISSING:
        default = factory()
    required = default is MISSING
    metadata = field.metadata
    return Key(
        name=field.name,
        hint=hint,
        required=required,
        default=None if required else default,
        text=metadata["text"],
        unit=metadata.get("unit"),
        example=metadata.get("example"),
        minimum=metadata.get("minimum"),
        maximum=metadata.get("maximum"),
    )
