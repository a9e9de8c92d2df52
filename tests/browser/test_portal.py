"""The pages in a real browser: what a patient does, what a screen reader finds, how small a screen may be."""

import hashlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from nta_milter.portal.render import markup
from nta_milter.store.keys import Token
from nta_milter.store.rows import DeliveryState, NewLink
from tests.integration.portal.mails import HTML, message, pseudo_random
from tests.integration.portal.site import CODE

FILES = {
    "Uitslag bloedonderzoek november 2026.pdf": pseudo_random(2_417_000),
    "foto.jpg": pseudo_random(831_000),
}
MAIL = message(files=FILES)
RICH = message(html=HTML, files={"Uitleg.pdf": pseudo_random(90_000)})

SIZES = {
    "wide": (1000, "light"),
    "narrow": (320, "light"),
    "dark": (1000, "dark"),
    "narrow-dark": (320, "dark"),
}
SHOTS = os.environ.get("NTA_MILTER_SHOTS", "")
"""Folder for pictures of every page, for people to look at."""


def unlock(page, deposited):
    page.goto(deposited.path)
    page.get_by_label(re.compile("Toegangscode|Access code")).fill(CODE)
    page.get_by_role("button", name=re.compile("Bericht openen|Open message")).click()
    page.wait_for_url("**/message/*")


def follow(page, role, name):
    """Press what leads to another page, and wait until that is there."""
    with page.expect_navigation():
        page.get_by_role(role, name=name).click()


def every_page(page, site):
    """Goes through all pages; yields a name for each when it is there."""
    page.goto("/")
    yield "home"
    page.goto("/nothing")
    yield "not-found"
    deposited = site.deposit(MAIL)
    page.goto(deposited.path)
    yield "open"
    follow(page, "button", "Stuur mij een code per sms")
    yield "sms-sent"
    page.get_by_label("Toegangscode").fill("tulp-molen-31")
    follow(page, "button", "Bericht openen")
    yield "refused"
    unlock(page, deposited)
    yield "message"
    follow(page, "link", "Beantwoorden")
    yield "reply"
    page.get_by_label("Uw antwoord").fill("   ")
    follow(page, "button", "Versturen")
    yield "reply-refused"
    page.get_by_label("Uw antwoord").fill("Dank u wel, tot volgende week.")
    follow(page, "button", "Versturen")
    yield "replied"
    follow(page, "link", "Verwijderen")
    yield "delete"
    follow(page, "link", "Terug naar het bericht")
    follow(page, "button", "Afsluiten")
    yield "closed"
    unlock(page, site.deposit(RICH))
    page.frame_locator("iframe").locator("table").wait_for()
    yield "rich"
    unlock(page, site.deposit(message(subject="", text="")))
    yield "empty"
    held = site.deposit(MAIL, "piet@citizen.test", code=None, route="hold")
    page.goto(f"/hold/{held.token.text}")
    yield "hold"
    page.get_by_label("Toegangscode").fill("12345678")
    follow(page, "button", "Opslaan en versturen")
    yield "hold-refused"
    page.get_by_label("Toegangscode").fill("Tulp-Molen-31")
    follow(page, "button", "Opslaan en versturen")
    yield "hold-done"
    locked, token = site.deposit(MAIL), Token.new()
    link = NewLink(token.lookup, locked.delivery_id, "unlock")
    site.store.outgoing.add_link(link, datetime.now(UTC))
    page.goto(f"/unlock/{token.text}")
    yield "unlock"
    page.get_by_label("Nieuwe toegangscode").fill("12345678")
    follow(page, "button", "Vrijgeven")
    yield "unlock-refused"
    page.get_by_label("Nieuwe toegangscode").fill("")
    follow(page, "button", "Vrijgeven")
    yield "unlock-done"


@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_accessible_and_fits(site, browse, size):
    width, scheme = SIZES[size]
    site.store.access.remove_factors("piet@citizen.test")
    page = browse(width, scheme=scheme, script=True)  # the page has no script; axe needs it
    seen = []
    for name in every_page(page, site):
        seen.append(name)
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"{name}-{size}.png", full_page=True)
        report = Axe().run(page, options={"rules": {"target-size": {"enabled": True}}})
        assert report.response["violations"] == [], (name, report.generate_report())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.title().endswith(" – Huisartsenpraktijk De Linde"), name
        assert page.locator("h1").count() == 1, name
    assert len(seen) == 19


def test_a_patient_reads_keeps_answers_and_closes_without_any_script(site, browse):
    deposited = site.deposit(MAIL)
    page = browse(320)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    unlock(page, deposited)
    assert page.get_by_role("heading", level=1).inner_text() == "Uitslag van uw bloedonderzoek"
    assert "uw bloedsuiker is gedaald" in page.locator(".text").inner_text()
    for name, content in FILES.items():
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename == name
        assert (
            hashlib.sha256(Path(download.value.path()).read_bytes()).digest()
            == hashlib.sha256(content).digest()
        )
    with page.expect_download() as download:
        page.get_by_role("link", name="Bericht bewaren").click()
    assert download.value.suggested_filename == "Uitslag van uw bloedonderzoek.eml"
    assert Path(download.value.path()).read_bytes() == MAIL
    page.get_by_role("link", name="Beantwoorden").click()
    page.get_by_label("Uw antwoord").fill("Dank u wel")
    page.get_by_label("Bijlagen").set_input_files(
        [{"name": "foto é.png", "mimeType": "image/png", "buffer": b"png"}]
    )
    page.get_by_role("button", name="Versturen").click()
    assert page.get_by_role("status").get_by_role("heading").inner_text() == "Uw antwoord is verstuurd"
    page.get_by_role("button", name="Afsluiten").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Het bericht is gesloten"
    page.go_back()
    assert "bloedsuiker" not in page.content()
    assert {url.split("/")[2] for url in asked} == {f"127.0.0.1:{site.port}"}
    (reply,) = (
        each
        for each in site.store.handover.list_deliveries(sender="jan@citizen.test", limit=1000)
        if each.reply_to == deposited.delivery_id
    )
    assert reply.state is DeliveryState.UNDECIDED
    key = site.store.message_key(
        site.worker_keys, site.store.handover.worker_wrap(reply.message_id), reply.message_id
    )
    with site.store.open(reply.message_id, reply.blob_id, key) as stored:
        mail = stored.read()
    assert mail.isascii()
    assert b"filename*=utf-8''foto%20%C3%A9.png" in mail


def test_the_whole_way_works_with_the_keyboard(site, browse):
    deposited = site.deposit(MAIL)
    page = browse()
    page.goto(deposited.path)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type(CODE)
    page.keyboard.press("Enter")
    page.wait_for_url("**/message/*")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Afsluiten"
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-out")


def test_html_of_a_message_is_framed_powerless_and_reaches_nobody(site, browse):
    if not markup.available:
        raise AssertionError("nh3 is needed here")
    deposited = site.deposit(RICH)
    page = browse(script=True)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda entry: said.append(entry.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    unlock(page, deposited)
    frame = page.frame_locator("iframe")
    assert frame.locator("b").inner_text() == "bloedonderzoek"
    assert frame.locator("img[alt=Logo]").evaluate("image => image.naturalWidth") == 1
    assert frame.locator("a").get_attribute("target") == "_blank"
    assert frame.locator("script").count() == 0
    assert not [url for url in asked if not url.startswith((f"http://127.0.0.1:{site.port}/", "data:"))]
    assert said == []


def test_an_english_browser_gets_english_and_may_choose_dutch(site, browse):
    deposited = site.deposit(MAIL)
    page = browse(language="en-GB")
    page.goto(deposited.path)
    assert page.get_by_role("heading", level=1).inner_text() == "Open your secure message"
    unlock(page, deposited)
    assert page.get_by_role("link", name="Save message").count() == 1
    page.get_by_role("link", name="Nederlands").click()
    page.get_by_role("link", name="Bericht bewaren").wait_for()
    page.get_by_role("link", name="Beantwoorden").click()
    page.wait_for_url("**/reply")
    assert page.get_by_role("heading", level=1).inner_text() == "Beantwoorden"
