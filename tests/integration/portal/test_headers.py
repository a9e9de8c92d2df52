"""Header fields and languages of every answer there is."""

import re

import pytest

from nta_milter.portal.asgi import FIELDS, POLICY
from nta_milter.portal.pages import TYPES, static
from nta_milter.portal.render import markup
from tests.integration.portal.mails import HTML, message

FIXED = {name.decode(): value.decode() for name, value in FIELDS}


@pytest.fixture(scope="module")
def answers(site):
    """Every kind of answer, by a name for it."""
    deposited = site.deposit(message(html=HTML, files={"a.txt": b"a", "b.txt": b"b"}))
    held = site.deposit(message(), "kop@citizen.test", code=None, route="hold")
    visitor = site.visitor("192.0.2.99")
    found = {
        "home": visitor.get("/"),
        "robots.txt": visitor.get("/robots.txt"),
        "open": visitor.get(deposited.path),
        "no code": visitor.post(deposited.path, {"code": ""}),
        "wrong code": visitor.post(deposited.path, {"code": "wrong-code-1"}),
        "right code": visitor.post(deposited.path, {"code": "roos-fiets-47"}),
        "hold": visitor.get(f"/hold/{held.token.text}"),
        "hold refused": visitor.post(f"/hold/{held.token.text}", {"code": "1"}),
        "hold unknown": visitor.get("/hold/x"),
        "unknown": visitor.get("/nothing/here"),
        "traversal": visitor.get("/static/../../etc/passwd"),
        "encoded traversal": visitor.get("/static/x/..%2f..%2fpages.py"),
        "method": visitor.request("PUT", "/"),
        "no form": visitor.request("POST", deposited.path, b"{}", {"Content-Type": "application/json"}),
        "too long": visitor.post(deposited.path, {"code": "x" * 20_000}),
        "cross-site": visitor.post(deposited.path, {}, {"Sec-Fetch-Site": "cross-site"}),
    }
    found |= {f"static {name}": visitor.get(static(name)) for name in TYPES}
    path = f"/message/{deposited.delivery_id}"
    token = visitor.form_token(path)
    for page in (
        "",
        "?as=text",
        "/html",
        "/attachment/0",
        "/attachment/9",
        "/attachments.zip",
        "/message.eml",
    ):
        found[f"message{page}"] = visitor.get(f"{path}{page}")
        found[f"HEAD message{page}"] = visitor.request("HEAD", f"{path}{page}")
    found["reply"] = visitor.get(f"{path}/reply")
    found["replied"] = visitor.post(f"{path}/reply", {"token": token, "once": "0" * 32, "text": "Dank"})
    found["delete"] = visitor.get(f"{path}/delete")
    found["sign-out by GET"] = visitor.get(f"{path}/sign-out")
    found["deleted"] = visitor.post(f"{path}/delete", {"token": token})
    found["closed"] = visitor.get(path)
    found["signed out"] = visitor.post(f"{path}/sign-out")
    return found


def test_every_answer_keeps_to_itself(answers):
    assert len(answers) > 30
    for name, answer in answers.items():
        expected = dict(FIXED)
        if name.startswith("static"):
            expected["cache-control"] = "public, max-age=31536000, immutable"
        if name.removeprefix("HEAD ") == "message/html" and markup.available:
            expected |= {"content-security-policy": markup.POLICY, "x-frame-options": "SAMEORIGIN"}
        for field, value in expected.items():
            assert answer.headers.get_all(field) == [value], (name, field)
        assert "Server" not in answer.headers, name
        assert answer.headers.get("Access-Control-Allow-Origin") is None, name


def test_every_answer_has_the_status_that_fits(answers):
    expected = {
        "no code": 400,
        "wrong code": 403,
        "right code": 303,
        "hold refused": 400,
        "hold unknown": 404,
        "unknown": 404,
        "traversal": 404,
        "encoded traversal": 404,
        "method": 405,
        "no form": 415,
        "too long": 413,
        "cross-site": 403,
        "message/attachment/9": 404,
        "HEAD message/attachment/9": 404,
        "sign-out by GET": 405,
        "replied": 303,
        "closed": 403,
    }
    if not markup.available:
        expected |= {"message/html": 404, "HEAD message/html": 404}
    assert {name: answer.status for name, answer in answers.items()} == {
        name: expected.get(name, 200) for name in answers
    }


def test_the_policy_allows_nothing_inline_and_nobody_else():
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


def test_no_page_asks_anything_of_anybody_else(answers):
    for name, answer in answers.items():
        if not answer.headers.get("Content-Type", "").startswith("text/html") or name.endswith("/html"):
            continue
        for address in re.findall(r"(?:src|href|action)=\"([^\"]*)\"", answer.text):
            assert address.startswith(("/", "#")), (name, address)
            assert not address.startswith("//"), (name, address)
        assert "<script" not in answer.text, name
        assert not re.search(r"<[^>]* (style|on\w+)=", answer.text), name
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8", name


def test_the_language_is_that_of_the_browser_until_another_is_chosen(site):
    visitor = site.visitor()
    assert '<html lang="nl">' in visitor.get("/").text
    assert '<html lang="en">' in visitor.get("/", {"Accept-Language": "en-GB,en;q=0.9"}).text
    assert visitor.cookies == {}
    chosen = visitor.get("/?language=en")
    assert '<html lang="en">' in chosen.text
    (cookie,) = chosen.headers.get_all("Set-Cookie")
    assert cookie.startswith("__Host-nta-language=en;")
    assert '<html lang="en">' in visitor.get("/", {"Accept-Language": "nl"}).text
    assert "Set-Cookie" not in visitor.get("/?language=../../x").headers
