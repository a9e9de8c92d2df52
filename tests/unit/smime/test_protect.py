import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Entity
from nta_milter.smime.encrypt import encrypt
from nta_milter.smime.open import open_message
from nta_milter.smime.protect import HIDDEN_SUBJECT, content, protect, restore
from nta_milter.smime.sign import sign
from tests.unit.smime import messages
from tests.unit.smime.messages import mail, parse
from tests.unit.smime.persons import NOW, person, recipient, ring, trust

MAIL = mail()


def fields(headers, name):
    return [field.value for field in headers.all(name)]


def sealed(**options):
    inner, subject = protect(MAIL.headers, messages.content(MAIL), **options)
    entity = encrypt(sign(inner, person("rsa"), at=NOW), [recipient("p256")], cipher="aes-256-gcm")
    kept = MAIL.headers.only(("From", "To", "Date", "Message-ID", "MIME-Version")).add("Subject", subject)
    return Entity(Headers((*kept, *entity.headers)), entity.body)


def opened(message):
    return open_message(message.headers, message.body, ring("p256"), trust(), at=NOW)


def test_the_subject_is_hidden_outside_and_comes_back():
    message = sealed(hide_subject=True)
    assert message.headers.first("Subject") == HIDDEN_SUBJECT.encode()
    found = opened(message)
    assert found.signature == "good"
    assert found.headers.first("Subject") == MAIL.headers.first("Subject")
    assert found.headers.first("Comments") == b"niet voor buiten"
    names = [field.name for field in found.headers]
    assert names.index(b"Subject") == [field.name for field in message.headers].index(b"Subject")
    kind = found.entity.headers.first("Content-Type")
    assert kind == MAIL.headers.first("Content-Type")
    assert {field.name[:8].lower() for field in found.entity.headers} == {b"content-"}


def test_what_stands_outside_is_named_inside():
    inner, subject = protect(MAIL.headers, messages.content(MAIL), hide_subject=True)
    assert subject == HIDDEN_SUBJECT
    assert b'hp="cipher"' in inner.headers.first("Content-Type")
    outer = fields(inner.headers, "HP-Outer")
    assert b"Subject: [...]" in outer
    assert b"From: Dokter Zorg <rsa@care.test>" in outer
    assert not any(value.startswith((b"Comments", b"MIME-Version", b"Content")) for value in outer)
    outside = Headers().add("From", "rsa@care.test")
    inner, subject = protect(MAIL.headers, messages.content(MAIL), hide_subject=False, outside=outside)
    assert subject == "=?utf-8?q?Pati=C3=ABnt?= 42"
    assert set(fields(inner.headers, "HP-Outer")) == {
        b"From: rsa@care.test",
        b"Subject: =?utf-8?q?Pati=C3=ABnt?= 42",
    }


def test_fields_of_the_way_here_stay_outside():
    headers = parse(
        b"Received: from x\r\nBcc: y@z.test\r\nX-Nta-Route: a\r\nDKIM-Signature: q\r\nTo: b@c.test\r\n\r\n"
    ).headers
    inner, _ = protect(headers, Entity(Headers(), b"text"), hide_subject=True)
    assert [field.name for field in inner.headers] == [b"To", b"HP-Outer", b"Content-Type"]
    assert inner.headers.first("Content-Type") == b'text/plain;\thp="cipher"'.replace(b"\t", b" ")


OUTER = parse(
    b"Received: from here\r\nReturn-Path: <a@care.test>\r\nFrom: A <a@care.test>\r\nTo: b@citizen.test\r\n"
    b"Subject: [...]\r\nX-Spam: no\r\n\r\n"
).headers


@pytest.mark.parametrize(
    "kind",
    [
        b'text/plain; hp="cipher"; charset=utf-8',
        b"text/plain; charset=utf-8; HP=cipher",
        b'text/plain;\r\n hp = "cipher" ; charset=utf-8',
        b'text/plain; protected-headers="v1"; charset=utf-8; hp=cipher',
    ],
)
def test_no_parameter_says_any_more_that_fields_are_protected(kind):
    inner = parse(b"Subject: echt\r\nContent-Type: " + kind + b"\r\nContent-Language: nl\r\n\r\nhoi")
    found = content(OUTER, inner)
    assert found.headers.first("Content-Type").replace(b" ;", b";") == b"text/plain; charset=utf-8"
    assert found.headers.first("Content-Language") == b"nl"
    assert len(found.headers) == 2


@pytest.mark.parametrize(
    "kind",
    [
        b'text/plain; hp="cipher"',
        b"text/plain; protected-headers=v1",
        b"message/rfc822",
        b"message/rfc822; forwarded=no",
    ],
)
def test_every_form_of_protection_is_read(kind):
    protected = (
        b"From: Anna <a@care.test>\r\nSubject: echt\r\nTo: B <b@citizen.test>\r\nX-Spam: yes\r\n"
        b"Received: from there\r\n"
    )
    if kind.startswith(b"message"):
        inner = parse(
            b"Content-Type: " + kind + b"\r\n\r\n" + protected + b"Content-Type: text/html\r\n\r\nhoi"
        )
    else:
        inner = parse(protected + b"Content-Type: " + kind + b"\r\n\r\nhoi")
    restored = restore(OUTER, inner)
    assert bytes(restored) == bytes(OUTER).replace(b"[...]", b"echt").replace(b"A <a@", b"Anna <a@").replace(
        b"To: b@citizen.test", b"To: B <b@citizen.test>"
    )
    payload = content(OUTER, inner)
    assert payload.body == b"hoi"
    assert {field.name for field in payload.headers} == {b"Content-Type"}


@pytest.mark.parametrize(
    "inner",
    [
        b"Subject: echt\r\nContent-Type: text/plain\r\n\r\nhoi",
        b'Subject: echt\r\nContent-Type: text/plain; hp="clear"\r\n\r\nhoi',
        b"Content-Type: message/rfc822; forwarded=yes\r\n\r\nFrom: a@care.test\r\nSubject: echt\r\n\r\nhoi",
        b"Content-Type: message/rfc822\r\n\r\nFrom: other@care.test\r\nSubject: echt\r\n\r\nhoi",
        b"Content-Type: message/rfc822\r\n\r\nSubject: echt\r\n\r\nhoi",
        b'Subject: een\r\nSubject: twee\r\nContent-Type: text/plain; hp="cipher"\r\n\r\nhoi',
        b'Subject: een\x01\r\nContent-Type: text/plain; hp="cipher"\r\n\r\nhoi',
        b'From: other@care.test\r\nContent-Type: text/plain; hp="cipher"\r\n\r\nhoi',
        b'From: broken\r\nContent-Type: text/plain; hp="cipher"\r\n\r\nhoi',
        b'Reply-To: evil@care.test\r\nX-Nta-Route: a\r\nContent-Type: text/plain; hp="cipher"\r\n\r\nhoi',
    ],
)
def test_what_is_not_safe_is_not_restored(inner):
    assert restore(OUTER, parse(inner)) == OUTER


def test_nothing_is_restored_from_a_message_that_is_only_signed():
    inner, _ = protect(MAIL.headers, messages.content(MAIL), hide_subject=True)
    entity = sign(inner, person("rsa"), at=NOW)
    outer = Headers((*MAIL.headers.only(("From",)), HeaderField(b"Subject", b" buiten"), *entity.headers))
    assert opened(Entity(outer, entity.body)).headers.first("Subject") == b"buiten"


@pytest.mark.parametrize(
    ("request_to", "signed", "restored"),
    [
        ("a@care.test", True, True),
        ("Receipts <secretary@CARE.test>, a@care.test", True, True),
        ("a@care.test", False, False),
        ("a@evil.test", True, False),
        ("a@care.test, a@evil.test", True, False),
        ("a@mail.care.test", True, False),
        ("a@care.test\r\nDisposition-Notification-To: b@care.test", True, False),
        ("nobody", True, False),
        ("", True, False),
    ],
)
def test_a_request_for_a_receipt_comes_back_when_it_is_signed_and_leads_to_the_senders_domain(
    request_to, signed, restored
):
    inner = parse(
        f"Disposition-Notification-To: {request_to}\r\n"
        'Content-Type: text/plain; hp="cipher"\r\n\r\nhoi'.encode()
    )
    found = restore(OUTER, inner, signed=signed)
    assert bool(found.all("Disposition-Notification-To")) is restored
    assert found.without(("Disposition-Notification-To",)) == OUTER


@pytest.mark.parametrize("signer", ["good", "none", "around"])
def test_a_request_for_a_receipt_needs_a_good_signature_inside(signer):
    request = HeaderField(b"Disposition-Notification-To", b" a@care.test")
    headers = Headers((*MAIL.headers, request))
    inner, _ = protect(headers, messages.content(MAIL), hide_subject=True)
    if signer == "good":
        inner = sign(inner, person("rsa"), at=NOW)
    entity = encrypt(inner, [recipient("p256")], cipher="aes-256-gcm")
    if signer == "around":
        entity = sign(entity, person("rsa"), at=NOW)
    outer = Headers((*MAIL.headers.only(("From",)), *entity.headers))
    found = opened(Entity(outer, entity.body))
    assert bool(found.headers.all("Disposition-Notification-To")) is (signer == "good")


def test_nothing_is_restored_from_an_attached_message():
    attached = (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nSubject: echt\r\n"
        b"Content-Type: text/plain; hp=cipher\r\n\r\nhoi\r\n--x--\r\n"
    )
    entity = encrypt(parse(attached), [recipient("p256")], cipher="aes-256-gcm")
    message = Entity(Headers((*OUTER, *entity.headers)), entity.body)
    assert opened(message).headers == OUTER


@given(st.lists(st.tuples(st.sampled_from(["Subject", "To", "X", "HP-Outer"]), st.text(max_size=30))))
def test_any_inner_fields_leave_outer_fields_whole(pairs):
    inner = Headers(tuple(HeaderField(name.encode(), text.encode()) for name, text in pairs))
    inner = inner.add("Content-Type", 'text/plain; hp="cipher"')
    restored = restore(OUTER, Entity(inner, b""))
    for field in restored:
        assert b"\n" not in field.raw.replace(b"\r\n ", b"").replace(b"\r\n\t", b"")
    assert {field.name for field in restored} <= {field.name for field in OUTER} | {b"Subject", b"To"}
