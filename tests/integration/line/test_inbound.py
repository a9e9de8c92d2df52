"""The real milter, driven as an MTA drives it: what is opened of what arrives, and for whom?"""

import base64

import pytest

from tests.integration.line.driving import (
    TEXT,
    enveloped,
    opaque,
    receive,
)
from tests.laboratory.certificates import openssl


def results(actions, fields):
    return [v for n, v in actions.headers(fields) if n.lower() == b"authentication-results"]


def test_what_arrives_for_the_doctor_is_opened_verified_and_marked(alone):
    fields, body = enveloped(alone)
    fields = [(b"Authentication-Results", b" nta.mx.care.test; smime=pass"), *fields]
    actions = receive(alone, ["doctor@care.test"], fields, body)
    assert actions.verdict == "a", alone.log
    assert b"alles goed" in actions.body
    after = [(name.lower(), value.strip()) for name, value in actions.headers(fields)]
    assert after.count((b"mime-version", b"1.0")) == 1
    assert (b"content-type", b"text/plain; charset=utf-8") in after
    (result,) = results(actions, fields)
    assert result.startswith(b" nta.mx.care.test; smime=pass ")
    assert b"body.smime-identifier=nurse@hospital.test" in result
    assert (b"X-Nta-Route", b" inside") in actions.added
    assert actions.sender == b"<postmaster@care.test> RET=HDRS"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_text_inside_a_signature_arrives_as_that_text(alone, damaged):
    fields, body = opaque(alone)
    if damaged:
        cms = bytearray(base64.b64decode(body))
        cms[cms.index(b"alles goed")] ^= 1
        body = base64.encodebytes(cms).replace(b"\n", b"\r\n")
    fields = [(b"Received", b" from mx.hospital.test by mx.care.test"), *fields]
    actions = receive(alone, ["doctor@care.test", "colleague@care.test"], fields, body)
    assert actions.verdict == "a", alone.log
    assert bytes(actions.body) == (b"Uitslag: `lles goed.\r\n" if damaged else b"Uitslag: alles goed.\r\n")
    after = [(name.lower(), value.strip()) for name, value in actions.headers(fields)]
    assert after[:2] == [
        (b"received", b"from mx.hospital.test by mx.care.test"), (b"from", b"nurse@hospital.test")
    ]  # fmt: skip
    assert [value for name, value in after if name == b"content-type"] == [b"text/plain; charset=utf-8"]
    assert after.count((b"mime-version", b"1.0")) == 1
    assert not [name for name, _ in after if name == b"content-disposition"]
    (result,) = results(actions, fields)
    worth = (
        b"fail (not encrypted, signature bad," if damaged else b"pass (not encrypted, signed by the sender)"
    )
    assert result.startswith(b" nta.mx.care.test; smime=" + worth)
    assert not [name for name, _ in actions.added if name == b"X-Nta-Route"]
    assert actions.sender is None


def test_a_text_inside_a_signature_inside_encryption_arrives_too(alone):
    fields, body = enveloped(alone, sign="opaque")
    actions = receive(alone, ["doctor@care.test"], fields, body)
    assert bytes(actions.body) == b"Uitslag: alles goed.\r\n"
    (result,) = results(actions, fields)
    assert result.startswith(b" nta.mx.care.test; smime=pass (encrypted, signed by the sender)")


def test_a_signed_mail_that_everybody_can_read_keeps_its_body(alone):
    fields, body = opaque(alone, "-stream")
    assert b"multipart/signed" in dict(fields)[b"Content-Type"]
    actions = receive(alone, ["doctor@care.test"], fields, body)
    assert actions.body is None
    assert actions.headers(fields)[:-1] == fields
    (result,) = results(actions, fields)
    assert result.startswith(b" nta.mx.care.test; smime=pass (not encrypted, signed by the sender)")


@pytest.mark.parametrize("recipients", [["colleague@care.test"], ["doctor@care.test", "colleague@care.test"]])
def test_invariant_5_a_key_opens_only_for_whom_it_is_bound(alone, recipients):
    fields, body = enveloped(alone)
    actions = receive(alone, recipients, fields, body)
    assert actions.body is None
    (result,) = results(actions, fields)
    assert result.startswith(b" nta.mx.care.test; smime=neutral (not opened);")


def test_invariant_8_every_failure_to_open_looks_the_same(alone):
    fields, body = enveloped(alone)
    other = alone.certificates.person("piet@citizen.test", "Piet Puk")
    foreign = openssl("cms", "-encrypt", "-aes256", other.certificate, stdin=b"hoi")
    foreign_body = foreign.replace(b"\r\n", b"\n").partition(b"\n\n")[2].replace(b"\n", b"\r\n")
    flipped = bytearray(body)
    flipped[200] = ord("A") if flipped[200] != ord("A") else ord("B")
    answers = set()
    for broken in (body[: len(body) // 2], foreign_body, b"", b"AAAA\r\n", bytes(flipped)):
        actions = receive(alone, ["doctor@care.test"], fields, broken)
        assert actions.body is None
        answers.add((actions.verdict, tuple(actions.added), tuple(actions.changed), actions.sender))
    assert len(answers) == 1, answers
    assert alone.log.count("event=incoming") >= 5


def test_invariant_11_forged_marks_die_on_ordinary_mail_too(alone):
    fields = [
        (b"From", b" jan@citizen.test"),
        (b"X-Nta-Route", b" [evil.test]"),
        (b"Authentication-Results", b" (x) NTA.mx.care.test; smime=pass"),
        (b"Authentication-Results", b" mx.care.test; spf=pass"),
    ]
    actions = receive(alone, ["doctor@care.test"], fields, b"hoi\r\n", side="inbound")
    assert actions.headers(fields) == [fields[0], fields[3]]
    assert actions.body is None


def test_invariant_6_ordinary_mail_arrives_untouched(alone):
    actions = receive(alone, ["doctor@care.test"], TEXT, b"hoi\r\n", side="inbound")
    assert actions.untouched
    assert actions.verdict == "a"
