import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.address import (
    ADDRESS_LIMIT,
    MALFORMED,
    Mailbox,
    a_labels,
    address_list,
    addresses,
    envelope_address,
    envelope_domain,
)
from nta_milter.message.headers import Headers
from nta_milter.message.model import Recipient


def read(value: bytes) -> tuple[list[str], int]:
    found = address_list([value])
    return [mailbox.address for mailbox in found.mailboxes], found.malformed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"doctor@care.test", ["doctor@care.test"]),
        (b"doctor@CARE.Test.", ["doctor@care.test"]),
        (b'"Jansen, J." <jansen@care.test>, b@care.test', ["jansen@care.test", "b@care.test"]),
        (b"=?utf-8?q?Jos=C3=A9?= <jose@care.test>", ["jose@care.test"]),
        (b"pete(his account)@care.test(his host)", ["pete@care.test"]),
        (b"a@care.test (one (two) \\) three), b@care.test", ["a@care.test", "b@care.test"]),
        (b'"odd local"@care.test', ['"odd local"@care.test']),
        (b'"plain"@care.test', ["plain@care.test"]),
        (b'"a@b,c"@care.test', ['"a@b,c"@care.test']),
        (b"Team: a@care.test, B <b@care.test>;, c@care.test", ["a@care.test", "b@care.test", "c@care.test"]),
        (b"undisclosed-recipients:;", []),
        (b"<@one.test,@two.test:a@care.test>", ["a@care.test"]),
        (b"a@[192.0.2.1], a@[IPv6:2001:DB8::1]", ["a@[192.0.2.1]", "a@[ipv6:2001:db8::1]"]),
        ("josé@zorg-é.test".encode(), ["josé@xn--zorg--fsa.test"]),
        (b",, a@care.test ,,", ["a@care.test"]),
        (b"", []),
        (b" (just a comment) ", []),
    ],
)
def test_addresses_are_read(value: bytes, expected: list[str]) -> None:
    assert read(value) == (expected, 0)


@pytest.mark.parametrize(
    "value",
    [
        b"doctor",
        b"@care.test",
        b"a@",
        b"<>",
        b"a b@care.test",
        b"a@care .test",
        b"a@care..test",
        b"a@b@care.test",
        b"<a@care.test",
        b"<a@care.test> behind",
        b"a@care.test b@care.test",
        b'"never ends <a@care.test>',
        b"a\x00@care.test",
        b"a\xff@care.test",
        b"x: y: ;",
        b"Team: ",
    ],
)
def test_what_is_no_address_is_malformed(value: bytes) -> None:
    found, malformed = read(value)
    assert found == []
    assert malformed


def test_names_are_decoded() -> None:
    found = address_list([b'Dr. =?utf-8?b?Sm9zw6k=?= "de \\"Boer\\"" <jose@care.test>', b"Group one: ;"])
    assert found.mailboxes == (Mailbox('Dr. José de "Boer"', "jose", "care.test"),)
    assert found.groups == ("Group one",)


def test_several_fields_count_together_and_duplicates_once() -> None:
    headers = Headers.parse(b"From: A@Care.test\r\nfrom: a@care.test, b@care.test\r\nTo: c@care.test\r\n")
    assert addresses(headers, "From") == ("a@care.test", "b@care.test")
    assert addresses(headers, "Cc") == ()


def test_a_malformed_item_shows_in_the_list() -> None:
    headers = Headers.parse(b"From: a@care.test, <oops\r\n")
    assert addresses(headers, "From") == ("a@care.test", MALFORMED)


def test_the_number_of_addresses_is_bounded() -> None:
    found = address_list([b"a@b.test," * (ADDRESS_LIMIT + 5)])
    assert len(found.mailboxes) == ADDRESS_LIMIT
    assert found.malformed == 1


@pytest.mark.parametrize(
    ("raw", "address", "domain"),
    [
        (b"<Doctor@Care.test>", "Doctor@Care.test", "care.test"),
        (b"Doctor@care.test", "Doctor@care.test", "care.test"),
        (b"<@one.test,@two.test:A@care.test>", "A@care.test", "care.test"),
        (b"<>", "", ""),
        ("<josé@zorg-é.test>".encode(), "josé@zorg-é.test", "xn--zorg--fsa.test"),
        (b"<\xe9@care.test>", "\\xe9@care.test", "\\xe9@care.test"),
        (b'<"a b"@care.test>', '"a b"@care.test', "care.test"),
        (b"<a..b.@care.test>", "a..b.@care.test", "care.test"),
        ("<postmaster>", "postmaster", ""),
        ("a@b..TEST", "a@b..TEST", "b..test"),
    ],
)
def test_envelope(raw: bytes | str, address: str, domain: str) -> None:
    assert envelope_address(raw) == address
    assert envelope_domain(address) == domain
    assert Recipient(address).domain == domain


@pytest.mark.parametrize(
    "address",
    [
        "jan%citizen.test@care.test",
        "citizen.test!jan@care.test",
        '"jan@citizen.test"@care.test',
        "jan@citizen.test@care.test",
        "jan\\@citizen.test@care.test",
        "jan@citizen.test (@care.test",
        "jan%citizen.test",
        "citizen.test!jan",
    ],
)
def test_an_address_that_names_another_host_is_of_no_domain(address: str) -> None:
    domain = envelope_domain(address)
    assert domain == address
    assert a_labels(domain) is None


@pytest.mark.parametrize(
    ("domain", "labels"),
    [
        ("BÜCHER.test", "xn--bcher-kva.test"),
        ("straße.test", "xn--strae-oqa.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("a。test", "a.test"),
        ("é" * 64 + ".test", None),
        ("x" * 254, None),
        ("a b.test", None),
        ("-a.test", None),
        ("", None),
    ],
)
def test_a_labels(domain: str, labels: str | None) -> None:
    assert a_labels(domain) == labels


@given(st.binary() | st.from_regex(rb'([a-c]{1,2}@b\.test|[ ,;:<>@"\\()\[\].]|=\?utf-8\?q\?a\?=|\xe9){0,20}'))
def test_reading_never_fails(value: bytes) -> None:
    found = address_list([value])
    for mailbox in found.mailboxes:
        again = address_list([mailbox.address.encode()])
        assert [(box.local, box.domain) for box in again.mailboxes] == [(mailbox.local, mailbox.domain)]


@given(st.binary() | st.text())
def test_envelopes_never_fail(raw: bytes | str) -> None:
    address = envelope_address(raw)
    assert envelope_domain(address) == Recipient(address).domain
