import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message import mime
from nta_milter.message.headers import Headers
from nta_milter.message.model import Entity
from nta_milter.smime.prepare import is_robust, prepare
from tests.unit.smime.messages import ATTACHMENT, content, mail, parse


def parts(entity):
    part = mime.parse(entity.headers, entity.body, part_limit=100, depth_limit=20)
    return [leaf for leaf in part.walk() if not leaf.children], entity.body


@pytest.mark.parametrize(
    ("data", "robust"),
    [
        (b"", True),
        (b"plain\r\nlines\r\n", True),
        (b"no end", True),
        (b"x" * 998 + b"\r\n", True),
        (b"x" * 999 + b"\r\n", False),
        (b"x" * 999, False),
        (b"a\r\n" + b"x" * 999 + b"\r\nb\r\n", False),
        (b"blank \r\n", False),
        (b"blank\t\r\n", False),
        (b"blank at the end ", False),
        (b"From here\r\n", False),
        (b"a\r\nFrom here\r\n", False),
        (b"a From here\r\n", True),
        (b"bare\nline\r\n", False),
        (b"bare\rreturn\r\n", False),
        (b"bare\r", False),
        (b"\n", False),
        (b"nul\0\r\n", False),
        ("ë\r\n".encode(), False),
        (b"QUJD\r\n" * 100_000, True),
        (b"QUJD\r\n" * 100_000 + b"x \r\n", False),
        (b"QU JD\r\n" * 100_000, True),
        (b"x" * 300_000, False),
        (b"QUJD\n" * 100_000, False),
        (b"QUJD\r\n" * 100_000 + b"QU\rJD\r\n", False),
    ],
    ids=lambda value: repr(value[-20:]) if isinstance(value, bytes) else str(value),
)
def test_what_relays_may_change_is_seen(data, robust):
    assert is_robust(data) is robust
    assert is_robust(memoryview(data)) is robust


def test_a_robust_entity_is_not_touched():
    entity = Entity(Headers().add("Content-Type", "text/plain"), memoryview(b"hoi\r\n"))
    prepared, robust = prepare(entity)
    assert robust
    assert prepared.body is entity.body


def test_leaves_are_recoded_and_mean_the_same():
    original = content(mail())
    prepared, robust = prepare(original)
    assert robust
    (text, attachment), body = parts(prepared)
    (before, _), before_body = parts(original)
    assert text.encoding == "quoted-printable"
    assert text.decoded(body) == before.decoded(before_body)
    assert attachment.encoding == "base64"
    assert attachment.decoded(body) == ATTACHMENT


@pytest.mark.parametrize(
    ("headers", "data", "encoding"),
    [
        (b"Content-Type: text/plain", "een hele lange regel, één ".encode() * 200, b"quoted-printable"),
        (b"Content-Type: text/plain; charset=utf-8", "日本語\r\n".encode(), b"base64"),
        (b"Content-Type: text/plain", b"return\rinside\r\n", b"base64"),
        (b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: binary", bytes(range(256)), b"base64"),
        (b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64", b"QUJD" * 300, b"base64"),
        (
            b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable",
            b"a=20 \r\n",
            b"quoted-printable",
        ),
    ],
)
def test_the_encoding_fits_the_content(headers, data, encoding):
    entity = parse(headers + b"\r\n\r\n" + data)
    prepared, robust = prepare(entity)
    assert robust
    assert prepared.headers.first("Content-Transfer-Encoding") == encoding
    (after,), body = parts(prepared)
    (before,), before_body = parts(entity)
    assert after.decoded(body).rstrip() == before.decoded(before_body).rstrip()


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin \r\n",
        b"Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nblank \r\n--x\r\n\r\n--x--\r\n",
        b"Content-Type: message/partial\r\n\r\nblank \r\n",
        "Content-Type: text/plain; name=ë\r\n\r\nhoi\r\n".encode(),
    ],
)
def test_what_cannot_be_recoded_is_left_and_said(data):
    entity = parse(data)
    prepared, robust = prepare(entity)
    assert not robust
    assert prepared.body == entity.body


def test_attached_messages_are_recoded_and_their_label_follows():
    entity = parse(
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        b"Subject: binnen \r\nContent-Transfer-Encoding: 8bit\r\n\r\nPati\xc3\xabnt 42 is hersteld\r\n"
    )
    prepared, robust = prepare(entity)
    assert robust
    assert prepared.headers.first("Content-Transfer-Encoding") is None
    assert bytes(prepared.body) == (
        b"Subject: binnen\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"Pati=C3=ABnt 42 is hersteld\r\n"
    )


@given(st.binary(max_size=400))
def test_any_text_comes_through(data):
    entity = Entity(Headers().add("Content-Type", "text/plain"), data)
    prepared, robust = prepare(entity)
    assert robust
    (after,), body = parts(prepared)
    if prepared.headers.first("Content-Transfer-Encoding") == b"base64":
        assert after.decoded(body) == data
    else:
        assert after.decoded(body) == data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
