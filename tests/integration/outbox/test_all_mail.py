"""Mail that is not sensitive, over mandatory DANE and apart, on a real Postfix (``routing.dane = "all"``)."""

import pytest

from tests.integration.outbox.conftest import COLLEAGUE, DOCTOR, JAN, NURSE, mail
from tests.laboratory import Laboratory
from tests.laboratory.names import STORES
from tests.laboratory.scenarios.proof import arrived


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    routing = {"postfix": "/etc/postfix", "dane": "all"}
    with Laboratory(tmp_path_factory.mktemp("all"), download=True, routing=routing) as laboratory:
        yield laboratory


def test_each_recipient_gets_it_by_his_own_way_readable_and_once(site):
    raw = mail(1, NURSE, JAN, COLLEAGUE)
    assert site.send(DOCTOR, DOCTOR, [NURSE, JAN, COLLEAGUE], raw).accepted
    for store, recipient in (("nta.hospital", NURSE), ("mx.citizen", JAN), ("care", COLLEAGUE)):
        received = arrived(site, store, recipient)
        assert b"canary-text-1" in received.raw
        assert b"X-Nta-" not in received.raw
        everywhere = [each for each in STORES if site.mailbox(each, recipient)]
        assert everywhere == [store]
        assert len(site.mailbox(store, recipient)) == 1


def test_one_recipient_gets_it_in_place(site):
    site.reset()
    assert site.send(DOCTOR, DOCTOR, [NURSE], mail(2, NURSE)).accepted
    received = arrived(site, "nta.hospital", NURSE)
    assert b"canary-text-2" in received.raw
    assert site.stored.rows("SELECT count(*) FROM deliveries") == [(0,)]
