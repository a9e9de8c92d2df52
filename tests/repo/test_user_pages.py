"""The pages for users say what stands on the screen in the very words of the screen."""

import re
import tomllib

import pytest

from nta_milter.policy.marks import Marks
from nta_milter.portal.factors import code
from nta_milter.portal.locks import PERIOD
from nta_milter.portal.visit import IDLE, LONGEST
from tests.repo.tree import ROOT

PAGES = {"nl": "packaging/doc/gebruiker.md", "en": "packaging/doc/user.md"}
EXPLAINED = {"nl": "vet", "en": "bold"}
"""The word that shows what bold means."""
TEXTS = ("nta_milter/portal/locale", "nta_milter/outbox/texts")


def page(language: str) -> str:
    return " ".join((ROOT / PAGES[language]).read_text(encoding="utf-8").split())


def texts_of(table: dict) -> list[str]:
    found = []
    for value in table.values():
        if isinstance(value, dict):
            found += texts_of(value)
        elif isinstance(value, str):
            found.append(value)
    return found


_FILLED_IN = re.compile(r"\{\w+\}")


def screens() -> list[re.Pattern[str]]:
    """Every text of the portal and of our mails; what is filled in may be anything.

    Forms of dates are left out: they would fit every row of words.
    """
    texts = [
        text
        for folder in TEXTS
        for file in sorted((ROOT / folder).glob("*.toml"))
        for text in texts_of(tomllib.loads(file.read_text(encoding="utf-8")))
        if re.search(r"[^\W\d_]{3}", _FILLED_IN.sub(" ", text))
    ]
    assert len(texts) > 100
    return [re.compile(".+".join(map(re.escape, _FILLED_IN.split(text)))) for text in texts]


def test_no_text_of_a_screen_fits_everything():
    assert not any(text.fullmatch("Some words that stand nowhere at all") for text in screens())


@pytest.mark.parametrize("language", PAGES)
def test_what_is_bold_stands_on_a_screen(language):
    shown = screens()
    bold = set(re.findall(r"\*\*(.+?)\*\*", page(language))) - {EXPLAINED[language]}
    assert len(bold) > 20
    assert [words for words in sorted(bold) if not any(text.fullmatch(words) for text in shown)] == []


def test_both_pages_say_the_same_in_the_same_order():
    headings = {
        language: re.findall(r"^(#+) ", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        for language, path in PAGES.items()
    }
    assert headings["nl"] == headings["en"]
    rows = {language: page(language).count(" | ") for language in PAGES}
    assert rows["nl"] == rows["en"]


@pytest.mark.parametrize(
    ("language", "tag", "words"),
    [
        (
            "nl",
            "[veilig]",
            ("minstens {} tekens", "Wacht {} minuten", "na een half uur", "na acht uur", "`7KQM-X4PD`"),
        ),
        (
            "en",
            "[secure]",
            ("at least {} characters", "Wait {} minutes", "half an hour", "eight hours", "`7KQM-X4PD`"),
        ),
    ],
)
def test_numbers_and_marks_are_those_of_the_program(language, tag, words):
    shortest, wait, idle, longest, example = words
    text = page(language)
    assert shortest.format(code.SHORTEST) in text
    assert wait.format(int(PERIOD.total_seconds()) // 60) in text
    assert (IDLE.total_seconds(), LONGEST.total_seconds()) == (1800, 8 * 3600)
    assert idle in text
    assert longest in text
    assert example in text
    assert not code.is_weak(example)
    assert f"`{tag}`" in text
    assert Marks("", (tag,), (), (tag.casefold(),)).untagged(f"Afspraak {tag}") == "Afspraak"
