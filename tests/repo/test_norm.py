"""packaging/doc/norm.md holds every criterion of the norm, each with something that can be run."""

import re

import pytest

from tests.repo.pages import existing_tests, named_commands, named_tests
from tests.repo.tree import ROOT

PAGE = (ROOT / "packaging/doc/norm.md").read_text(encoding="utf-8")

CRITERIA = {
    "6.1.2": "minimale beschikbaarheid",
    "6.1.3": "maximale uitvalduur",
    "6.1.4": "maximaal gegevensverlies",
    "6.1.5": "herkomstbevestiging",
    "6.1.6": "data-integriteit",
    "6.1.7": "onweerlegbaarheid verzender",
    "6.1.8": "autorisatie verzender",
    "6.1.9": "gegevensvertrouwelijkheid",
    "6.1.10": "toegangsvertrouwelijkheid",
    "6.1.11": "communicatievertrouwelijkheid",
    "6.1.12": "verzendingsgrond",
    "6.1.13": "internationaal",
    "6.1.14": "beantwoorden",
    "6.1.15": "doorsturen",
    "6.1.16": "veiligheid als gemak",
    "6.1.17": "leesbaarheid",
    "6.1.18": "eigen kopie",
    "6.1.19": "dossierkoppeling",
    "6.4.2": "logging",
    "7.2": "multikanaalcommunicatie",
}
STATES = {"built", "partly", "yours"}

TABLE = re.findall(r"^\| ([\d.]+) \| (.+?) \| (\w+) \|$", PAGE, re.MULTILINE)
SECTIONS = {
    number: (name, text)
    for number, name, text in re.findall(
        r"^## (\d[\d.]*) (.+)\n((?:(?!^## ).*\n)+)", f"{PAGE}\n", re.MULTILINE
    )
}


def parts(number: str) -> dict[str, str]:
    """The marked points of a section by their names."""
    points = re.findall(r"^\* \*\*([\w ]+)\*\*:\s((?:(?!^\* ).*\n)+)", SECTIONS[number][1], re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in points}


def test_every_criterion_is_in_the_table_and_has_a_section_in_the_same_order():
    assert {number: name for number, name, _ in TABLE} == CRITERIA
    assert {number: name.lower() for number, (name, _) in SECTIONS.items()} == CRITERIA
    assert [number for number, _, _ in TABLE] == list(SECTIONS) == list(CRITERIA)


@pytest.mark.parametrize("number", CRITERIA)
def test_a_criterion_says_what_the_software_does_what_the_organisation_does_and_what_shows_it(number):
    found = parts(number)
    assert list(found) == ["State", "Software", "Organisation", "Shown by"]
    state = found["State"].strip()
    assert state in STATES
    assert (number, CRITERIA[number], state) in TABLE
    assert ("Not built:" in found["Software"]) == (state == "partly")
    named = named_tests(found["Shown by"])
    assert named
    assert [test for test in named if test not in existing_tests()] == []
    rest = re.sub(r"`[^`]*`", "", found["Shown by"]).replace(",", "").strip()
    assert rest == "", "what shows a criterion is a test or a command"
    assert len(named) + len(named_commands(found["Shown by"])) == found["Shown by"].count("`") // 2
