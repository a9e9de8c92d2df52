"""Too many wrong codes: who is locked out, whom that is told, and how it ends; more time and a new link."""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from nta_milter.portal.factors import code as access_code
from nta_milter.store.keys import Token
from nta_milter.store.rows import Form, NewLink
from tests.integration.portal.mails import message
from tests.integration.portal.site import CODE

MAIL = message(subject="Vertrouwelijk onderwerp")
WRONG = {"code": "verkeerd-1"}
_numbers = count(1)


@pytest.fixture
def address(request):
    return re.sub(r"\W", "-", request.node.name).lower() + "@citizen.test"


@pytest.fixture
def visitor(site):
    return site.visitor(f"10.200.{next(_numbers)}.7")


def lock(site, deposited, visitor):
    """Give the last wrong code of a day from one network."""
    network = visitor.address.rsplit(".", 1)[0] + ".0/24"
    for _ in range(19):
        site.store.access.count(
            f"day {network} {deposited.token.lookup}", datetime.now(UTC), timedelta(days=1)
        )
    assert visitor.post(deposited.path, WRONG).status == 403
    assert visitor.post(deposited.path, {"code": CODE}).status == 429
    return network


def told(site, deposited):
    """What waits for the sender about a delivery."""
    waiting = site.store.handover.pending()
    return [each.form for each in waiting if each.delivery.id == deposited.delivery_id]


def page_of(site, deposited):
    """The page behind the link in the mail to the sender, as the worker makes it."""
    token = Token.new()
    site.store.outgoing.add_link(NewLink(token.lookup, deposited.delivery_id, "unlock"), datetime.now(UTC))
    return f"/unlock/{token.text}"


def events(site, deposited):
    lines = map(json.loads, site.audit.splitlines())
    return [line["event"] for line in lines if line["details"].get("delivery") == deposited.delivery_id]


def test_the_sender_is_told_once_who_is_locked_out(site, address, visitor):
    deposited = site.deposit(MAIL, address)
    network = lock(site, deposited, visitor)
    assert told(site, deposited) == [Form.LOCKED]
    locked = [json.loads(line) for line in site.audit.splitlines() if '"locked"' in line]
    (mine,) = [line for line in locked if line["details"]["delivery"] == deposited.delivery_id]
    assert mine["details"]["network"] == network
    lock(site, deposited, site.visitor(f"10.200.{next(_numbers)}.7"))
    assert told(site, deposited) == [Form.LOCKED]


def test_a_lock_is_listed_and_ended_by_a_command(site, address, visitor):
    deposited = site.deposit(MAIL, address)
    assert site.command("recipients", "list", address, "--locked").returncode == 1
    network = lock(site, deposited, visitor)
    listed = site.command("recipients", "list", address, "--locked", "--json")
    (found,) = json.loads(listed.stdout)
    assert (found["address"], found["delivery"], found["network"]) == (
        address,
        deposited.delivery_id,
        network,
    )
    shown = site.command("recipients", "list", address, "--locked")
    assert (shown.returncode, shown.stdout.split("\t")[:3]) == (0, [address, deposited.delivery_id, network])
    assert site.command("recipients", "unlock", address.upper()).stdout == f"{address}: can try again\n"
    assert site.command("recipients", "unlock", address).returncode == 1
    assert site.command("recipients", "list", address, "--locked").returncode == 1
    assert visitor.post(deposited.path, {"code": CODE}).status == 303
    assert any('"unlocked"' in line and address in line for line in site.audit.splitlines())


def test_a_link_that_is_locked_for_everybody_is_listed_as_such(site, address, visitor):
    deposited = site.deposit(MAIL, address)
    for _ in range(99):
        site.store.access.count(f"link {deposited.token.lookup}", datetime.now(UTC), timedelta(days=1))
    assert visitor.post(deposited.path, WRONG).status == 403
    assert told(site, deposited) == [Form.LOCKED]
    shown = site.command("recipients", "list", address, "--locked")
    assert shown.stdout.split("\t")[2] == "everywhere"
    site.agree(address, "tulp-molen-31")
    assert visitor.post(deposited.path, {"code": "tulp-molen-31"}).status == 303


def test_the_senders_page_shows_nothing_and_changes_nothing_until_he_sends_it(site, address, visitor):
    deposited = site.deposit(MAIL, address)
    lock(site, deposited, visitor)
    path = page_of(site, deposited)
    page = site.visitor().get(path)
    assert page.status == 200
    assert address in page.text
    assert "Vertrouwelijk" not in page.text
    assert visitor.post(deposited.path, {"code": CODE}).status == 429
    assert "kan het opnieuw proberen" in site.visitor().post(path, {"code": ""}).text
    assert visitor.post(deposited.path, {"code": CODE}).status == 303
    assert events(site, deposited)[-2:] == ["unlocked", "portal-opened"]


def test_the_sender_gives_a_new_code(site, address, visitor):
    deposited = site.deposit(MAIL, address)
    lock(site, deposited, visitor)
    path = page_of(site, deposited)
    weak = site.visitor().post(path, {"code": "12345678"})
    assert (weak.status, "te makkelijk te raden" in weak.text) == (400, True)
    assert site.visitor().post(path, {"code": "Tulp-Molen-31"}).status == 200
    assert visitor.post(deposited.path, {"code": CODE}).status == 403
    assert visitor.post(deposited.path, {"code": "tulpmolen31"}).status == 303
    (factor,) = site.store.access.factors(address)
    assert factor.created_by == "doctor@care.test"


def test_each_link_is_good_for_its_own_page_alone(site, address, visitor):
    deposited = site.deposit(MAIL, address)
    path = page_of(site, deposited)
    assert visitor.post(f"/m/{path.rpartition('/')[2]}", {"code": CODE}).status == 403
    assert visitor.post(f"/hold/{path.rpartition('/')[2]}", {"code": "tulp-molen-31"}).status == 404
    for token in (deposited.token.text, Token.new().text, "x"):
        assert visitor.get(f"/unlock/{token}").status == 404
        assert visitor.post(f"/unlock/{token}", {"code": "tulp-molen-31"}).status == 404
    (factor,) = site.store.access.factors(address)
    assert access_code.matches(CODE, factor.value)
    assert site.store.handover.recall(deposited.delivery_id)
    assert visitor.get(path).status == 404


def test_a_message_is_given_more_time_and_its_notification_sent_again(site, address):
    deposited = site.deposit(MAIL, address, lifetime=timedelta(days=2))
    for words in (("--days", "1"), ("--days", "30")):
        done = site.command("message", "extend", deposited.delivery_id, *words, "--json")
        assert (done.returncode, json.loads(done.stdout)["extended"]) == (
            (0, True) if "30" in words else (1, False)
        )
    expires = site.store.access.find(deposited.delivery_id).expires_at
    assert timedelta(days=29) < expires - datetime.now(UTC) <= timedelta(days=30)
    assert (
        "can be opened until"
        in site.command("message", "extend", deposited.message_id, "--days", "31").stdout
    )
    assert site.command("message", "extend", deposited.message_id, "--days", "0").returncode == 2
    again = site.command("message", "resend", deposited.message_id)
    assert (again.returncode, again.stdout.split("\t")[2]) == (0, "is sent again\n")
    assert told(site, deposited) == [Form.NOTIFICATION]
    assert site.store.access.delete(deposited.delivery_id)
    over = site.command("message", "resend", deposited.message_id, "--json")
    assert (over.returncode, json.loads(over.stdout)[0]["resent"]) == (1, False)
    assert site.command("message", "extend", deposited.message_id, "--days", "60").returncode == 1
    assert events(site, deposited) == ["extended", "extended", "resent"]
