"""packaging/doc/troubleshooting.md quotes what the program says: replies, log lines, texts of pages."""

import ast
import re
import tomllib
from functools import cache

import pytest

from tests.repo.pages import fault_of
from tests.repo.tree import ROOT, files, parsed, python

PAGE = (ROOT / "packaging/doc/troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (.+)\n((?:(?!^##).*\n)+)", PAGE, re.MULTILINE))
POSTFIX = {"Everything waits, and Postfix says so"}
"""Symptoms in words that are not ours."""

SPEAKS = {"tell", "tell_crash", "_tell", "log"}
"""Functions that write a log line: the event, then its values by name."""


@cache
def said() -> tuple[str, ...]:
    """Every text in the program and in its catalogues."""
    constants = [
        node.value
        for path in python("nta_milter")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    catalogues = [
        tomllib.loads((ROOT / path).read_text(encoding="utf-8"))
        for path in files()
        if path.suffix == ".toml" and path.parts[0] == "nta_milter"
    ]
    assert len(catalogues) >= 4
    return (*constants, *(text for catalogue in catalogues for text in leaves(catalogue)))


def leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in leaves(inner)]
    return [value] if isinstance(value, str) else []


@cache
def events() -> dict[str, set[str]]:
    """The names of the values of each event in the log."""
    found: dict[str, set[str]] = {}
    for path in python("nta_milter"):
        calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        # a function of the module's own that passes values on, and adds some
        added = {
            keyword.arg
            for call in calls
            if any(keyword.arg is None for keyword in call.keywords)
            for keyword in call.keywords
            if keyword.arg
        }
        for call in calls:
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name not in SPEAKS:
                continue
            for each in call.args:
                if isinstance(each, ast.Constant) and re.fullmatch(r"[a-z]+(-[a-z]+)*", str(each.value)):
                    given = {keyword.arg for keyword in call.keywords if keyword.arg}
                    found.setdefault(each.value, set()).update(given | (added if name == "_tell" else set()))
    assert len(found) > 20
    return found


def looked_for(section: str) -> list[str]:
    (text,) = re.findall(r"^\* \*\*Look for\*\*: ((?:(?!^\* ).*\n)+)", section, re.MULTILINE)
    return re.findall(r"`([^`]+)`", " ".join(text.split()))


def exists(words: str) -> bool:
    event = re.match(r"event=([a-z-]+)", words)
    return event[1] in events() if event else any(words in text for text in said())


def test_there_is_a_section_for_each_of_many_symptoms():
    assert len(SECTIONS) >= 30
    assert set(SECTIONS) >= POSTFIX


@pytest.mark.parametrize("symptom", SECTIONS)
def test_a_symptom_has_words_to_look_for_a_cause_and_a_mend(symptom):
    points = re.findall(r"^\* \*\*([\w ]+)\*\*: \S", SECTIONS[symptom], re.MULTILINE)
    assert points == ["Look for", "Cause", "Mend"]


@pytest.mark.parametrize("symptom", [symptom for symptom in SECTIONS if symptom not in POSTFIX])
def test_the_words_to_look_for_stand_in_the_example_and_in_the_program(symptom):
    section = SECTIONS[symptom]
    words = looked_for(section)
    assert words
    examples = re.findall(r"^```\n(.+)\n```$", section, re.MULTILINE)
    commands = [each for each in words if each.startswith(("nta-milter ", "systemctl "))]
    assert [fault for each in commands if each.startswith("nta-milter ") and (fault := fault_of(each))] == []
    for each in words:
        if each not in commands:
            assert exists(each), f"{each!r} is said nowhere"
            assert not examples or each in examples[0]
    assert examples or commands or words[0].startswith("event=")


@pytest.mark.parametrize("line", re.findall(r"^(?:INFO|WARNING|ERROR) .*event=.*$", PAGE, re.MULTILINE))
def test_a_quoted_log_line_has_the_form_and_the_values_of_its_event(line):
    form = re.fullmatch(
        r'\w+ (?:-|[0-9A-Z]+): event=([a-z-]+)((?: \w+=(?:"(?:[^"\\]|\\.)*"|[^\s"]+))*)', line
    )
    assert form
    without_texts = re.sub(r'"(?:[^"\\]|\\.)*"', "", form[2])
    assert set(re.findall(r"(\w+)=", without_texts)) <= events()[form[1]]


def test_what_nobody_says_is_seen():
    assert not exists("compliance can not be established now")
    assert not exists("event=not-proved")
