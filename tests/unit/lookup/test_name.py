import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.lookup.name import domain_name, is_host_name

LONGEST = ".".join(["a" * 49] * 5) + ".tst"


@pytest.mark.parametrize(
    "name",
    [
        "care.test",
        "a.b",
        "1.2.test",
        "xn--bcher-kva.test",
        "a-b.c-d.test",
        "a" * 63 + ".test",
        LONGEST[-253:],
    ],
)
def test_a_host_name(name):
    assert is_host_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "test",
        "care.test.",
        ".care.test",
        "care..test",
        "Care.test",
        "-a.test",
        "a-.test",
        "a_b.test",
        "a b.test",
        "a.test\n",
        "192.0.2.1",
        "1.2.3.4",
        "::1",
        "[a.test]",
        "a.1",
        "a.test:25",
        "bücher.test",
        "k\u0130.test",
        "a" * 64 + ".test",
        "a." * 126 + "test",
        "\u212a.test",
        "a.test\0",
    ],
)
def test_no_host_name(name):
    assert not is_host_name(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("care.test", "care.test"),
        ("Care.TEST", "care.test"),
        ("care.test.", "care.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("BÜCHER.test", "xn--bcher-kva.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("bu\u0308cher.test", "xn--bcher-kva.test"),
    ],
)
def test_a_domain_is_compared_as_its_a_label(text, name):
    assert domain_name(text) == name


@pytest.mark.parametrize("text", ["straße.test", "ς.test", "a\u200db.test", "１.test", "a\u3002test"])
def test_a_domain_that_two_versions_of_idna_read_differently_is_none(text):
    assert domain_name(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "test",
        "care.test..",
        "a..test",
        "[192.0.2.1]",
        "192.0.2.1",
        "a b.test",
        "é" * 300,
        "a@b.test",
        "\ud800.test",
        "\0.test",
        "é" * 64 + ".test",
        "xn--\u00e9.test",
    ],
)
def test_no_domain(text):
    assert domain_name(text) is None


@given(st.text(max_size=70))
def test_whatever_is_given_a_domain_is_a_host_name_and_stays_itself(text):
    name = domain_name(text)
    assert name is None or (is_host_name(name) and domain_name(name) == name)


@given(st.text(st.characters(whitelist_categories=["L", "M", "N", "P", "Z", "C"]), min_size=1, max_size=12))
def test_an_internationalised_domain_leads_back_to_what_was_written(text):
    name = domain_name(f"{text}.test")
    if name is not None and not text.isascii():
        assert domain_name(name.encode().decode("idna")) == name
