import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import LimitExceeded
from nta_milter.message.headers import FIELD_LIMIT, HEADER_LIMIT, Headers, split


def pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.raw) for field in Headers.parse(data)]


def test_fields_keep_order_case_folds_and_duplicates() -> None:
    data = b"Subject: one\r\nX-A:\tb\r\n c\r\nsubject:two\r\n\r\nbody: no\r\n"
    assert pairs(data) == [(b"Subject", b" one"), (b"X-A", b"\tb\r\n c"), (b"subject", b"two")]
    assert Headers.parse(data).first("x-a") == b"b c"
    assert bytes(Headers.parse(data)) == data[: data.index(b"\r\n\r\n") + 2]


def test_bare_lf_is_accepted_and_folds_become_crlf() -> None:
    assert pairs(b"A: b\n c\nD: e\n\nbody") == [(b"A", b" b\r\n c"), (b"D", b" e")]


def test_raw_8bit_and_nul_survive() -> None:
    assert pairs(b"Subject: caf\xe9 \x00 \xff\r\n\r\n") == [(b"Subject", b" caf\xe9 \x00 \xff")]


def test_a_60_kb_field_is_one_field() -> None:
    value = b" " + b"x" * 60_000
    assert pairs(b"X-Long:" + value + b"\r\n\r\n") == [(b"X-Long", value)]


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\n", b"\r", b" fold first: x\r\n", b"no colon\r\n"])
def test_what_has_no_fields_is_all_body(data: bytes) -> None:
    headers, body = split(data)
    assert len(headers) == 0
    assert data[body:].strip(b"\r\n") == data.strip(b"\r\n")


def test_a_line_that_is_no_field_begins_the_body() -> None:
    headers, body = split(b"A: b\r\nDear doctor,\r\nC: d\r\n")
    assert [field.name for field in headers] == [b"A"]
    assert body == len(b"A: b\r\n")


def test_the_line_of_a_mailbox_file_is_skipped() -> None:
    assert pairs(b"From nurse@care.test Mon Jan  1 00:00:00 2024\nFrom: nurse@care.test\n\n") == [
        (b"From", b" nurse@care.test")
    ]


def test_too_many_fields_and_bytes_are_refused() -> None:
    with pytest.raises(LimitExceeded, match="header fields"):
        Headers.parse(b"A: b\r\n" * (FIELD_LIMIT + 1))
    with pytest.raises(LimitExceeded, match="bytes of header fields"):
        Headers.parse(b"A: " + b"x" * HEADER_LIMIT + b"\r\n\r\n")


@given(st.binary() | st.from_regex(rb"(([A-Z]{1,3} ?:[ -~\x80]{0,9}\r?\n( [a-z]{0,3}\r?\n)?)|\r|\n|x){0,9}"))
def test_offsets_stay_inside_and_nothing_else_is_raised(data: bytes) -> None:
    for buffer in (data, memoryview(data)):
        headers, body = split(buffer)
        assert 0 <= body <= len(data)
        assert split(data, body, body) == (Headers(), body)
        again, _ = split(bytes(headers) + b"\r\n")
        assert again == headers
