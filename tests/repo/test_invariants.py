"""The invariants of packaging/doc/invariants.md and the tests that are named after them."""

import ast
import re
from pathlib import Path

import pytest

from tests.repo.test_imports import imported
from tests.repo.tree import ROOT, parsed, python

ROW = re.compile(r"^\| (\d+) \| \*\*(.+?)\*\*(.*?) \| (.+?) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
COUNT = 14
NOT_BUILT = "not yet built: "

TABLE = {
    int(number): proof
    for number, _, _, proof in ROW.findall((ROOT / "packaging/doc/invariants.md").read_text(encoding="utf-8"))
}
TESTS = {
    (str(path), node.name)
    for path in python("tests")
    for node in ast.walk(parsed(path))
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_invariant_")
}


def test_the_table_has_every_invariant():
    assert list(TABLE) == list(range(1, COUNT + 1))


@pytest.mark.parametrize("number", TABLE)
def test_an_invariant_is_proven_by_tests_named_after_it_or_said_to_be_not_yet_built(number):
    proof = TABLE[number]
    named = NAMED.findall(proof)
    own = {(path, name) for path, name in TESTS if name.startswith(f"test_invariant_{number}_")}
    if proof.startswith(NOT_BUILT):
        assert len(proof) > len(NOT_BUILT) + 20
        assert own == set()
    else:
        assert named
        assert set(named) <= own


def test_every_test_named_after_an_invariant_names_one_of_the_table():
    assert {int(name.split("_")[2]) for _, name in TESTS} <= set(TABLE)


ALLOWED = {
    "nta_milter.errors",
    "nta_milter.milter.actions",
    "nta_milter.milter.job",
    "nta_milter.milter.service",
    "nta_milter.milter.session",
    "nta_milter.milter.stream",
    "nta_milter.policy.client",
    "nta_milter.policy.outcome",
}
"""What callbacks may know: who carries out, who works, and the values between them."""


def test_invariant_12_callbacks_do_not_compute():
    tree = parsed(Path("nta_milter/milter/callbacks.py"))
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for _, name in imported(tree) if name.startswith("nta_milter") and name in froms}
    assert ours
    assert ours <= ALLOWED
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not {call for call in calls if call.startswith(("log.", "logging.info", "logging.warning"))}
    assert not {call for call in calls if call.split(".")[-1] in {"query", "decrypt", "encrypt", "sign"}}
