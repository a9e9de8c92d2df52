"""``nta-milter config``: check the configuration, and show what is in force and where it came from."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nta_milter.cli.options import EXIT_USAGE, add_config, add_json, loaded
from nta_milter.config.describe import effective, plain, toml
from nta_milter.config.load import Loaded, load
from nta_milter.config.model import Settings
from nta_milter.config.source import Place, dotted
from nta_milter.errors import ConfigurationError
from nta_milter.policy.sensitivity import SensitivityRules
from nta_milter.store.database import Database

DEFAULT = "default"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``config check`` and ``config show``."""
    family = commands.add_parser(
        "config",
        help="check or show the configuration",
        description="Check the configuration, or show what is in force.",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="name every mistake of a configuration file",
        description="Read a configuration file and its drop-ins (conf.d/*.toml beside it) and name every "
        "mistake with its file and line, then what it names and is not there yet. Exit status 0 if there is "
        "no mistake, 2 otherwise.",
    )
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the file; the one in force if left out"
    )
    add_json(check)
    check.set_defaults(run=_check)
    show = actions.add_parser(
        "show",
        help="print every setting, its unit and where its value came from",
        description="Print every setting in force as TOML, with its unit and the file and line that gave it.",
    )
    add_config(show)
    add_json(show)
    show.set_defaults(run=_show)


def _check(arguments: argparse.Namespace) -> int:
    if not arguments.json:
        result = _checked(arguments.file)
        print(f"{', '.join(str(file) for file in result.files)}: no mistakes")
        for place, path in _absent(result.settings):
            print(f"not there yet, or not for you to see: {place}: {path}")
        return 0
    problems: tuple[ConfigurationError, ...] = ()
    files: tuple[Path, ...] = ()
    absent: dict[str, str] = {}
    try:
        result = _checked(arguments.file)
        files, absent = result.files, dict(_absent(result.settings))
    except ConfigurationError as error:
        problems = error.problems or (error,)
    report = {
        "files": [str(file) for file in files],
        "problems": [{"where": problem.where, "text": problem.message} for problem in problems],
        "absent": absent,
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return EXIT_USAGE if problems else 0


def _checked(file: Path | None) -> Loaded:
    """Load the configuration, and compile what the milter would compile of it.

    Raises:
        ConfigurationError: there is a mistake, or a service would not start with it.
    """
    result = load(file)
    SensitivityRules.compile(result.settings.policy)
    if not result.settings.internal.domains:
        where = str(result.files[0])
        raise ConfigurationError("internal.domains: must name at least one domain of yours", where=where)
    if result.settings.store.url:
        Database(result.settings.store.url).close()
    return result


def _absent(settings: Settings) -> Iterator[tuple[str, str]]:
    """What the settings name and is not there: the key and the path."""
    named: dict[str, Path | None] = {
        "smime.keys": settings.smime.keys,
        "smime.certificates": settings.smime.certificates,
        "smime.trust": settings.smime.trust,
        "smime.crls": settings.smime.crls,
        "milter.spool": settings.milter.spool,
        "routing.postfix": settings.routing.postfix,
    }
    if settings.store.url:
        named |= {
            "store.blobs": settings.store.blobs,
            "store.public": settings.store.public,
            "secrets.worker_key": settings.secrets.worker_key,
        }
    if settings.portal.url:
        named["secrets.portal_key"] = settings.secrets.portal_key
    for place, path in named.items():
        if path is not None and not os.path.exists(path):  # noqa: PTH110 - no error where we may not look
            yield place, str(path)


def _show(arguments: argparse.Namespace) -> int:
    result = loaded(arguments)
    print(_as_json(result) if arguments.json else "\n".join(_as_toml(result)))
    return 0


def _as_json(result: Loaded) -> str:
    entries: dict[str, dict[str, Any]] = {}
    for table, index, values in effective(result.settings):
        for key, value in values:
            place = _place(table.name, index, key.name)
            entries[dotted(place)] = {
                "value": plain(value),
                "unit": key.unit,
                "origin": _origin(result, place, value),
            }
    return json.dumps(entries, indent=2, ensure_ascii=False)


def _as_toml(result: Loaded) -> Iterator[str]:
    for table, index, values in effective(result.settings):
        if table.name:
            yield ""
            yield table.heading
        for key, value in values:
            origin = _origin(result, _place(table.name, index, key.name), value)
            comment = f"{key.unit}; {origin}" if key.unit else origin
            yield (
                f"# {key.name} has no value  # {comment}"
                if value is None
                else f"{key.name} = {toml(value)}  # {comment}"
            )


def _place(table: str, index: int | None, key: str) -> Place:
    return tuple(step for step in (table or None, index, key) if step is not None)


def _origin(result: Loaded, place: Place, value: Any) -> str:
    """Where a value came from; the entries of a table such as smime.bindings may come from several files."""
    entries = [result.origin.get(dotted((*place, name))) for name in value] if isinstance(value, dict) else []
    found = [result.origin.get(dotted(place)), *entries]
    return ", ".join(dict.fromkeys(origin for origin in found if origin)) or DEFAULT
