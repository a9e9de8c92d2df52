"""packaging/doc/threat-model.md: what each attacker sees, what stops him and by which test, what does not."""

import re

import pytest

from tests.repo.pages import existing_tests, named_tests
from tests.repo.test_invariants import COUNT
from tests.repo.tree import ROOT

PAGE = (ROOT / "packaging/doc/threat-model.md").read_text(encoding="utf-8")
CHAPTERS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)+)", PAGE, re.MULTILINE))
ATTACKERS = dict(re.findall(r"^### (.+)\n((?:(?!^### ).*\n)+)", CHAPTERS["Attackers"], re.MULTILINE))
POINTS = ["Sees", "Stopped by", "Not stopped"]


def test_the_page_has_its_chapters():
    assert list(CHAPTERS) == [
        "What is worth protecting",
        "Who is trusted",
        "Attackers",
        "What is not defended",
    ]
    assert len(ATTACKERS) >= 12


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_an_attacker_sees_something_is_stopped_by_something_that_is_tested_and_not_by_everything(attacker):
    points = dict(
        re.findall(r"^\* \*\*([\w ]+)\*\*:\s((?:(?!^\* ).*\n)+)", ATTACKERS[attacker], re.MULTILINE)
    )
    assert list(points) == POINTS
    assert all(len(text.split()) > 3 for text in points.values())
    named = named_tests(points["Stopped by"])
    assert named
    assert [test for test in named if test not in existing_tests()] == []


def test_every_invariant_stops_somebody():
    numbers = {int(number) for number in re.findall(r"\b[Ii]nvariant\s+(\d+)\b", PAGE)}
    assert numbers == set(range(1, COUNT + 1))


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_a_test_that_is_named_after_an_invariant_belongs_to_one_that_is_named(attacker):
    text = ATTACKERS[attacker]
    named = {int(number) for number in re.findall(r"\b[Ii]nvariant\s+(\d+)\b", text)}
    shown = {
        int(found[1]) for _, name in named_tests(text) if (found := re.match(r"test_invariant_(\d+)_", name))
    }
    assert shown <= named
