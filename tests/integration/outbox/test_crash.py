"""Processes that are killed, queues that are held: nothing is lost, nothing goes twice or early."""

import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from nta_milter.policy.route import Route
from nta_milter.store.rows import DeliveryState
from tests.integration.outbox.conftest import DOCTOR, HOSPITAL_HOP, JAN, NURSE, Site, mail


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


def blobs(site: Site) -> set[str]:
    return set(site.stored.contents())


def numbers(site: Site, store: str, address: str) -> list[str]:
    """The numbers of the mails that arrived, from their texts."""
    found = [re.search(rb"canary-text-(\d+)", each.raw) for each in site.mailbox(store, address)]
    return sorted(each[1].decode() for each in found if each)


def test_what_the_queue_has_lost_is_shredded_and_recorded(site):
    before = blobs(site)
    raw = mail(20, NURSE)
    address = site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP), at=long_ago())
    assert not site.commit(address, raw, reply="tempfail").accepted
    delivery = site.delivery(NURSE)
    assert blobs(site) - before
    site.wait_for(lambda: site.delivery(NURSE).state is DeliveryState.ABANDONED, "given up")
    site.wait_for(lambda: not blobs(site) - before, "the content is gone")
    site.wait_for(lambda: site.events(delivery) == ["abandoned", "shredded"], "recorded")
    assert site.store.handover.worker_wrap(delivery.message_id) is None
    assert site.mailbox("nta.hospital", NURSE) == []


def test_what_is_on_hold_in_the_queue_is_not_given_up(site):
    site.stop_service("worker")
    raw = mail(21, NURSE)
    address = site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP), at=long_ago())
    assert site.commit(address, raw).accepted
    site.settle()
    site.postsuper("-h", "ALL")
    site.start_service("worker")
    time.sleep(4)
    assert site.delivery(NURSE).state is DeliveryState.PREPARED
    site.postsuper("-H", "ALL")
    site.flush()
    site.wait_for(lambda: numbers(site, "nta.hospital", NURSE) == ["21"], "the copy")


def test_without_a_look_at_the_queue_nothing_is_given_up(site):
    etc = site.postfix["care"].home / "etc"
    (etc / "main.cf").rename(etc / "main.cf.away")
    raw = mail(22, NURSE)
    site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP), at=long_ago())
    time.sleep(4)
    assert site.delivery(NURSE).state is DeliveryState.PREPARED
    assert 'duty=watch error="postqueue: ' in site.service_log("worker")
    (etc / "main.cf.away").rename(etc / "main.cf")
    site.wait_for(lambda: site.delivery(NURSE).state is DeliveryState.ABANDONED, "given up")


@pytest.mark.chaos
def test_a_worker_that_is_killed_again_and_again_loses_nothing(site):
    """Each mail arrives; once, but for one that Postfix took in the very moment of the kill."""
    count = 12
    for number in range(count):
        raw = mail(100 + number, NURSE, JAN)
        address = site.prepare(
            raw, (NURSE, Route.DANE, HOSPITAL_HOP), (JAN, Route.PORTAL, ""), queue_id=f"4C{number}"
        )
        assert site.commit(address, raw).accepted
        if number % 3 == 2:
            time.sleep(0.02 * number)
            site.stop_service("worker", kill=True)
            site.start_service("worker")
            site.flush()
    wanted = [str(100 + number) for number in range(count)]
    site.wait_for(lambda: set(numbers(site, "nta.hospital", NURSE)) == set(wanted), "every copy")
    site.wait_for(lambda: len(site.mailbox("mx.citizen", JAN)) >= count, "every notification")
    site.settle()
    time.sleep(1)
    assert site.queue() == []
    kills = count // 3
    assert len(numbers(site, "nta.hospital", NURSE)) <= count + kills
    assert len(site.mailbox("mx.citizen", JAN)) <= count + kills
    assert site.mailbox("care", DOCTOR) == []


@pytest.mark.chaos
def test_a_store_that_cannot_be_written_for_a_while_loses_nothing(site):
    raw = mail(200, NURSE)
    address = site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP))
    with site.store.database.transaction():
        assert site.commit(address, raw).accepted
        site.wait_for(lambda: "event=receive-failed kind=commit" in site.service_log("worker"), "refused")
        assert numbers(site, "nta.hospital", NURSE) == []
    site.settle()
    site.flush()
    site.wait_for(lambda: numbers(site, "nta.hospital", NURSE) == ["200"], "the copy")


def test_the_audit_is_whole_signed_and_shows_a_change(site):
    def verified() -> tuple[int, list[dict[str, object]]]:
        status, output = site.nta_milter("audit", "verify", "--json", "--config", str(site.configuration))
        return status, json.loads(output)

    raw = mail(30, NURSE)
    address = site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP))
    assert site.commit(address, raw).accepted
    site.wait_for(lambda: site.events(site.delivery(NURSE)) == ["released", "submitted"], "recorded")
    site.wait_for(lambda: verified()[1][0]["signed"], "a checkpoint", pause=0.5)
    status, (chain,) = verified()
    assert (status, chain["writer"], chain["fault"]) == (0, "mx.care.test:worker", None)
    with site.store.database.transaction() as connection:
        connection.execute(text("UPDATE records SET line = :line WHERE sequence = 1"), {"line": b"{}"})
    status, (chain,) = verified()
    assert (status, chain["fault"]["record"]) == (1, 1)
