import dataclasses
from datetime import timedelta

import pytest

from nta_milter.config.model import PortalSettings
from nta_milter.errors import LookupUnavailable
from nta_milter.message.model import Entity
from nta_milter.outbox.addresses import commit_id
from nta_milter.policy.route import Route
from nta_milter.store.rows import DeliveryState, Factor, Form
from nta_milter.worker.again import PAUSE, Again, Decided
from tests.unit.outbox.conftest import AT, copies, message
from tests.unit.worker.conftest import lose

LEASE = timedelta(minutes=10)


def not_yet(whole, delivery, at):
    return Decided(Route.TEMPFAIL, delivery.reasons)


@pytest.fixture
def undecided(store, outbox):
    whole = message()
    store.outgoing.commit(commit_id(outbox.prepare(whole, copies(whole, Route.TEMPFAIL), "4X1", AT)), AT)
    return store.handover.list_deliveries()[0].id


@pytest.fixture
def again(settings, store, worker, audit, clock):
    def make(decide, **portal):
        changed = dataclasses.replace(settings, portal=PortalSettings(**{"url": "https://x.test", **portal}))
        return Again(changed, store, worker, audit, decide, clock)

    return make


def factor():
    return Factor("jan@citizen.test", "code", "scrypt$…", "doctor@care.test", AT)


def test_the_decider_sees_the_message_and_its_route_is_taken(again, undecided, store, worker, events):
    seen = []

    def decide(whole, delivery, at):
        seen.append((whole.sender, whole.recipients[0].address, bytes(whole.body), delivery.id, at))
        content = Entity(whole.headers.only(("From",)), b"ciphertext")
        return Decided(Route.SMIME, ("compliant",), "[nta.hospital.test]", content)

    assert again(decide).round() == 1
    assert seen == [("doctor@care.test", "jan@citizen.test", b"canary-text\r\n", undecided, AT)]
    (submission,) = store.handover.claim(AT, LEASE)
    assert (submission.form, submission.delivery.next_hop) == (Form.COPY, "[nta.hospital.test]")
    key = store.message_key(worker, submission.worker_wrap, submission.delivery.message_id)
    with store.open(submission.delivery.message_id, submission.delivery.blob_id, key) as content:
        assert content.read() == b"From: Doctor <doctor@care.test>\r\n\r\nciphertext"
    assert events() == ["decided"]


def test_what_is_not_known_is_asked_again_after_a_pause(again, undecided, store, clock):
    asked = []

    def decide(whole, delivery, at):
        asked.append(at)
        raise LookupUnavailable("SERVFAIL")

    unknown = again(decide)
    assert unknown.round() == 0
    assert unknown.round() == 0
    clock.advance(seconds=PAUSE.total_seconds())
    assert unknown.round() == 0
    assert asked == [AT, AT + PAUSE]
    assert store.handover.find(undecided).state is DeliveryState.UNDECIDED


@pytest.mark.parametrize(
    ("url", "known", "form"),
    [
        ("https://x.test", True, Form.NOTIFICATION),
        ("https://x.test", False, Form.HOLD),
        ("", False, Form.REPORT),
    ],
)
def test_when_the_time_is_over_it_goes_by_what_needs_no_record(
    again, undecided, store, clock, settings, url, known, form
):
    if known:
        store.access.put_factor(factor())
    late = again(not_yet, url=url)
    clock.advance(seconds=settings.worker.decide_limit - 1)
    assert late.round() == 0
    clock.advance(hours=1)
    assert late.round() == 1
    (submission,) = store.handover.claim(clock(), LEASE)
    assert submission.form is form
    assert submission.delivery.reasons[-1] == "could not be looked up in time"


def test_one_that_cannot_be_opened_keeps_nobody(again, undecided, store, outbox):
    lose(store, store.handover.find(undecided))
    other = message(b"From: doctor@care.test\r\n\r\nother\r\n")
    store.outgoing.commit(commit_id(outbox.prepare(other, copies(other, Route.TEMPFAIL), "4X2", AT)), AT)
    assert again(lambda *_: Decided(Route.DANE, (), "mx")).round() == 1


def test_a_decider_that_fails_in_an_unforeseen_way_keeps_nobody(again, undecided, store):
    def decide(*_):
        raise ZeroDivisionError

    assert again(decide).round() == 0
    assert store.handover.find(undecided).state is DeliveryState.UNDECIDED


def test_a_factor_that_an_administrator_gives_lets_what_is_held_go(again, store, outbox, events):
    whole = message()
    store.outgoing.commit(commit_id(outbox.prepare(whole, copies(whole, Route.HOLD), "4X1", AT)), AT)
    held = again(not_yet)
    assert held.round() == 0
    store.access.put_factor(dataclasses.replace(factor(), kind="phone"))
    assert held.round() == 0
    store.access.put_factor(factor())
    assert held.round() == 1
    assert held.round() == 0
    (submission,) = store.handover.claim(AT, LEASE)
    assert submission.form is Form.NOTIFICATION
    assert events() == ["decided"]
