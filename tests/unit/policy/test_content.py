import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.policy.content import (
    CHUNK,
    FEW,
    REACH,
    ContentRules,
    WordList,
    fold,
    has_citizen_number,
    is_citizen_number,
)
from nta_milter.policy.pattern import NumberPattern

BSN = "123456782"


@pytest.mark.parametrize(
    "text",
    [
        f"BSN {BSN}",
        f"bsn:{BSN}.",
        f"{BSN} (BSN)",
        "BSN 1234.56.782",
        "BSN 123 456 782",
        "BSN 123  456 782",
        "BSN 123 456\r\n782",
        "BSN\t123\t456\t782",
        "BSN 1  2  3  4  5  6  7  8  2",
        "BSN 123-456-782",
        "BSN 123\u2013456\u2013782",
        "BSN 123\u00a0456\u00a0782",
        "BSN 123\u202f456\u202f782",
        "BSN 1234\u00ad56782",
        "BSN kamer 12 123456782",
        "BSN 111222333",
        "BSN 10000008",  # eight digits: 010000008
        f"Uw Burgerservicenummer\r\n\r\n{BSN}",
        f"burger service nummer = {BSN}",
        f"burger-service-nr {BSN}",
        f"B.S.N. {BSN}",
        f"sofinummer {BSN}",
        f"sofi-nr {BSN}",
        f"citizen service number {BSN}",
        f"bsnnummer {BSN}",
        f"BSN{' ' * (REACH - 20)}{BSN}",
        f"BSN onbekend. {'x ' * 300} BSN {BSN}",
        f"€ – “BSN” {BSN}",
    ],
)
def test_a_number_near_a_word_for_it(text: str) -> None:
    assert has_citizen_number(fold(text))


def test_a_column_is_found_far_below_its_word() -> None:
    header = "bsn;" + "een lange kolomnaam;" * 20
    numbers = (BSN, "111222333", "123456782")
    rows = "".join(f"\r\n{number};" + "x;" * 50 for number in numbers)
    assert has_citizen_number(fold(header + rows))
    assert not has_citizen_number(fold(header + rows.partition("123456782")[0] + rows[-200:]))
    others = "".join(f"\r\n{number};" for number in range(123456790, 123456890))
    assert not has_citizen_number(fold(header + others))
    assert not has_citizen_number(fold("telefoon;" + "een lange kolomnaam;" * 20 + rows))


@pytest.mark.parametrize(
    "text",
    [
        BSN,
        f"telefoon {BSN}",
        "BSN 123456789",  # fails the eleven-test
        "BSN 000000000",
        f"BSN 1{BSN}",
        f"BSN {BSN}1",
        f"BSN{' ' * (REACH + 1)}{BSN}",
        f"absnoot {BSN}",
        f"burgemeester {BSN}",
        f"burgerzaken {BSN}",
        "BSN 12345 6783 1",
        "BSN 123     456 782",
        "BSN 05081981",  # dates, though they pass the test with a zero in front
        "BSN 19810805",
        "BSN",
        "",
    ],
)
def test_false_numbers_and_numbers_without_a_word(text: str) -> None:
    assert not has_citizen_number(fold(text))


def test_the_eleven_test() -> None:
    valid = [number for number in range(123456700, 123456800) if is_citizen_number(str(number).encode())]
    assert valid == [
        123456708,
        123456721,
        123456733,
        123456745,
        123456757,
        123456769,
        123456770,
        123456782,
        123456794,
    ]


def test_a_number_on_the_seam_of_two_chunks_is_found() -> None:
    rules = ContentRules(True, None, WordList.compile(()))
    for offset in range(-30, 10, 3):
        text = "x" * (CHUNK + offset) + f" BSN {BSN} " + "x" * 3_000
        assert list(rules.kinds(text)) == ["content-bsn"]


def test_a_great_number_of_words_for_it_is_still_searched() -> None:
    assert has_citizen_number(fold("bsn " * 50_000 + BSN))
    assert not has_citizen_number(fold("bsn " * 50_000 + "1"))


@pytest.mark.parametrize(
    ("entries", "text", "expected"),
    [
        (["HIV"], "uitslag hiv: negatief", True),
        (["hiv"], "hivernage", False),
        (["hiv"], "pre-HIV-test", True),
        (["patiënt"], "de PATIENT is", True),
        (["patient"], "de patiënt is", True),
        (["oncologie afdeling"], "de Oncologie\r\n  afdeling van", True),
        (["oncologie afdeling"], "afdeling oncologie", False),
        (["oncologie afdeling", "oncologie"], "oncologie", True),
        (["SOA-poli"], "naar de soa poli toe", True),
        (["żółtaczka"], "ŻÓŁTACZKA!", True),
        (["żółtaczka"], "żółtaczkax", False),
        (["żółtaczka"], "zoltaczka", False),
        (["...", ""], "... ", False),
        ([], "anything", False),
    ],
)
def test_words(entries: list[str], text: str, expected: bool) -> None:
    assert WordList.compile(entries).found(text, fold(text)) is expected
    many = [*entries, *(f"nergens{number}" for number in range(FEW))]
    assert WordList.compile(many).found(text, fold(text)) is expected


def test_every_kind_is_told_once() -> None:
    rules = ContentRules(True, NumberPattern.compile(r"PAT\d{5}"), WordList.compile(["hiv"]))
    text = f"BSN {BSN} PAT12345 hiv BSN {BSN} PAT12345 hiv"
    assert list(rules.kinds(text)) == ["content-bsn", "content-patient-number", "content-word"]
    assert list(ContentRules(False, None, WordList.compile(())).kinds(text)) == []


@given(st.text())
def test_folding_keeps_the_length(text: str) -> None:
    assert len(fold(text)) == len(text)


@given(st.text(st.sampled_from("bsn 1234567890.-?\n")))
def test_any_text(text: str) -> None:
    assert has_citizen_number(fold(text)) in (True, False)
    assert not has_citizen_number(fold(text.replace("s", "")))


@given(st.integers(0, 999_999_999), st.lists(st.sampled_from(["", " ", ".", "-"]), min_size=9, max_size=9))
def test_separators_do_not_matter(number: int, separators: list[str]) -> None:
    digits = f"{number:09}"
    written = "".join(digit + mark for digit, mark in zip(digits, separators, strict=True))
    assert has_citizen_number(fold(f"bsn: {written}")) == is_citizen_number(digits.encode())
