import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import ConfigurationError
from nta_milter.policy.content import fold
from nta_milter.policy.pattern import WIDTH_LIMIT, NumberPattern


def found(pattern: str, text: str) -> bool:
    return NumberPattern.compile(pattern).found(text, fold(text))


@pytest.mark.parametrize(
    ("pattern", "width", "digits"),
    [
        (r"\d{7}", 7, 7),
        (r"\bPAT-\d{6,8}\b", 12, 6),
        (r"\d{3}\d\d?\d{2}", 7, 6),
        (r"\d{3}-\d{5}", 9, 5),
        (r"[0-9]{4}x?", 5, 4),
        (r"\d{7}|X\d{9}", 10, 0),
        (r"(?:\d{5})?A\d{2}", 8, 2),
        (r"P(?:A|BB)?\d{4}", 7, 4),
        (r"(?i)z[a-f]{2}\d{4}", 7, 4),
    ],
)
def test_width_and_digits_are_known(pattern: str, width: int, digits: int) -> None:
    compiled = NumberPattern.compile(pattern)
    assert (compiled.width, compiled.digits) == (width, digits)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"\bPAT-\d{7}\b", "zie PAT-1234567.", True),
        (r"\bPAT-\d{7}\b", "zie pat-1234567.", False),
        (r"(?i)\bPAT-\d{7}\b", "zie pat-1234567.", True),
        (r"\bPAT-\d{7}\b", "zie XPAT-1234567.", False),
        (r"\bPAT-\d{7}\b", "zie PAT-12345678", False),
        (r"\bZ\d\b", "Z1", True),
        (r"\d{7}", "é€ " * 500 + "1234567", True),
        (r"\d{7}", "123456 " * 500, False),
        (r"A\d{4}", "1" * 3_000 + "A1234", True),
    ],
)
def test_numbers_are_found(pattern: str, text: str, expected: bool) -> None:
    assert found(pattern, text) is expected


REFUSED = [
    *("a*", "a+", "a{1,}", "a??", "(a{2}){3}", "(a|b)+", "(?=a)", "(?P<n>a)", r"(a)\1", "(?#x)a"),
    *("(", ")", "[a", "[z-a]", "a{5,2}", "\\", "(?i)", "a?", r"\d{0,3}"),
    *("x{201}", "a" * 201, r"\d{0,50}" * 3 + "x"),
]


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_may_be_costly_or_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=r"policy\.patient_number"):
        NumberPattern.compile(pattern)


PIECE = st.sampled_from(
    [r"\d", "[0-9]", "A", "-", r"\d{3}", r"\d{2,4}", "A?", "(?:A|-)", "(?:1A)?", r"\b", "|", "[A-F]{2}"]
)


@given(st.lists(PIECE, min_size=1, max_size=6), st.text(st.sampled_from("A1-2 é€")))
def test_the_quick_search_finds_what_the_pattern_finds(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces)
    try:
        compiled = NumberPattern.compile(pattern)
    except ConfigurationError:
        return
    expected = re.search(pattern, text, re.ASCII)
    assert compiled.found(text, fold(text)) == (expected is not None)
    if expected is not None:
        assert len(expected[0]) <= compiled.width
        assert re.search(rf"\d{{{compiled.digits}}}", expected[0], re.ASCII)


@given(st.text())
def test_any_pattern_is_compiled_or_refused(pattern: str) -> None:
    where = "policy.patient_number"
    width = 0
    try:
        width = NumberPattern.compile(pattern).width
    except ConfigurationError as error:
        where = str(error.where)
    assert where == "policy.patient_number"
    assert width <= WIDTH_LIMIT
