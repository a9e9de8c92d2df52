"""What another verifier's field says is read in the narrowest form, or not at all."""

import authres
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.inbound.believed import read, told_by
from nta_milter.message.headers import HeaderField

GOOD = (
    " dkim=pass (2048-bit key; unprotected) header.d=hospital.test header.i=@mail.hospital.test"
    ' header.a=rsa-sha256 header.s=good header.b="abcd/EFG"; spf=fail reason="not; listed"'
    " smtp.mailfrom=nurse@hospital.test; dmarc=none header.from=hospital.test; dkim-atps=neutral"
)


def test_each_result_is_read_with_whom_it_speaks_of():
    found = read(GOOD)
    assert [(each.method, each.value, each.domain) for each in found] == [
        ("dkim", "pass", "hospital.test"),
        ("spf", "fail", "hospital.test"),
        ("dmarc", "none", "hospital.test"),
        ("dkim-atps", "neutral", ""),
    ]


@pytest.mark.parametrize(
    "text",
    [
        " dkim=pass (unterminated header.d=hospital.test",
        " dkim=pass header.d=hospital.test header.odd=1",
        " dkim=good header.d=hospital.test",
        " dkim=pass header.d=a@hospital.test",
        " dkim=pass header.d=hospital.test; x",
        " dkim=pass dkim=fail",
        " header.d=hospital.test",
        " dkim=pass (a (nested) one)",
        ' arc=reject ("sig:x) ; dkim=pass header.d=hospital.test (y")',
        ' dkim=pass reason="a \\" b"',
        " dkim=pass header.d=hospital.test\x00",
        " dkim = pass",
        " dkim=pass " + "(x)" * 2000,
        # what a signer could have had quoted in i=, to add a result of its own
        " dkim=pass header.d=evil.test header.i=x; dkim=pass header.d=hospital.test header.i=@evil.test",
        " dkim=pass header.d=evil.test header.i=x; dkim=pass header.d=hospital.test header.s=@evil.test",
        " dkim=pass header.d=evil.test header.i=x; dkim=pass header.d=hospital.test (@evil.test",
    ],
)
def test_a_field_with_anything_else_in_it_is_not_believed_at_all(text):
    assert read(text) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b" filter.care.test; dkim=pass", [" dkim=pass"]),
        (b"\r\n\tfilter.care.test 1;\r\n\tdkim=pass", ["\tdkim=pass"]),
        (b" Filter.care.test; dkim=pass", []),
        (b' "filter.care.test"; dkim=pass', []),
        (b" (x) filter.care.test; dkim=pass", []),
        (b" filter.care.test.evil.test; dkim=pass", []),
        (b" filter.care.test 2; dkim=pass", []),
        (b" filter.care.test", []),
    ],
)
def test_only_the_very_name_is_the_verifiers(value, told):
    assert told_by((HeaderField(b"Authentication-Results", value),), "filter.care.test") == told


TOKENS = st.sampled_from(
    ["dkim=pass", "spf=fail", ";", "(a; b)", "(", ")", '"', "header.d=a.test", "header.i=@b.a.test", "none"]
)


@given(st.lists(st.one_of(TOKENS, st.text(max_size=8)), max_size=12).map(" ".join))
def test_what_is_read_another_parser_reads_too(text):
    found = read(f" {text}")
    if not found:
        return
    other = authres.AuthenticationResultsHeader.parse(f"Authentication-Results: x; {text.strip(' ;')}")
    assert [(each.method, each.value) for each in found] == [
        (each.method, each.result) for each in other.results
    ]


@pytest.mark.parametrize("blank", [b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xc2\xa0"])
def test_a_name_among_blanks_that_a_verifier_may_not_know_is_another_name(blank):
    fields = [
        HeaderField(b"Authentication-Results", b" " + name + b"; dkim=pass")
        for name in (blank + b"filter.care.test", b"filter.care.test" + blank, b"filter.care.test%b1" % blank)
    ]
    assert told_by(tuple(fields), "filter.care.test") == []
