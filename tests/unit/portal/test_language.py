import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nta_milter.portal
from nta_milter.portal.language import choose, languages

ROOM = Path(nta_milter.portal.__file__).parent
AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def words(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


def test_every_language_has_the_same_texts_with_the_same_words():
    known = languages()
    assert {"nl", "en"} <= set(known)
    dutch = known["nl"]
    for language in known.values():
        assert set(language.texts) == set(dutch.texts), language.code
        for name, text in language.texts.items():
            assert text.strip() == text or name == "reply.prefix", name
            assert text, name
            assert words(text) == words(dutch.texts[name]), name
        assert (len(language.weekdays), len(language.months)) == (7, 12)


def test_every_text_is_used_and_every_used_text_exists():
    sources = [*ROOM.rglob("*.py"), *ROOM.rglob("*.html")]
    used: set[str] = set()
    for source in sources:
        used |= set(re.findall(r"['\"]([a-z_]+\.[a-z_]+)['\"]", source.read_text()))
    texts = set(languages()["nl"].texts)
    used |= {f"{name}_body" for name in used} & texts  # Visit.note takes both
    shown = {name.removesuffix("_one").removesuffix("_other") for name in texts}
    assert sorted(shown - used) == []
    sections = {name.partition(".")[0] for name in texts}
    files = (".html", ".eml", ".zip")
    asked = {name for name in used if name.partition(".")[0] in sections and not name.endswith(files)}
    assert sorted(asked - shown) == []


@pytest.mark.parametrize(
    ("wishes", "accepted", "expected"),
    [
        ((), "", "nl"),
        ((), "en", "en"),
        ((), "en-GB,en;q=0.9,nl;q=0.8", "en"),
        ((), "fr-CH, fr;q=0.9, nl;q=0.7, en;q=0.8", "en"),
        ((), "en;q=0, nl;q=0.1", "nl"),
        ((), "xx,*;q=0.5", "nl"),
        (("en",), "nl", "en"),
        ((None, "xx", "en"), "nl", "en"),
        (("../nl",), "en", "en"),
    ],
)
def test_a_wish_comes_before_the_browser_and_the_browser_before_the_default(wishes, accepted, expected):
    assert choose(wishes, accepted, "nl").code == expected


@given(st.text(), st.text())
def test_no_header_field_breaks_the_choice(wish, field):
    assert choose((wish,), field, "nl").code in languages()


def test_moments_are_written_in_the_zone_of_the_reader():
    at = datetime(2026, 11, 24, 23, 15, tzinfo=UTC)
    assert languages()["nl"].moment(at, AMSTERDAM) == "woensdag 25 november 2026, 00:15 uur"
    assert languages()["en"].moment(at, AMSTERDAM) == "Wednesday 25 November 2026, 00:15"
    assert languages()["nl"].date(at, AMSTERDAM) == "woensdag 25 november 2026"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1,0 kB"),
        (831_000, "831 kB"),
        (999_499, "999 kB"),
        (999_900, "1,0 MB"),
        (2_417_000, "2,4 MB"),
        (25_000_000, "25 MB"),
        (1_200_000_000, "1,2 GB"),
    ],
)
def test_sizes_are_in_decimal_units(count, expected):
    assert languages()["nl"].size(count) == expected


def test_one_and_many_are_told_apart():
    dutch = languages()["nl"]
    assert dutch("message.attachments_count", count=1) == "1 bijlage"
    assert dutch("message.attachments_count", count=2) == "2 bijlagen"
    with pytest.raises(KeyError):
        dutch("message.nothing")
