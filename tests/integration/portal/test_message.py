"""A recipient's way: link, code, message, attachments, copy, reply, delete, sign out."""

import email
import email.policy
import hashlib
import html
import io
import json
import re
import time
import zipfile

import pytest

from nta_milter.portal.render import markup
from nta_milter.store.rows import DeliveryState
from tests.integration.portal.mails import HTML, message, pseudo_random
from tests.integration.portal.site import CODE

FILES = {"Uitslag bloedonderzoek.pdf": pseudo_random(700_001), "../../foto ½.jpg": pseudo_random(20_000, 1)}

MAIL = message(files=FILES)


@pytest.fixture
def deposited(site):
    return site.deposit(MAIL)


@pytest.fixture
def visitor(site):
    return site.visitor()


def eventually(holds) -> bool:
    """Whether it comes to hold: a download is counted when it is over, which we learn at the same time."""
    end = time.monotonic() + 20
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.02)
    return held


def recorded(site, deposited) -> list[str]:
    """The events about a message, in order."""
    records = (json.loads(line) for line in site.audit.splitlines())
    return [each["event"] for each in records if each["details"].get("delivery") == deposited.delivery_id]


def shown(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_the_code_opens_the_message(site, deposited, visitor):
    page = visitor.get(deposited.path)
    assert page.status == 200
    assert "Toegangscode" in page.text
    path = visitor.open(deposited, " ROOS fiets–47 ")
    page = visitor.get(path)
    assert page.status == 200
    text = shown(page.text)
    for expected in (
        "Uitslag van uw bloedonderzoek",
        "Dr. A. de Vries doctor@care.test",
        "Jan Jansen <jan@citizen.test>",
        "dinsdag 24 november 2026, 10:15 uur",
        "uw bloedsuiker is gedaald",
        "2 bijlagen",
        "Uitslag bloedonderzoek.pdf 700 kB",
        "foto ½.jpg 20 kB",
    ):
        assert expected in text
    delivery = site.store.access.find(deposited.delivery_id)
    assert delivery.opened_at is not None
    assert delivery.read_at is not None
    assert delivery.downloads == 0


def test_attachments_and_the_copy_are_byte_identical(site, deposited, visitor):
    path = visitor.open(deposited)
    for number, content in enumerate(FILES.values()):
        answer = visitor.get(f"{path}/attachment/{number}")
        assert answer.status == 200
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(content).digest()
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        assert ".." not in answer.headers["Content-Disposition"]
    copy = visitor.get(f"{path}/message.eml")
    assert copy.body == MAIL
    assert "Uitslag%20van%20uw%20bloedonderzoek.eml" in copy.headers["Content-Disposition"]
    archive = visitor.get(f"{path}/attachments.zip")
    with zipfile.ZipFile(io.BytesIO(archive.body)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == {
            "Uitslag bloedonderzoek.pdf": FILES["Uitslag bloedonderzoek.pdf"],
            "foto ½.jpg": FILES["../../foto ½.jpg"],
        }
    assert eventually(lambda: site.store.access.find(deposited.delivery_id).downloads == 4)
    assert visitor.get(f"{path}/attachment/2").status == 404


def test_a_head_request_downloads_nothing(site, deposited, visitor):
    path = visitor.open(deposited)
    for page in ("attachment/0", "attachments.zip", "message.eml"):
        answer = visitor.request("HEAD", f"{path}/{page}")
        assert (answer.status, answer.body) == (200, b"")
    assert visitor.request("HEAD", path).status == 200
    delivery = site.store.access.find(deposited.delivery_id)
    assert (delivery.downloads, delivery.read_at) == (0, None)


def test_html_is_shown_in_a_frame_that_can_do_nothing(site, visitor):
    path = visitor.open(site.deposit(message(html=HTML)))
    page = visitor.get(path).text
    frame = visitor.get(f"{path}/html")
    if not markup.available:
        assert "<iframe" not in page
        assert "Hier ziet u alleen de tekst" in page
        assert frame.status == 404
        return
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page
    assert "<iframe" not in visitor.get(f"{path}?as=text").text
    assert "uw bloedsuiker is gedaald" in visitor.get(f"{path}?as=text").text
    assert frame.status == 200
    assert frame.headers["Content-Security-Policy"] == markup.POLICY
    assert "script" not in frame.text
    assert "tracker.test" not in frame.text
    assert "data:image/png;base64," in frame.text
    assert 'rel="noopener noreferrer"' in frame.text


def test_a_message_with_html_alone_has_its_text(site, visitor):
    stored = (
        b"From: doctor@care.test\r\nTo: jan@citizen.test\r\nSubject: x\r\n"
        b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>Beste <b>Jan</b></p><p>alles goed</p>\r\n"
    )
    path = visitor.open(site.deposit(stored))
    assert "Beste Jan\n\nalles goed" in visitor.get(f"{path}?as=text").text


def test_a_reply_is_stored_sealed_and_once(site, deposited, visitor):
    path = visitor.open(deposited)
    form = visitor.get(f"{path}/reply").text
    assert "Antw: Uitslag van uw bloedonderzoek" in html.unescape(form)
    once = re.search(r'name="once" value="([0-9a-f]{32})"', form)[1]
    fields = {"token": visitor.form_token(path), "once": once, "text": "Dank u wel!\r\nEen vraag nog: …"}
    for _ in range(2):
        answer = visitor.post(f"{path}/reply", fields)
        assert answer.status == 303
    assert "Uw antwoord is verstuurd" in visitor.get(answer.headers["Location"]).text
    replies = [
        delivery
        for delivery in site.store.handover.list_deliveries(sender="jan@citizen.test", limit=1000)
        if delivery.reply_to == deposited.delivery_id
    ]
    assert len(replies) == 1
    assert replies[0].recipient == "doctor@care.test"
    assert replies[0].state is DeliveryState.UNDECIDED
    wrap = site.store.handover.worker_wrap(replies[0].message_id)
    key = site.store.message_key(site.worker_keys, wrap, replies[0].message_id)
    with site.store.open(replies[0].message_id, replies[0].blob_id, key) as content:
        mail = content.read()
    assert b"Dank u wel!\r\nEen vraag nog: =E2=80=A6" in mail
    assert b"In-Reply-To: <original@care.test>\r\n" in mail
    assert b"To: doctor@care.test\r\n" in mail
    assert b"From: jan@citizen.test\r\n" in mail


def test_a_reply_carries_files_without_any_script(site, deposited, visitor):
    path = visitor.open(deposited)
    content = pseudo_random(100_000, 3) + b"\r\n--x\r\n"
    parts = [
        b'Content-Disposition: form-data; name="token"\r\n\r\n' + visitor.form_token(path).encode(),
        b'Content-Disposition: form-data; name="once"\r\n\r\n' + b"0" * 32,
        b'Content-Disposition: form-data; name="text"\r\n\r\nZie bijlage',
        b'Content-Disposition: form-data; name="files"; filename="../../etc/f\xc3\xb6to%22.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + content,
        b'Content-Disposition: form-data; name="files"; filename=""\r\n\r\n',
    ]
    body = b"".join(b"--boundary42\r\n" + part + b"\r\n" for part in parts) + b"--boundary42--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=boundary42"}
    assert visitor.request("POST", f"{path}/reply", body, headers).status == 303
    (reply,) = (
        delivery
        for delivery in site.store.handover.list_deliveries(sender="jan@citizen.test", limit=1000)
        if delivery.reply_to == deposited.delivery_id
    )
    key = site.store.message_key(
        site.worker_keys, site.store.handover.worker_wrap(reply.message_id), reply.message_id
    )
    with site.store.open(reply.message_id, reply.blob_id, key) as stored:
        mail = stored.read()
    parsed = email.message_from_bytes(mail, policy=email.policy.default)
    (attached,) = parsed.iter_attachments()
    assert attached.get_filename() == "föto_.jpg"
    assert attached.get_content() == content


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 100_001])
def test_a_reply_without_text_or_with_too_much_is_not_sent(site, deposited, visitor, text):
    path = visitor.open(deposited)
    answer = visitor.post(
        f"{path}/reply", {"token": visitor.form_token(path), "once": "0" * 32, "text": text}
    )
    assert answer.status == 400
    assert 'role="alert"' in answer.text
    assert 'aria-invalid="true"' in answer.text


def test_a_deleted_message_is_gone_for_everybody(site, deposited, visitor):
    path = visitor.open(deposited)
    other = site.visitor("198.51.100.3")
    other.open(deposited)
    assert "Bericht verwijderen?" in visitor.get(f"{path}/delete").text
    answer = visitor.post(f"{path}/delete", {"token": visitor.form_token(path)})
    assert answer.status == 200
    assert "Het bericht is verwijderd" in answer.text
    assert not any(name.startswith("__Host-nta-") for name in visitor.cookies)
    assert other.get(path).status == 403
    assert other.get(f"{path}/message.eml").status == 403
    assert site.visitor().post(deposited.path, {"code": CODE}).status == 403
    assert site.store.access.find(deposited.delivery_id).state is DeliveryState.DELETED


def test_signing_out_ends_the_visit_and_not_the_link(site, deposited, visitor):
    path = visitor.open(deposited)
    cookies = dict(visitor.cookies)
    answer = visitor.post(f"{path}/sign-out", {"token": visitor.form_token(path)})
    assert "Het bericht is gesloten" in answer.text
    visitor.cookies.update(cookies)
    assert visitor.get(path).status == 403
    assert visitor.get(visitor.open(deposited)).status == 200


def test_two_open_messages_are_never_mistaken_for_each_other(site, deposited, visitor):
    first = visitor.open(deposited)
    second = visitor.open(site.deposit(message(subject="Een ander bericht")))
    assert "Een ander bericht" in visitor.get(second).text
    assert "Uitslag van uw bloedonderzoek" in visitor.get(first).text
    swapped = site.visitor()
    (one, two) = (name for name in visitor.cookies)
    swapped.cookies = {one: visitor.cookies[two], two: visitor.cookies[one]}
    assert (swapped.get(first).status, swapped.get(second).status) == (403, 403)


def test_what_a_recipient_does_is_recorded_without_content(site, deposited, visitor):
    path = visitor.open(deposited)
    visitor.get(path)
    visitor.get(f"{path}/attachment/0")
    wanted = ["portal-opened", "read", "downloaded"]
    assert eventually(lambda: recorded(site, deposited) == wanted), recorded(site, deposited)
    assert "bloedonderzoek" not in site.audit
