"""Each kind of mail by each route: what is seen of it is what packaging/doc/message-kinds.md says."""

from __future__ import annotations

import email
import re
from email.message import Message

import pytest

from tests.laboratory import Laboratory
from tests.laboratory.certificates import openssl
from tests.laboratory.kinds import CANARY, KINDS, ROUTES, Kind
from tests.laboratory.scenarios import download
from tests.laboratory.scenarios.line import HOSPITAL_ADDRESS
from tests.laboratory.scenarios.proof import CLINIC, COLLEAGUE, DOCTOR, JAN, NURSE
from tests.laboratory.store import Delivered

TYPES = (
    *("text/calendar", "message/disposition-notification", "message/delivery-status", "message/rfc822"),
    *("application/ms-tnef", "application/zip", "application/pkcs7-mime"),
)
FIELDS = ("Disposition-Notification-To", "Auto-Submitted", "Precedence", "List-Id", "Sender")
"""With the types, what sets a kind apart."""

DELEGATES = {'"secretary@care.test"': [DOCTOR, "poli@care.test"]}


@pytest.fixture(scope="module")
def _kinds(tmp_path_factory):
    with Laboratory(
        tmp_path_factory.mktemp("kinds"), download=True, **{"internal.delegates": DELEGATES}
    ) as laboratory:
        yield laboratory


@pytest.fixture
def kinds(_kinds):
    _kinds.reset()
    _kinds.agree(JAN, download.CODE)
    return _kinds


def traits(mail: Message) -> str:
    """The types and fields that set a kind apart, in a fixed order."""
    types = {part.get_content_type() for part in mail.walk()}
    found = [each for each in TYPES if each in types]
    return ", ".join(found + [name for name in FIELDS if mail[name]]) or "text"


def left(laboratory: Laboratory) -> tuple[str, Delivered]:
    """The one mail that comes out, and where."""
    laboratory.wait_for(laboratory.everything, "a mail")
    laboratory.settle()
    (found,) = laboratory.everything()
    return found


def seen(laboratory: Laboratory, kind: Kind, recipient: str) -> str:
    """What becomes of a mail of this kind, in the words of the table."""
    sender = kind.login if kind.sender is None else kind.sender
    reply = laboratory.send(kind.login, sender, [recipient], kind.write(recipient))
    if not reply.accepted:
        return f"refused ({reply.text.split()[0]})"
    store, delivered = left(laboratory)
    mail = email.message_from_bytes(delivered.raw)
    if store == "care":
        return f"as it is: {traits(mail)}"
    if store.startswith("mx."):
        return by_the_ordinary_way(laboratory, mail, delivered)
    if mail.get_content_type() != "application/pkcs7-mime":
        return f"readable: {traits(mail)}"
    assert CANARY.encode() not in delivered.raw
    gateway = laboratory.certificates.gateway("hospital.test")
    key = ("-recip", gateway.certificate, "-inkey", gateway.key)
    content = email.message_from_bytes(openssl("cms", "-decrypt", *key, stdin=delivered.raw))
    if content.get_content_type() == "multipart/signed":
        content = content.get_payload(0)  # type: ignore[assignment]
    assert CANARY in content.as_string()
    outside = ", ".join(f"{name}: {mail[name]}" for name in FIELDS if mail[name])
    return f"inside: {traits(content)}" + (f"; outside: {outside}" if outside else "")


def by_the_ordinary_way(laboratory: Laboratory, mail: Message, delivered: Delivered) -> str:
    if mail["Subject"] and "Beveiligd bericht" in mail["Subject"]:
        assert CANARY.encode() not in delivered.raw
        browser = laboratory.browser()
        page = download.opened_by_code(browser, download.link_in(delivered))
        attached = re.findall(r"\d+ bijlagen? ?\n?\s*(.*?)\s*\d+ B", page.text, re.DOTALL)
        return f"notification; in the portal: {', '.join(['text', *attached])}"
    if mail.get_content_type() == "multipart/report":
        assert CANARY.encode() not in delivered.raw
        return f"without what it quotes: {traits(mail)}"
    return f"as it is: {traits(mail)}"


def arriving(laboratory: Laboratory, kind: Kind) -> str:
    """What our user sees of it, when a partner's gateway has encrypted it."""
    head, _, body = kind.write(DOCTOR).partition(b"\r\n\r\n")
    at = head.index(b"Content-Type:")
    doctor = laboratory.certificates.person(DOCTOR, "")
    sealed = openssl(
        *("cms", "-encrypt", "-aes256", "-crlfeol", doctor.certificate),
        stdin=head[at:] + b"\r\n\r\n" + body,
    )
    fields = head[:at].replace(b"MIME-Version: 1.0\r\n", b"")
    raw = fields + sealed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    sender = "" if kind.sender == "" else NURSE
    with laboratory.session("ntamx", source=HOSPITAL_ADDRESS) as client:
        reply = client.transmit(sender, [DOCTOR], raw)
    assert reply.accepted, reply
    store, delivered = left(laboratory)
    assert store == "care"
    mail = email.message_from_bytes(delivered.raw)
    return traits(mail)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_what_each_side_sees_of_a_kind_of_mail(kinds, kind):
    portal = seen(kinds, kind, JAN)  # first, while his access code is known
    found = {}
    for route, recipient in (("S/MIME", NURSE), ("DANE", CLINIC), ("among our users", COLLEAGUE)):
        kinds.reset()
        found[route] = seen(kinds, kind, recipient)
    kinds.reset()
    found |= {"secure download": portal, "arriving, opened": arriving(kinds, kind)}
    assert found == dict(zip(ROUTES, kind.seen, strict=True))


@pytest.mark.parametrize(
    ("asker", "seen"),
    [(NURSE, NURSE), ("nurse@evil.test", None), (None, None)],
    ids=["own", "other", "unsigned"],
)
def test_a_request_for_a_receipt_inside_comes_back_when_it_is_signed_for_and_leads_home(kinds, asker, seen):
    people = kinds.certificates
    nurse, doctor = people.person(NURSE, "Verpleegkundige Ali"), people.person(DOCTOR, "")
    inner = (
        f"Disposition-Notification-To: {asker or NURSE}\r\nSubject: Kanarie\r\n"
        'Content-Type: text/plain; hp="cipher"\r\n\r\nGoedemorgen\r\n'
    ).encode()
    if asker is not None:
        key = ("-signer", nurse.certificate, "-inkey", nurse.key)
        inner = openssl("cms", "-sign", "-md", "sha256", "-crlfeol", *key, stdin=inner)
    sealed = openssl("cms", "-encrypt", "-aes256", "-crlfeol", doctor.certificate, stdin=inner)
    head = f"From: {NURSE}\r\nTo: {DOCTOR}\r\nSubject: [...]\r\nMessage-ID: <r@hospital.test>\r\n".encode()
    with kinds.session("ntamx", source=HOSPITAL_ADDRESS) as client:
        reply = client.transmit(
            NURSE, [DOCTOR], head + sealed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        )
    assert reply.accepted, reply
    mail = email.message_from_bytes(left(kinds)[1].raw)
    assert (mail["Subject"], mail["Disposition-Notification-To"]) == ("Kanarie", seen)
