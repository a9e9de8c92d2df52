import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.tree import parsed, python

ORDER = (
    ("errors",),
    ("config",),
    ("monitor",),
    ("message", "lookup", "store"),
    ("audit", "postfix"),
    ("smime", "compliance"),
    ("policy",),
    ("outbox",),
    ("outbound", "inbound"),
    ("milter", "worker", "portal"),
    ("cli",),
)
"""The rooms from the first to the last: a room imports earlier lines only."""

RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
APART = {"portal": {"smime", "compliance", "policy"}}
"""Earlier rooms that a room must not import all the same."""

HOMES = {"Milter": "milter", "milter": "milter", "sqlalchemy": "store", "sqlite3": "store"}
HOMES |= {"starlette": "portal", "uvicorn": "portal"}
"""Libraries that one room alone may import."""

MODULES = python("nta_milter")


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each module, wherever in the code it is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def faults(room: str, tree: ast.AST) -> list[str]:
    found = []
    for line, name in imported(tree):
        package, *rest = name.split(".")
        if package == "nta_milter" and rest and rest[0] in RANK:
            other = rest[0]
            if other != room and (RANK[other] >= RANK[room] or other in APART.get(room, set())):
                found.append(f"line {line}: {room} imports {other}")
        elif HOMES.get(package, room) != room:
            found.append(f"line {line}: {package} belongs in {HOMES[package]} alone")
    return found


def room_of(path: Path) -> str:
    return path.parts[1].removesuffix(".py")


def test_every_module_is_in_a_room_of_the_order():
    rooms = {room_of(path) for path in MODULES} - {"__init__"}
    assert {"errors", "config", "message", "cli"} <= rooms
    assert rooms <= set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_rooms_import_earlier_rooms_only(path):
    if room_of(path) == "__init__":
        assert [name for _, name in imported(parsed(path)) if name.startswith("nta_milter")] == []
    else:
        assert faults(room_of(path), parsed(path)) == []


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("config", "import nta_milter.message.headers"),
        ("message", "from nta_milter.lookup.answer import Answer"),
        ("message", "from nta_milter import store"),
        ("audit", "def f():\n    from nta_milter.postfix import route"),
        ("portal", "import nta_milter.policy"),
        ("policy", "import Milter"),
        ("outbox", "from sqlalchemy import select"),
        ("cli", "import starlette.routing"),
    ],
)
def test_an_import_against_the_order_is_seen(room, code):
    assert len(set(faults(room, ast.parse(code)))) == 1


def test_an_import_along_the_order_is_fine():
    code = "import nta_milter.errors\nfrom nta_milter.smime import open\nfrom nta_milter.policy import a"
    assert faults("policy", ast.parse(code)) == []
