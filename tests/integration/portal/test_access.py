"""Who gets in, and who learns nothing: robots, guessers, forged requests, stolen cookies."""

import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from nta_milter.store.keys import Token
from tests.integration.portal.mails import message
from tests.integration.portal.site import CODE

MAIL = message(files={"a.txt": b"a"})
_numbers = count(1)


@pytest.fixture
def fresh(site):
    """Makes visitors, each from a network that nobody has used."""

    def make():
        number = next(_numbers)
        return site.visitor(f"10.{number // 256}.{number % 256}.7")

    return make


def rows(site) -> list[str]:
    """Every row of every table of the database."""
    with sqlite3.connect(f"file:{site.folder}/store.sqlite?mode=ro", uri=True) as connection:
        return list(connection.iterdump())


def masked(page: str) -> str:
    """A page without the token of its own address."""
    return re.sub(r"/m/[\w-]{43}", "/m/…", page)


def test_robots_change_no_row(site, fresh):
    deposited = site.deposit(MAIL)
    held = site.deposit(MAIL, "robot@citizen.test", code=None, route="hold")
    before, audit = rows(site), site.audit
    visitor = fresh()
    paths = (
        deposited.path,
        f"/hold/{held.token.text}",
        f"/message/{deposited.delivery_id}",
        f"/message/{deposited.delivery_id}/message.eml",
        f"/message/{deposited.delivery_id}/reply",
        f"/message/{deposited.delivery_id}/delete",
        "/",
    )
    for path in paths:
        for method in ("GET", "HEAD"):
            for _ in range(100):
                assert visitor.request(method, path).status in (200, 403)
    assert rows(site) == before
    assert site.audit == audit


def test_unknown_expired_deleted_recalled_and_wrong_look_the_same(site, fresh):
    deposited = site.deposit(MAIL)
    expired = site.deposit(MAIL, lifetime=timedelta(seconds=-1))
    deleted, recalled = site.deposit(MAIL), site.deposit(MAIL)
    assert site.store.access.delete(deleted.delivery_id)
    assert site.store.handover.recall(recalled.delivery_id)
    without_code = site.deposit(MAIL, "nobody@citizen.test", code=None)
    held = site.deposit(MAIL, "held@citizen.test", route="hold")
    cases = {
        f"/m/{Token.new().text}": CODE,
        "/m/x": CODE,
        f"/m/{'A' * 2000}": CODE,
        expired.path: CODE,
        deleted.path: CODE,
        recalled.path: CODE,
        without_code.path: CODE,
        held.path: CODE,
        deposited.path: "roos-fiets-48",
    }
    shown = {fresh().get(path).text.replace(path, "/m/…") for path in cases}
    assert len(shown) == 1
    refused = []
    for path, code in cases.items():
        answer = fresh().post(path, {"code": code})
        refused.append((answer.status, answer.text.replace(path, "/m/…"), sorted(answer.headers)))
    assert all(each == refused[0] for each in refused)
    assert refused[0][0] == 403


def test_exactly_five_codes_get_through_whoever_tries_at_the_same_time(site, fresh):
    deposited = site.deposit(MAIL)
    visitor = fresh()
    with ThreadPoolExecutor(20) as threads:
        answers = list(
            threads.map(lambda _: visitor.post(deposited.path, {"code": "wrong-code-1"}), range(20))
        )
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [403] * 5 + [429] * 15
    assert visitor.post(deposited.path, {"code": CODE}).status == 429


def test_a_stranger_does_not_lock_the_patient_out(site, fresh):
    deposited = site.deposit(MAIL)
    stranger, patient = fresh(), fresh()
    for _ in range(6):
        stranger.post(deposited.path, {"code": "wrong-code-1"})
    assert stranger.post(deposited.path, {"code": CODE}).status == 429
    assert patient.post(deposited.path, {"code": CODE}).status == 303


def test_neighbours_in_one_network_count_together(site, fresh):
    deposited = site.deposit(MAIL)
    for number in range(5):
        visitor = site.visitor(f"2001:db8:77:ff{number:02x}::1")
        assert visitor.post(deposited.path, {"code": "wrong-code-1"}).status == 403
    assert site.visitor("2001:db8:77:ffff::2").post(deposited.path, {"code": CODE}).status == 429
    assert site.visitor("2001:db8:77:feff::2").post(deposited.path, {"code": CODE}).status == 303


def test_twenty_failures_a_day_lock_that_network_and_a_right_code_begins_anew(site, fresh):
    deposited = site.deposit(MAIL)
    visitor = fresh()
    lookup, network = deposited.token.lookup, visitor.address.rsplit(".", 1)[0] + ".0/24"
    now = datetime.now(UTC)
    for _ in range(19):
        site.store.access.count(f"day {network} {lookup}", now, timedelta(days=1))
    assert visitor.post(deposited.path, {"code": CODE}).status == 303
    for _ in range(20):
        site.store.access.count(f"day {network} {lookup}", now, timedelta(days=1))
    assert visitor.post(deposited.path, {"code": CODE}).status == 429


def test_a_hundred_failures_from_everywhere_lock_the_link_and_look_like_a_wrong_code(site, fresh):
    deposited = site.deposit(MAIL)
    now = datetime.now(UTC)
    for _ in range(99):
        site.store.access.count(f"link {deposited.token.lookup}", now, timedelta(days=1))
    assert fresh().post(deposited.path, {"code": "wrong-code-1"}).status == 403
    answer = fresh().post(deposited.path, {"code": CODE})
    assert answer.status == 403
    assert masked(answer.text) == masked(fresh().post(f"/m/{Token.new().text}", {"code": CODE}).text)
    locked = [
        line for line in site.audit.splitlines() if '"locked"' in line and deposited.delivery_id in line
    ]
    assert len(locked) == 1


def test_an_empty_code_is_no_try(site, fresh):
    deposited = site.deposit(MAIL)
    visitor = fresh()
    for _ in range(7):
        assert visitor.post(deposited.path, {"code": " - "}).status == 400
    assert visitor.post(deposited.path, {"code": CODE}).status == 303


def test_the_cookie_is_bound_to_browser_and_site_and_the_store_knows_its_hash_alone(site, fresh):
    deposited = site.deposit(MAIL)
    visitor = fresh()
    answer = visitor.post(deposited.path, {"code": CODE})
    (field,) = answer.headers.get_all("Set-Cookie")
    name, value = field.split(";")[0].split("=")
    assert name == f"__Host-nta-{deposited.delivery_id[:16]}"
    attributes = {part.strip().lower() for part in field.split(";")[1:]}
    assert attributes == {"max-age=28800", "path=/", "secure", "httponly", "samesite=strict"}
    kept = "\n".join(rows(site))
    token = Token.parse(value)
    assert value not in kept
    assert token.secret.hex() not in kept.lower()
    assert token.lookup in kept
    assert deposited.key.hex() not in kept.lower()
    assert deposited.token.text not in kept
    assert deposited.token.text not in site.audit + site.log


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, Token.new().text, '"', "é"])
def test_a_wrong_cookie_opens_nothing(site, fresh, cookie):
    deposited = site.deposit(MAIL)
    visitor = fresh()
    for page in ("", "/html", "/attachment/0", "/attachments.zip", "/message.eml", "/reply", "/delete"):
        header = {"Cookie": f"__Host-nta-{deposited.delivery_id[:16]}={cookie}".encode().decode("latin-1")}
        answer = visitor.get(f"/message/{deposited.delivery_id}{page}", header)
        assert answer.status == 403
        assert "Open het opnieuw met de link" in answer.text


def test_a_visit_ends_when_unused_and_when_over(site, fresh):
    deposited = site.deposit(MAIL)
    visitor = fresh()
    path = visitor.open(deposited)
    token = Token.parse(next(iter(visitor.cookies.values())))
    site.store.access.used_session(token.lookup, datetime.now(UTC) - timedelta(minutes=31))
    assert visitor.get(path).status == 403
    assert visitor.get(visitor.open(deposited)).status == 200


def test_a_recalled_message_closes_for_who_is_reading_it(site, fresh):
    deposited = site.deposit(MAIL)
    visitor = fresh()
    path = visitor.open(deposited)
    assert site.store.handover.recall(deposited.delivery_id)
    assert visitor.get(path).status == 403
    assert visitor.get(f"{path}/message.eml").status == 403


FORGED = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.test"},
    {"Origin": "https://veilig.care.test.evil.test"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
]


@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_a_form_from_another_site_does_nothing(site, fresh, forged):
    deposited = site.deposit(MAIL)
    held = site.deposit(MAIL, "forged@citizen.test", code=None, route="hold")
    visitor = fresh()
    assert visitor.post(deposited.path, {"code": CODE}, forged).status == 403
    path = visitor.open(deposited)
    fields = {"token": visitor.form_token(path), "text": "x", "once": "0" * 32}
    for page in ("reply", "delete", "sign-out"):
        assert visitor.post(f"{path}/{page}", fields, forged).status == 403
    assert visitor.post(f"/hold/{held.token.text}", {"code": CODE}, forged).status == 403
    assert visitor.get(path).status == 200
    assert site.store.access.factors("forged@citizen.test") == ()


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_without_the_token_of_the_visit_does_nothing(site, fresh, token):
    deposited, other = site.deposit(MAIL), site.deposit(MAIL)
    visitor = fresh()
    path = visitor.open(deposited)
    elsewhere = visitor.form_token(visitor.open(other))
    for given in (token, elsewhere):
        fields = {"text": "x", "once": "0" * 32} | ({} if given is None else {"token": given})
        for page in ("reply", "delete", "sign-out"):
            assert visitor.post(f"{path}/{page}", fields).status == 403
    assert visitor.get(path).status == 200


def test_our_own_forms_are_taken_whatever_the_browser_says_of_them(site, fresh):
    deposited = site.deposit(MAIL)
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Origin": "https://veilig.care.test"},
        {"Sec-Fetch-Site": "none"},
        {},
    ):
        assert fresh().post(deposited.path, {"code": CODE}, headers).status == 303


def test_a_client_behind_no_proxy_of_ours_cannot_choose_its_network(site, fresh):
    deposited = site.deposit(MAIL)
    for number in range(5):
        visitor = site.visitor(f"203.0.113.{number}, 198.51.100.77")
        assert visitor.post(deposited.path, {"code": "wrong-code-1"}).status == 403
    assert site.visitor("192.0.2.200, 198.51.100.78").post(deposited.path, {"code": CODE}).status == 429
