"""Readable mail over DANE, and secure download: what leaves is a notification, and the rest waits here."""

from __future__ import annotations

import base64
import email
import hashlib
import re
import secrets

from tests.laboratory.browser import Browser, Page
from tests.laboratory.laboratory import Laboratory
from tests.laboratory.messages import Mail, sensitive, sightings
from tests.laboratory.names import PORTAL_URL
from tests.laboratory.scenarios.proof import (
    CLINIC,
    DOCTOR,
    JAN,
    NURSE,
    PIET,
    accepted,
    arrived,
    nothing_in_clear,
    require,
    submit,
)
from tests.laboratory.store import Delivered

CODE = "tulp-fiets-58"
ROBOT_VISITS = 50
"""How often a mail scanner fetches a link, by GET and by HEAD."""


def link_in(mail: Delivered, kind: str = "m") -> str:
    """The one link to the portal that can be read in a mail of ours, the same in text and HTML."""
    links = set()
    for part in email.message_from_bytes(mail.raw).walk():
        content = part.get_payload(decode=True)
        text = content.decode() if isinstance(content, bytes) else ""
        links |= set(re.findall(rf"{PORTAL_URL}/{kind}/[\w-]{{43}}(?![\w-])", text))
    require(len(links) == 1, f"{len(links)} links in the mail:\n{mail.raw.decode()}")
    return str(links.pop())


def notified(laboratory: Laboratory, store: str, recipient: str, mail: Mail) -> str:
    """That a recipient gets a notification which tells nothing of a mail; the link in it."""
    received = arrived(laboratory, store, recipient)
    seen = sightings(received.raw, mail.canaries.values())
    require(not seen, f"the notification shows {seen and seen[0]}")
    kind = email.message_from_bytes(received.raw)
    require(kind["Subject"] == "Beveiligd bericht van Zorggroep Care", f"its subject is {kind['Subject']}")
    require(kind["Auto-Submitted"] == "auto-generated", "it does not say that a program wrote it")
    require(kind.get_content_type() == "multipart/alternative", f"it is {kind.get_content_type()}")
    return link_in(received)


def robots_change_nothing(laboratory: Laboratory, link: str) -> int:
    """Fetch a link as mail scanners do, and compare all rows; how many visits that were."""
    laboratory.wait_for(laboratory.stored.at_rest, "rest", pause=0.1)
    before = laboratory.stored.everything()
    path = laboratory.browser().path(link)
    for _ in range(ROBOT_VISITS):
        for method in ("GET", "HEAD"):
            answer = laboratory.browser().request(method, path)
            require(answer.status == 200, f"{method} is answered {answer.status}")
    changed = set(before) ^ set(laboratory.stored.everything())
    require(not changed, f"a visit changed a row: {changed and sorted(changed)[0]}")
    return 2 * ROBOT_VISITS


def opened_by_code(browser: Browser, link: str, code: str = CODE) -> Page:
    """The page of the message, after the code was typed in."""
    return browser.submit(browser.get(link), browser.path(link), code=code)


def saved(browser: Browser, page: Page, ending: str) -> Page:
    """A file that the page offers to keep."""
    found = [link for link in page.links if link.endswith(ending)]
    require(len(found) == 1, f"{len(found)} links that end in {ending} on the page: {page.text}")
    file = browser.get(found[0])
    kept = file.headers["Content-Disposition"] or ""
    require(kept.startswith("attachment"), f"a browser would show it itself: {kept}")
    return file


def attachment_of(mail: Mail) -> bytes:
    """The content of a mail's attachment."""
    for part in email.message_from_bytes(mail.raw).walk():
        if part.get_filename():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            return content
    raise AssertionError("the mail has no attachment")


def same_bytes(what: str, got: bytes, wanted: bytes) -> str:
    """That two contents have the same SHA-256; its first digits."""
    digest = hashlib.sha256(wanted).hexdigest()
    require(hashlib.sha256(got).hexdigest() == digest, f"the {what} has other bytes: {len(got)} of them")
    return digest[:12]


def by_the_portal(laboratory: Laboratory) -> str:
    """Scenario 2."""
    laboratory.agree(JAN, CODE)
    mail = sensitive(DOCTOR, JAN)
    accepted(submit(laboratory, mail, JAN))
    link = notified(laboratory, "mx.citizen", JAN, mail)
    visits = robots_change_nothing(laboratory, link)
    stranger = laboratory.browser()
    path = stranger.path(link)
    refused = stranger.request("POST", path, b"code=goed-geraden-1", "application/x-www-form-urlencoded")
    require(refused.status == 403 and not stranger.cookies, f"a wrong code is answered {refused.status}")
    browser = laboratory.browser()
    page = opened_by_code(browser, link)
    for place in ("subject", "attachment", "filename", "sender"):
        shown = page.text if place != "attachment" else saved(browser, page, "/attachment/0").body.decode()
        require(mail.canaries[place] in shown, f"the {place} cannot be read in the portal")
    require(mail.canaries["text"] in browser.get(f"{page.path}?as=text").text, "the text cannot be read")
    digest = same_bytes("attachment", saved(browser, page, "/attachment/0").body, attachment_of(mail))
    own_copy = saved(browser, page, "/message.eml").body
    same_bytes("text", own_copy.partition(b"\r\n\r\n")[2], mail.body)
    answer = _replied(laboratory, browser, page)
    nothing_in_clear(laboratory, [*mail.canaries.values(), *answer.values()])
    return (
        f"the notification tells nothing; {visits} GET and HEAD changed no row; text and attachment are "
        f"identical (sha256 {digest}…); the reply came by nta-inside"
    )


def _replied(laboratory: Laboratory, browser: Browser, page: Page) -> dict[str, str]:
    """That a reply of the recipient arrives with the doctor, over the protected hop; its canaries."""
    token = secrets.token_hex(4)
    canaries = {"text": f"Antwoord-tekst-{token}", "file": f"Antwoord-bijlage-{token}"}
    form = browser.get(next(link for link in page.links if link.endswith("/reply")))
    sent = browser.submit(
        form,
        "/reply",
        text=f"Dank u, dokter.\r\n{canaries['text']}",
        files={f"{canaries['file']}.txt": canaries["file"].encode()},
    )
    require("verstuurd" in sent.text.lower(), f"after the reply the page says: {sent.text}")
    received = arrived(laboratory, "care", DOCTOR)
    read = sightings(received.raw, canaries.values())
    require(
        {canary for canary in canaries.values() if canary in " ".join(read)} == set(canaries.values()),
        f"of the reply the doctor can read {read}",
    )
    envelope = email.message_from_bytes(received.raw)
    require(envelope["From"] and JAN in envelope["From"], f"the reply is from {envelope['From']}")
    require(
        re.search(rf"postfix/nta-inside/lmtp\[\d+\]: \w+: to=<{DOCTOR}>.* status=sent", laboratory.log()),
        "the reply has not come by nta-inside",
    )
    return canaries


def too_big(laboratory: Laboratory) -> str:
    """Scenario 1b."""
    laboratory.agree(NURSE, CODE)
    scan = secrets.token_bytes(25_000_000)
    mail = with_attachment(sensitive(DOCTOR, NURSE), "beeld.dcm", scan)
    accepted(submit(laboratory, mail, NURSE))
    link = notified(laboratory, "mx.hospital", NURSE, mail)
    browser = laboratory.browser()
    page = opened_by_code(browser, link)
    got = saved(browser, page, "/attachment/1").body
    digest = same_bytes("attachment", got, scan)
    require(not laboratory.mailbox("nta.hospital", NURSE), "the ntamx host has got a copy")
    nothing_in_clear(laboratory, mail.canaries.values())
    return f"a notification; {len(got)} bytes from the portal, identical (sha256 {digest}…)"


def with_attachment(mail: Mail, name: str, content: bytes) -> Mail:
    """The same mail with one attachment more, behind the others."""
    boundary = email.message_from_bytes(mail.raw).get_boundary()
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    head = (
        f"--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
    )
    end = f"--{boundary}--\r\n".encode()
    return Mail(mail.raw.removesuffix(end) + head.encode() + encoded + end, mail.canaries)


def readable(laboratory: Laboratory) -> str:
    """Scenario 1c."""
    mail = sensitive(DOCTOR, CLINIC)
    accepted(submit(laboratory, mail, CLINIC))
    received = arrived(laboratory, "nta.clinic", CLINIC)
    same_bytes("body", received.body, mail.body)
    kind = email.message_from_bytes(received.raw)
    require(kind.get_content_type() == "multipart/mixed", f"it arrives as {kind['Content-Type']}")
    dkim = re.search(rb"dkim=(\w+) .*?header\.d=([\w.]+)", received.headers)
    require(dkim and dkim.groups() == (b"pass", b"care.test"), "no valid DKIM signature of care.test")
    verified = "Verified TLS connection established to nta.clinic.test[127.0.0.23]:25"
    log = laboratory.log()
    require(verified in log, "Postfix has logged no verified connection")
    relay = rf"postfix/nta/smtp\[\d+\]: \w+: to=<{CLINIC}>, relay=nta\.clinic\.test\[127\.0\.0\.23\]:25"
    require(re.search(relay, log), "Postfix has logged another relay")
    require(not laboratory.mailbox("mx.clinic", CLINIC), "the ordinary MX has got a copy")
    laboratory.settle()
    require(len(laboratory.everything()) == 1, "there is more than one mail")
    return f"{verified}; ordinary MIME, body identical, DKIM passes; nothing by the MX"


def held(laboratory: Laboratory) -> str:
    """Scenario 2b."""
    mail = sensitive(DOCTOR, PIET)
    accepted(submit(laboratory, mail, PIET))
    asked = arrived(laboratory, "care", DOCTOR)
    seen = sightings(asked.raw, mail.canaries.values())
    require(not seen, f"the mail to the sender shows {seen and seen[0]}")
    link = link_in(asked, "hold")
    laboratory.settle()
    require(not laboratory.mailbox("mx.citizen", PIET), "something has left before a code was given")
    robots_change_nothing(laboratory, link)
    browser = laboratory.browser()
    page = browser.get(link)
    require(PIET in page.text, f"the sender's page does not say for whom: {page.text}")
    require(not sightings(page.body, mail.canaries.values()), "the sender's page shows the message")
    given = browser.submit(page, browser.path(link), button=("do", "release"), code=CODE)
    notification = notified(laboratory, "mx.citizen", PIET, mail)
    read = opened_by_code(laboratory.browser(), notification)
    require(mail.canaries["subject"] in read.text, f"the message cannot be read: {read.text}")
    again = laboratory.browser().request("GET", browser.path(link))
    require(again.status == 404, f"the sender's link still answers {again.status}")
    nothing_in_clear(laboratory, mail.canaries.values())
    require("gaat op weg" in given.text, f"after the code the page says: {given.text}")
    return "held, nothing left; with the code that the sender gave, the notification went and opened"
