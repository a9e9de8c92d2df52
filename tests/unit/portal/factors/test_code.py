import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nta_milter.errors import ConfigurationError
from nta_milter.portal.factors import code


@pytest.mark.parametrize(
    "written", ["roos-fiets-47", "ROOS FIETS 47", " roos–fiets—47 ", "ｒｏｏｓ－fiets47"]
)
def test_case_blanks_and_hyphens_make_no_difference(written):
    assert code.normal(written) == "roosfiets47"


@pytest.mark.parametrize(
    "weak",
    [
        "",
        "kort",
        "1234567",
        "12345678",
        "87654321",
        "aaaaaaaaaaaa",
        "abab-abab-abab",
        "a-b-c-d-e",
        "--------",
    ],
)
def test_what_is_easy_to_guess_is_refused(weak):
    assert code.is_weak(weak)
    with pytest.raises(ConfigurationError, match="too easy to guess"):
        code.hashed(weak)


def test_a_suggestion_is_random_and_good_enough():
    suggestions = {code.suggestion() for _ in range(100)}
    assert len(suggestions) == 100
    assert sum(code.is_weak(each) for each in suggestions) <= 2
    assert all(len(each) == 9 and each[4] == "-" for each in suggestions)


def test_a_code_matches_its_own_hash_alone():
    kept = code.hashed("roos-fiets-47")
    assert kept != code.hashed("roos-fiets-47")
    assert code.matches("Roosfiets47", kept)
    assert not code.matches("roosfiets4", kept)
    assert not code.matches("", kept)
    assert not code.matches("roos-fiets-47", None)


@pytest.mark.parametrize(
    "kept", ["", "roos-fiets-47", "scrypt$15$8$1$AA$AA", "scrypt$x$8$1$AAAA$AAAA", "bcrypt$1$2$3$4$5"]
)
def test_what_is_no_hash_is_an_error_and_no_match(kept):
    with pytest.raises(ConfigurationError, match="no scrypt hash"):
        code.matches("roos-fiets-47", kept)


@given(st.text(max_size=50))
@settings(max_examples=200)
def test_nothing_that_is_written_breaks_the_comparison(text):
    assert code.normal(f" {text}-") == code.normal(text)
    assert code.normal(text.replace("-", "\u2013")) == code.normal(text)
    assert isinstance(code.is_weak(text), bool)
