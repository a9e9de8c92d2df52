"""A code to the recipient's telephone, by a program that writes down what it was given."""

import json
import re
import sqlite3
import sys
import time
from datetime import UTC, datetime
from itertools import count

import pytest

from nta_milter.store.access import CHALLENGE_TRIES
from nta_milter.store.keys import Token
from nta_milter.store.rows import Factor
from tests.integration.portal.mails import message
from tests.integration.portal.site import CODE, Site

MAIL = message()
NUMBER = "+31612345678"
PROGRAM = """
import os, sys
folder = sys.argv[1]
sent = sys.stdin.read()
name = os.path.join(folder, f"{os.getpid()}")
with open(name + ".unfinished", "w") as file:
    file.write(sent)
os.rename(name + ".unfinished", name + ".sms")
sys.exit(os.path.exists(os.path.join(folder, "broken")))
"""
_numbers = count(1)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sms")
    outbox = folder / "outbox"
    outbox.mkdir()
    (folder / "send-sms").write_text(PROGRAM)
    found = Site(folder, sms_command=(sys.executable, str(folder / "send-sms"), str(outbox)))
    found.start()
    yield found
    assert found.stop() == 0
    assert "Traceback" not in found.log


@pytest.fixture
def address(request):
    return re.sub(r"\W", "-", request.node.name).lower() + "@citizen.test"


@pytest.fixture
def visitor(site):
    return site.visitor(f"10.210.{next(_numbers)}.7")


@pytest.fixture
def deposited(site, address):
    """A message for somebody of whom a mobile number is known and nothing else."""
    site.store.access.put_factor(Factor(address, "phone", NUMBER, "test", datetime.now(UTC)))
    return site.deposit(MAIL, address, code=None)


def messages(site):
    return sorted((site.folder / "outbox").glob("*.sms"), key=lambda path: path.stat().st_mtime_ns)


def events(site, deposited):
    lines = [line for line in site.audit.splitlines() if deposited.delivery_id in line]
    return [json.loads(line)["event"] for line in lines]


def wait_for(site, condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, site.log
        time.sleep(0.02)


def code_sent(site, visitor, path):
    """Ask for a code; the text that the program has got."""
    before = set(messages(site))
    answer = visitor.post(path, {"do": "send"})
    assert (answer.status, "De code komt eraan" in answer.text) == (200, True)
    wait_for(site, lambda: set(messages(site)) - before)
    (made,) = set(messages(site)) - before
    number, text = made.read_text().split("\n", 1)
    assert number == NUMBER
    return re.search(r"uw code is (\d{6})\.", text)[1]


def test_the_code_opens_the_message_once(site, deposited, visitor):
    assert "Stuur mij een code per sms" in visitor.get(deposited.path).text
    code = code_sent(site, visitor, deposited.path)
    answer = visitor.post(deposited.path, {"code": f" {code[:3]} {code[3:]} "})
    assert answer.status == 303
    assert visitor.get(answer.headers["Location"]).status == 200
    assert visitor.post(deposited.path, {"code": code}).status == 403
    wait_for(site, lambda: "code-sent" in events(site, deposited))
    assert sorted(events(site, deposited)) == ["code-refused", "code-sent", "portal-opened", "read"]
    assert NUMBER not in site.audit + site.log
    assert code not in site.log


def test_a_code_opens_its_own_message_alone_and_ends_with_the_next(site, deposited, visitor, address):
    other = site.deposit(MAIL, address, code=None)
    first = code_sent(site, visitor, deposited.path)
    assert visitor.post(other.path, {"code": first}).status == 403
    second = code_sent(site, visitor, deposited.path)
    if first != second:
        assert visitor.post(deposited.path, {"code": first}).status == 403
    assert visitor.post(deposited.path, {"code": second}).status == 303


def test_a_code_takes_five_tries(site, deposited):
    code = code_sent(site, site.visitor(f"10.210.{next(_numbers)}.7"), deposited.path)
    wrong = "000000" if code != "000000" else "000001"
    for _ in range(CHALLENGE_TRIES):
        assert site.visitor(f"10.210.{next(_numbers)}.7").post(deposited.path, {"code": wrong}).status == 403
    assert site.visitor(f"10.210.{next(_numbers)}.7").post(deposited.path, {"code": code}).status == 403


def test_the_store_alone_does_not_tell_the_code(site, deposited, visitor):
    code = code_sent(site, visitor, deposited.path)
    with sqlite3.connect(f"file:{site.folder}/store.sqlite?mode=ro", uri=True) as connection:
        (row,) = connection.execute(
            "SELECT id, answer FROM challenges WHERE delivery_id = ?", (deposited.delivery_id,)
        ).fetchall()
    assert row == (deposited.token.challenge, deposited.token.answer(code))
    assert code not in row
    assert Token.new().answer(code) != row[1]


def test_three_codes_are_sent_in_a_quarter_of_an_hour(site, deposited, visitor):
    for _ in range(3):
        code_sent(site, visitor, deposited.path)
    stranger = site.visitor(f"10.210.{next(_numbers)}.7")
    before = messages(site)
    assert stranger.post(deposited.path, {"do": "send"}).status == 429
    assert messages(site) == before


def test_who_has_no_number_or_no_link_sees_the_same_page_and_nothing_is_sent(site, deposited, visitor):
    with_code = site.deposit(MAIL, "met-code@citizen.test")
    before = messages(site)
    shown = set()
    for path in (with_code.path, f"/m/{Token.new().text}", "/m/x"):
        answer = visitor.post(path, {"do": "send"})
        shown.add((answer.status, answer.text.replace(path, "/m/…")))
    assert len(shown) == 1
    real = visitor.post(deposited.path, {"do": "send"})
    assert (real.status, real.text.replace(deposited.path, "/m/…")) in shown
    wait_for(site, lambda: len(messages(site)) == len(before) + 1)
    assert visitor.post(with_code.path, {"code": CODE}).status == 303


def test_robots_send_no_code(site, deposited, visitor):
    before = messages(site)
    for method in ("GET", "HEAD"):
        assert visitor.request(method, f"{deposited.path}?do=send").status == 200
    assert messages(site) == before


def test_a_program_that_fails_is_logged_without_number_or_code(site, deposited, visitor):
    (site.folder / "outbox" / "broken").touch()
    code_sent(site, visitor, deposited.path)
    wait_for(site, lambda: "event=sms-failed status=1" in site.log)
    (site.folder / "outbox" / "broken").unlink()
    assert NUMBER not in site.log
    assert "code-sent" not in events(site, deposited)


def test_a_number_alone_lets_a_held_message_go(site, address):
    held = site.deposit(MAIL, address, code=None, route="hold")
    done = site.command("recipients", "add", address, "--phone", "06 123 456 78")
    assert (done.returncode, done.stderr) == (0, "")
    listed = site.command("recipients", "list", address, "--json")
    assert json.loads(listed.stdout)[0]["phone"] == NUMBER
    store = type(site.store).of(site.store.database, site.store.blobs, site.store.public, {"code", "phone"})
    assert [
        each.id for each in store.handover.release_held(datetime.now(UTC)) if each.recipient == address
    ] == [held.delivery_id]
    assert store.access.can_prove(address)
    assert not site.store.access.can_prove(address)
