"""Forged marks die (invariant 11), and nothing else is touched (invariant 6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.headers import HeaderField, Headers
from nta_milter.policy.reserved import authserv_id, without_reserved

OWN = "nta.mail.care.test"


@pytest.mark.parametrize(
    "value",
    [
        b"nta.mail.care.test; smime=pass",
        b" NTA.Mail.Care.Test ; smime=pass",
        b"(comment) nta.mail.care.test; smime=pass",
        b"(a(b)c)(d)nta.mail.care.test (e); smime=pass",
        b'"nta.mail.care.test"; smime=pass',
        b'"nta.mail\\.care.test"; smime=pass',
        b"nta.mail.care.test 1; smime=pass",
        b"nta.mail.care.test",
        b"nta.mail.care.test(x);none",
        b"(" * 50_000 + b"\\)" + b")" * 50_000 + b" nta.mail.care.test",  # quadratic work would take minutes
        b"()" * 50_000 + b"nta.mail.care.test",
    ],
    ids=range(11),
)
def test_invariant_11_a_forged_result_dies_in_every_disguise(value):
    headers = Headers((HeaderField(b"Authentication-results", b" " + value),))
    assert authserv_id(value) == OWN.encode()
    assert len(without_reserved(headers, OWN)) == 0


@pytest.mark.parametrize(
    "value", [b"mail.care.test; spf=pass", b"nta.mail.care.test.evil.test; smime=pass", b"", b";", b"(open"]
)
def test_results_of_others_stay(value):
    headers = Headers((HeaderField(b"Authentication-Results", b" " + value),))
    assert without_reserved(headers, OWN) is headers


def test_reserved_fields_die_by_prefix_and_by_configured_name():
    headers = Headers().add("x-nTA-route", "[evil.test]").add("X-Agreed", "1").add("Subject", "hello")
    clean = without_reserved(headers, OWN, frozenset({b"x-agreed"}))
    assert [field.name for field in clean] == [b"Subject"]


def test_invariant_6_untouched_means_the_very_same_object():
    headers = Headers().add("Subject", "hello").add("Received", "from x")
    assert without_reserved(headers, OWN) is headers


@given(st.binary(max_size=200))
def test_any_bytes_give_an_identifier_or_nothing(value):
    assert isinstance(authserv_id(value), bytes)


@pytest.mark.parametrize(
    "value",
    [
        b"nta.\r\n mx.care.test; smime=pass",
        b"\xc2\xa0nta.mx.care.test; smime=pass",
        b"\xef\xbb\xbfnta.mx.care.test; smime=pass",
        b"nta.mx.care.test.; smime=pass",
        b"nta.mx.care.test/1; smime=pass",
        b"=?utf-8?q?nta.mx.care.test?=; smime=pass",
        b", nta.mx.care.test; smime=pass",
        b"; nta.mx.care.test; smime=pass",
        b"mx.test; spf=pass (NTA.mx.care.test; smime=pass)",
        b"mx.test; spf=pass smtp.helo=x nta.mx.care.test; smime=pass",
    ],
)
def test_invariant_11_results_that_pose_as_ours_die(value: bytes) -> None:
    headers = Headers((HeaderField(b"Authentication-Results", b" " + value),))
    assert len(without_reserved(headers, "nta.mx.care.test")) == 0


@pytest.mark.parametrize(
    "value",
    [
        b"mx.care.test; spf=pass smtp.helo=nta.mx.care.test; dkim=none",
        b"mx.care.test; dkim=pass header.i=@nta.mx.care.test; spf=none",
        b"not-nta.mx.care.test; spf=pass",
        b"nta.mx.care.test.other.test; spf=pass",
        b"mx.care.test; auth=pass smtp.auth=\xff; iprev=pass policy.iprev=192.0.2.1 (nta.mx.care.test)",
    ],
)
def test_invariant_6_results_of_others_stay(value: bytes) -> None:
    headers = Headers((HeaderField(b"Authentication-Results", b" " + value),))
    assert without_reserved(headers, "nta.mx.care.test") is headers
