"""What Postfix queued goes, once; what it did not queue never does."""

import time
from datetime import UTC, datetime

import pytest

from nta_milter.policy.route import Route
from nta_milter.store.rows import DeliveryState
from tests.integration.outbox.conftest import (
    COLLEAGUE,
    DOCTOR,
    HOSPITAL_HOP,
    JAN,
    NURSE,
    Site,
    link_in,
    mail,
)


def state(site: Site, recipient: str) -> DeliveryState:
    return site.delivery(recipient).state


def quiet(site: Site, seconds: float = 1.5) -> None:
    """Long enough for a mail that must not come to come."""
    time.sleep(seconds)
    site.settle()


def test_what_postfix_queued_goes_once_to_each_in_his_own_form(site):
    raw = mail(1, COLLEAGUE, NURSE, JAN)
    address = site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP), (JAN, Route.PORTAL, ""))
    assert site.commit(address, raw).accepted
    (copy,) = site.wait_for(lambda: site.mailbox("nta.hospital", NURSE), "the copy by DANE")
    (notification,) = site.wait_for(lambda: site.mailbox("mx.citizen", JAN), "the notification")
    (passed,) = site.wait_for(lambda: site.mailbox("care", COLLEAGUE), "the mail that passed")
    assert b"canary-text-1" in copy.raw
    assert b"X-Nta" not in copy.raw
    assert b"canary" not in notification.raw.replace(b"<canary-", b"")
    assert b"canary-text-1" in passed.raw
    assert "Verified TLS connection established to nta.hospital.test" in site.log()
    site.wait_for(lambda: state(site, JAN) is DeliveryState.SENT, "sent")
    token = link_in(notification.raw, "m")
    linked = site.store.access.find_by_link(token.lookup, datetime.now(UTC))
    key = site.portal_keys.open_link(token, linked.sealed, linked.delivery.message_id)
    with site.store.open(linked.delivery.message_id, linked.delivery.blob_id, key) as content:
        assert content.read() == raw
    quiet(site)
    assert len(site.mailbox("nta.hospital", NURSE)) == 1
    assert len(site.mailbox("mx.citizen", JAN)) == 1
    assert site.events(site.delivery(NURSE)) == ["released", "submitted"]
    assert site.events(site.delivery(JAN)) == ["released", "notified"]


@pytest.mark.parametrize("reply", ["tempfail", "reject"])
def test_what_postfix_did_not_queue_never_goes_and_is_shredded(site, reply):
    raw = mail(2, NURSE)
    address = site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP))
    assert not site.commit(address, raw, reply=reply).accepted
    quiet(site)
    assert site.mailbox("nta.hospital", NURSE) == []
    assert state(site, NURSE) is DeliveryState.PREPARED


def test_a_commit_that_waits_for_the_worker_is_not_lost(site):
    site.stop_service("worker")
    raw = mail(3, NURSE)
    address = site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP))
    assert site.commit(address, raw).accepted
    site.settle()
    assert [each["queue_name"] for each in site.queue()] == ["deferred"]
    site.start_service("worker")
    site.flush()
    site.wait_for(lambda: site.mailbox("nta.hospital", NURSE), "the copy by DANE")
    site.wait_for(lambda: site.queue() == [], "the queue is empty")
    assert len(site.mailbox("nta.hospital", NURSE)) == 1


def test_a_requeued_message_is_committed_once(site):
    site.stop_service("worker")
    raw = mail(4, NURSE)
    address = site.prepare(raw, (NURSE, Route.DANE, HOSPITAL_HOP))
    assert site.commit(address, raw).accepted
    site.settle()
    site.postsuper("-r", "ALL")
    site.settle()
    site.start_service("worker")
    site.flush()
    site.wait_for(lambda: site.mailbox("nta.hospital", NURSE), "the copy by DANE")
    site.wait_for(lambda: site.queue() == [], "the queue is empty")
    quiet(site)
    assert len(site.mailbox("nta.hospital", NURSE)) == 1
    assert len(site.mailbox("care", COLLEAGUE)) == 1


def test_who_waits_for_a_factor_is_told_to_the_sender_and_goes_after(site):
    raw = mail(5, JAN)
    address = site.prepare(raw, (JAN, Route.HOLD, ""))
    assert site.commit(address, raw).accepted
    (asked,) = site.wait_for(lambda: site.mailbox("care", DOCTOR), "the mail to the sender")
    assert b"canary" not in asked.raw
    assert link_in(asked.raw, "hold") is not None
    assert state(site, JAN) is DeliveryState.HELD
    assert site.mailbox("mx.citizen", JAN) == []


def test_a_refused_recipient_gets_a_report_without_content(site):
    raw = mail(6, JAN)
    address = site.prepare(raw, (JAN, Route.REJECT, ""))
    assert site.commit(address, raw).accepted
    (report,) = site.wait_for(lambda: site.mailbox("care", DOCTOR), "the report")
    assert b"canary" not in report.raw
    assert b"Status: 5.7.1" in report.raw
    assert report.sender == "<>"


def test_a_bounce_is_told_without_content_and_ends_the_link(site):
    raw = mail(7, "nobody@citizen.test")
    site.postfix["citizen"].set(smtpd_recipient_restrictions="reject")
    address = site.prepare(raw, ("nobody@citizen.test", Route.PORTAL, ""))
    assert site.commit(address, raw).accepted
    (report,) = site.wait_for(lambda: site.mailbox("care", DOCTOR), "the report")
    assert b"canary" not in report.raw
    assert link_in(report.raw, "m") is None
    assert b"Status: 5.7.1" in report.raw or b"Status: 5.1" in report.raw
    delivery = site.delivery("nobody@citizen.test")
    assert delivery.state is DeliveryState.UNDELIVERABLE
    assert site.events(delivery)[:3] == ["released", "notified", "undeliverable"]
