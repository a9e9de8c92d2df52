"""What no file of the project may hold."""

import ast
import re

import pytest

from tests.repo.tree import ROOT, files, parsed, python, text

LINE_LIMIT = 500
MODULES = python("nta_milter", "tests", "packaging")
TESTS = tuple(path for path in python("tests") if path.name.startswith("test_"))
OPEN_ENDS = (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"))
STRAY = {
    "an open end": re.compile("|".join(rf"\b{first}{last}\b" for first, last in OPEN_ENDS)),
    "a path of one machine": re.compile(r"[/](work|root|home[/][a-z]+)[/][a-z]"),
    "a merge mark": re.compile(r"^(<{7}|>{7}) ", re.MULTILINE),
}
SKIPPING = {"skip", "skipif", "skipunless", "xfail", "importorskip", "skiptest", "exit"}
VAGUE = {"utils", "util", "helpers", "helper", "manager", "misc", "common", "stuff"}
BINARY = {".p12", ".pfx", ".der", ".png", ".pdf", ".docx", ".xlsx", ".odt", ".zip", ".p7m", ".eml", ".bin"}


def readable():
    return [path for path in files() if path.suffix not in BINARY]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_has_at_most_five_hundred_lines(path):
    assert text(path).count("\n") <= LINE_LIMIT


@pytest.mark.parametrize("words", STRAY)
def test_no_file_holds(words):
    found = {}
    for path in readable():
        content = (ROOT / path).read_bytes().decode("utf-8", "replace")
        if match := STRAY[words].search(content):
            found[str(path)] = match[0]
    assert found == {}


def test_no_module_has_a_name_that_says_nothing():
    assert [str(path) for path in MODULES if path.stem in VAGUE] == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_exception_is_caught_without_a_name(path):
    bare = [
        node.lineno
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert bare == []


def skips(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.lower() in SKIPPING:
            root = node
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in {"pytest", "unittest", "mark"}:
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module in {"pytest", "unittest"}:
            yield from (node.lineno for alias in node.names if alias.name.lower() in SKIPPING)


@pytest.mark.parametrize("path", python("tests"), ids=str)
def test_no_test_is_skipped_or_expected_to_fail(path):
    assert list(skips(parsed(path))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pytest\n@pytest.mark.skipif(True)\ndef test(): ...",
        "import pytest\ndef test(): pytest.skip('later')",
        "from pytest import importorskip",
        "import unittest\nraise unittest.SkipTest()",
    ],
)
def test_a_skip_in_any_form_is_seen(code):
    assert len(list(skips(ast.parse(code)))) == 1


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_nothing_is_mocked(path):
    names = {
        name
        for node in ast.walk(parsed(path))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not {name for name in names if name.split(".")[-1] in {"mock", "pytest_mock"}}


def asserts(function, functions):
    """Whether a test, or a function of its module that it calls, asserts something."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "raises" or name.startswith("assert_"):
                return True
            called = functions.pop(name, None)
            if called is not None and asserts(called, functions):
                return True
    return False


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_every_test_asserts_something(path):
    functions = {n.name: n for n in ast.walk(parsed(path)) if isinstance(n, ast.FunctionDef)}
    idle = [
        name
        for name, function in functions.items()
        if name.startswith("test_") and not asserts(function, dict(functions))
    ]
    assert idle == []


def test_names_of_tests_are_not_given_twice_in_a_module():
    for path in TESTS:
        names = [node.name for node in parsed(path).body if isinstance(node, ast.FunctionDef)]
        assert len(names) == len(set(names)), path
