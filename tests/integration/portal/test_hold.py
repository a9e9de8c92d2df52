"""The sender's page for a message whose recipient cannot prove who he is yet, and the commands."""

import json
import re

import pytest

from nta_milter.portal.factors import code as access_code
from nta_milter.store.rows import DeliveryState
from tests.integration.portal.mails import message

MAIL = message(subject="Vertrouwelijk onderwerp")


@pytest.fixture
def held(site, request):
    name = re.sub(r"\W", "-", request.node.name).lower()
    return site.deposit(MAIL, f"{name}@citizen.test", code=None, route="hold")


def test_the_page_shows_the_address_and_nothing_of_the_message(site, held):
    page = site.visitor().get(f"/hold/{held.token.text}")
    recipient = site.store.access.find(held.delivery_id).recipient
    assert page.status == 200
    assert recipient in page.text
    assert "Vertrouwelijk" not in page.text
    suggested = re.search(r"bijvoorbeeld ([A-Z2-9-]{9})\.", page.text)[1]
    assert suggested not in site.visitor().get(f"/hold/{held.token.text}").text


def test_a_code_sends_the_message_on_its_way(site, held):
    visitor, path = site.visitor(), f"/hold/{held.token.text}"
    for given, said in (("", "Vul voor"), ("12345678", "te makkelijk te raden"), ("kort", "te makkelijk")):
        answer = visitor.post(path, {"code": given, "do": "release"})
        assert answer.status == 400
        assert said in answer.text
    assert site.store.access.find(held.delivery_id).state is DeliveryState.HELD
    answer = visitor.post(path, {"code": "Tulp-Molen-31", "do": "release"})
    assert "Uw bericht gaat op weg" in answer.text
    delivery = site.store.access.find(held.delivery_id)
    assert delivery.state is DeliveryState.WAITING
    (factor,) = site.store.access.factors(delivery.recipient)
    assert access_code.matches("tulpmolen31", factor.value)
    assert factor.created_by == "doctor@care.test"
    again = visitor.post(path, {"code": "Andere-Code-99", "do": "release"})
    assert again.status == 404
    assert access_code.matches("tulpmolen31", site.store.access.factors(delivery.recipient)[0].value)


def test_the_sender_withdraws_it(site, held):
    visitor, path = site.visitor(), f"/hold/{held.token.text}"
    assert "Uw bericht is ingetrokken" in visitor.post(path, {"code": "", "do": "withdraw"}).text
    assert site.store.access.find(held.delivery_id).state is DeliveryState.RECALLED
    assert visitor.get(path).status == 404


def test_the_link_of_a_recipient_is_no_link_of_a_sender(site):
    deposited = site.deposit(MAIL)
    answer = site.visitor().post(f"/hold/{deposited.token.text}", {"code": "Tulp-Molen-31", "do": "release"})
    assert answer.status == 404
    assert not access_code.matches("tulpmolen31", site.store.access.factors("jan@citizen.test")[0].value)


def test_messages_are_listed_shown_and_recalled(site):
    deposited = site.deposit(MAIL, "lijst@citizen.test")
    listed = json.loads(site.command("message", "list", "--recipient", "lijst@citizen.test", "--json").stdout)
    assert [each["id"] for each in listed] == [deposited.delivery_id]
    shown = site.command("message", "show", deposited.message_id)
    assert shown.returncode == 0
    assert "recipient: lijst@citizen.test" in shown.stdout
    assert "Vertrouwelijk" not in shown.stdout
    assert site.command("message", "show", "nothing").returncode == 1
    assert "is the id of no delivery" in site.command("message", "show", "nothing").stderr
    recalled = site.command("message", "recall", deposited.delivery_id, "--json")
    assert (recalled.returncode, json.loads(recalled.stdout)[0]["recalled"]) == (0, True)
    assert site.command("message", "recall", deposited.delivery_id).returncode == 1
    assert site.visitor().post(deposited.path, {"code": "roos-fiets-47"}).status == 403
    assert site.command("message", "list", "--recipient", "nobody@nowhere.test").returncode == 1
    mine = [line for line in site.audit.splitlines() if deposited.delivery_id in line]
    assert sum('"recalled"' in line for line in mine) == 1
