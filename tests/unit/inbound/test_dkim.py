"""Hostile signatures and keys: DKIM always answers, and works no more than it must."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.inbound import dkim
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Message

VALUES = {"pass", "fail", "policy", "neutral", "none", "permerror", "temperror"}
FROM = HeaderField(b"From", b" jan@care.test")
RSA_KEY = b"v=DKIM1; p=" + base64.b64encode(
    rsa.generate_private_key(65537, 1024)
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)
GOOD = b" v=1; a=rsa-sha256; d=care.test; s=good; h=from; bh=AAAA; b=AAAA"


def message(*signatures):
    fields = [HeaderField(b"DKIM-Signature", raw) for raw in signatures]
    return Message("jan@care.test", (), (), Headers((*fields, FROM)), b"hoi\r\n")


def verify(mail, record):
    found, _ = dkim.signatures(mail.headers, "care.test")
    answer = Answer(Presence.PRESENT, True, 60, (record,))
    return dkim.verify(mail, found, {each.key_name: answer for each in found})


TAGS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"v", b"a", b"b", b"bh", b"c", b"d", b"h", b"i", b"l", b"q", b"s", b"t", b"x", b"z"]
        ),
        st.one_of(
            st.sampled_from(
                [b"1", b"rsa-sha256", b"ed25519-sha256", b"care.test", b"good", b"from", b"AAAA", b"9" * 5000]
            ),
            st.binary(max_size=20),
        ),
    ),
    max_size=14,
)
KEYS = st.one_of(
    st.binary(max_size=100).map(lambda data: b"v=DKIM1; p=" + data),
    st.sampled_from([b"p=", b"p=AAAA", b"v=DKIM1; k=ed25519; p=AAAA", b"k=none; p=AAAA", b"p=MAA=", b"p"]),
)


@given(TAGS, KEYS)
def test_every_signature_and_key_has_an_answer(tags, record):
    raw = b" " + b"; ".join(b"%b=%b" % tag for tag in tags)
    (result,) = verify(message(raw), record)
    assert result.value in VALUES - {"pass"}


@given(st.binary(max_size=300), KEYS)
def test_every_byte_string_has_an_answer(raw, record):
    (result,) = verify(message(raw), record)
    assert result.value in VALUES - {"pass"}


def test_an_unsigned_message_is_none():
    assert [result.value for result in verify(message(), b"p=")] == ["none"]


def test_signatures_of_the_author_come_first_and_the_rest_is_counted():
    foreign = GOOD.replace(b"care.test", b"evil.test")
    below = GOOD.replace(b"care.test", b"mail.care.test")
    found, left = dkim.signatures(message(b"", *[foreign] * 20, below, GOOD).headers, "care.test")
    assert [each.domain for each in found] == ["mail.care.test", "care.test"] + ["evil.test"] * 6
    assert left == 15


@pytest.mark.parametrize("blanks", [b" " * 80, b"\t" * 200, b"\r\n " * 30])
def test_long_blanks_are_not_given_to_an_expression(blanks):
    (found,), _ = dkim.signatures(message(GOOD + blanks + b"!").headers, "care.test")
    assert found.fault == "too long"


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (GOOD.replace(b"h=from", b"h=to"), "From is not signed"),
        (GOOD.replace(b"h=from", b"h=from" + b":a" * 300), "names in h="),
        (GOOD.replace(b"rsa-sha256", b"rsa-sha1"), "SHA-1"),
        (GOOD + b"; c=relaxed/other", "canonicalization"),
        (GOOD + b"; x=1", "past"),
        (GOOD + b"; q=other", "q="),
        (GOOD + b"; i=@evil.test", "i="),
    ],
)
def test_the_reason_is_told(raw, word):
    (result,) = verify(message(raw), RSA_KEY)
    assert result.value in ("permerror", "policy")
    assert word in result.comment
