"""Finds, reads and joins the configuration files and makes the frozen settings of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nta_milter.config.check import impossible
from nta_milter.config.convert import Conversion, Given, Tree, missing
from nta_milter.config.describe import members, table_class
from nta_milter.config.model import Settings
from nta_milter.config.source import Place, dotted, read
from nta_milter.errors import ConfigurationError

DEFAULT_FILE = Path("/etc/nta-milter/nta-milter.toml")
ENVIRONMENT = "NTA_MILTER_CONFIG"
DROP_INS = "conf.d"


@dataclass(frozen=True)
class Loaded:
    """The settings and where they came from.

    ``origin`` maps a key (``rules[0].sender``) to ``FILE:LINE``; a key that it does not have stands at its
    default. ``files`` are those that were read, in order.
    """

    settings: Settings
    origin: Mapping[str, str]
    files: tuple[Path, ...]


def locate(path: Path | None) -> Path:
    """The main file: ``path``, else ``$NTA_MILTER_CONFIG``, else /etc/nta-milter/nta-milter.toml."""
    if path is not None:
        return path
    return Path(os.environ.get(ENVIRONMENT) or DEFAULT_FILE)


def load(path: Path | None = None) -> Loaded:
    """Read the main file and the drop-ins ``conf.d/*.toml`` beside it, in the order of their names.

    A key of a later file replaces that of an earlier one, keys of tables join, arrays of tables
    (``[[rules]]``) are appended.

    Raises:
        ConfigurationError: with every mistake found in ``problems``; nothing else is ever raised.
    """
    main = locate(path)
    problems: list[ConfigurationError] = []
    tree: Tree = {}
    files: list[Path] = []
    for file in (main, *_drop_ins(main, problems)):
        try:
            conversion = Conversion(read(file))
        except ConfigurationError as error:
            problems.append(error)
            continue
        files.append(file)
        problems += conversion.problems
        tree = _merge(tree, conversion.tree)
    if main in files:
        problems += _missing(tree, main)
    if problems:
        raise ConfigurationError.of(problems)
    origin: dict[str, str] = {}
    settings: Settings = _build(Settings, tree, (), origin)
    problems = [
        ConfigurationError(f"{dotted(place)}: {sentence}", where=_where(place, origin, main))
        for place, sentence in impossible(settings)
    ]
    if problems:
        raise ConfigurationError.of(problems)
    return Loaded(settings, MappingProxyType(origin), tuple(files))


def _drop_ins(main: Path, problems: list[ConfigurationError]) -> list[Path]:
    folder = main.parent / DROP_INS
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.append(ConfigurationError(f"cannot be read: {reason}", where=repr(str(folder))))
        return []
    return [folder / name for name in names if name.endswith(".toml") and name[0] != "."]


def _missing(tree: Tree, main: Path) -> list[ConfigurationError]:
    return [
        ConfigurationError(f"{dotted(place)} is missing: {key.allowed} ({key.text})", where=str(main))
        for place, key in missing(tree)
    ]


def _merge(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        joined = dict(first)
        for name, value in second.items():
            joined[name] = _merge(first[name], value) if name in first else value
        return joined
    if isinstance(first, list) and isinstance(second, list):
        return first + second
    return second


def _build(settings: type, tree: Tree, place: Place, origin: dict[str, str]) -> Any:
    """An instance of a class of the model from its branch of the tree; notes each value's origin."""
    values: dict[str, Any] = {}
    for name, (_, hint) in members(settings).items():
        inner, array = table_class(hint)
        here: Place = (*place, name)
        if inner is not None and array and name in tree:
            values[name] = tuple(
                _build(inner, element, (*here, index), origin) for index, element in enumerate(tree[name])
            )
        elif inner is not None and not array:
            values[name] = _build(inner, tree.get(name, {}), here, origin)
        elif name in tree:
            values[name] = _leaf(hint, tree[name], here, origin)
    return settings(**values)


def _leaf(hint: Any, branch: Given | Tree, place: Place, origin: dict[str, str]) -> Any:
    if isinstance(branch, Given):
        origin[dotted(place)] = branch.where
        return branch.value
    return {name: _leaf(hint, given, (*place, name), origin) for name, given in branch.items()}


def _where(place: Place, origin: Mapping[str, str], main: Path) -> str:
    return origin.get(dotted(place), str(main))
