import authres
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.inbound.result import COMMENT_LIMIT, Result, field_value, plain

ANY = st.text(max_size=300)


@given(comment=ANY, domain=ANY, address=ANY)
def test_nothing_a_stranger_writes_ends_a_result_early(comment, domain, address):
    result = Result("spf", "fail", comment, (("smtp.mailfrom", f"{address}@{domain}"), ("smtp.helo", domain)))
    value = field_value("nta.mx.care.test", [str(result), "dkim=none"])
    line = value.replace("\r\n", "")
    assert line.isascii()
    assert line.replace("\t", "").isprintable()
    parsed = authres.AuthenticationResultsHeader.parse(f"Authentication-Results: {line}")
    assert [(each.method, each.result) for each in parsed.results] == [("spf", "fail"), ("dkim", "none")]


def test_properties_are_tokens_and_empty_ones_are_left_out():
    result = Result("dkim", "pass", "", (("header.d", "care.test"), ("header.s", "a b;c"), ("x.y", "@")))
    assert str(result) == "dkim=pass header.d=care.test header.s=abc"


@given(ANY)
def test_a_plain_text_is_short_and_printable(text):
    assert len(plain(text)) <= COMMENT_LIMIT
    assert not set(plain(text)) & set("()\\\r\n")
