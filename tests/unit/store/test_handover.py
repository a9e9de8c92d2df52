from datetime import timedelta

import pytest

from nta_milter.store.keys import new_id
from nta_milter.store.rows import DeliveryState, Form
from tests.unit.store.conftest import AT
from tests.unit.store.test_access import together

LEASE = timedelta(minutes=10)


def one(store, at=AT, **more):
    (submission,) = store.handover.claim(at, LEASE, **more)
    return submission


def test_what_is_claimed_is_nobody_elses_until_the_lease_ends(store, make):
    make("dane").released()
    first = one(store)
    assert not first.retried
    assert store.handover.claim(AT + LEASE - timedelta(seconds=1), LEASE) == ()
    second = one(store, AT + LEASE)
    assert second.id == first.id
    assert second.retried
    assert not store.handover.submitted(first, "4X1", AT)
    assert store.handover.submitted(second, "4X2", AT)
    assert store.access.find(second.delivery.id).state is DeliveryState.SENT


def test_many_workers_at_once_share_the_work(store, make):
    for number in range(20):
        make("dane", digest=f"d{number}").released()
    found = [
        each.id for some in together(10, lambda: store.handover.claim(AT, LEASE, limit=3)) for each in some
    ]
    assert len(found) == len(set(found))
    rest = store.handover.claim(AT, LEASE, limit=100)
    assert len(found) + len(rest) == 20


def test_a_worker_that_starts_frees_its_own_claims_alone(store, make):
    for number, worker in enumerate(("a", "b")):
        make("dane", digest=f"d{number}").released()
        one(store, worker=worker)
    assert store.handover.end_claims("a", AT) == 1
    assert one(store, worker="a").retried
    assert store.handover.claim(AT, LEASE) == ()


def test_what_fails_is_due_later_and_set_aside_in_the_end(store, make):
    make("dane").released()
    submission = one(store)
    store.handover.failed(submission, "said 451", AT + LEASE)
    assert store.handover.next_due() == AT + LEASE
    assert store.handover.claim(AT, LEASE) == ()
    again = one(store, AT + LEASE)
    assert (again.tries, again.retried) == (1, True)
    store.handover.failed(again, "said 451", None)
    assert store.handover.claim(AT + timedelta(days=9), LEASE) == ()
    (shunted,) = store.handover.shunted()
    assert shunted.tries == 2
    assert store.handover.next_due() is None
    assert store.handover.retry(shunted.id, AT)
    assert not store.handover.retry(shunted.id, AT)
    assert one(store).tries == 0


@pytest.mark.parametrize(
    ("route", "state", "form"),
    [
        ("dane", DeliveryState.WAITING, Form.COPY),
        ("portal", DeliveryState.WAITING, Form.NOTIFICATION),
        ("hold", DeliveryState.HELD, Form.HOLD),
        ("reject", DeliveryState.REFUSED, Form.REPORT),
        ("pass", DeliveryState.WAITING, Form.COPY),
    ],
)
def test_what_was_undecided_becomes_what_is_decided(store, make, route, state, form):
    make("tempfail").released()
    ((delivery, wrap),) = store.handover.claim_undecided(AT, LEASE)
    assert wrap
    assert store.handover.claim_undecided(AT, LEASE) == ()
    assert store.handover.decide(delivery.id, route, ("now known",), AT, "[mx.hospital.test]")
    assert not store.handover.decide(delivery.id, route, (), AT)
    submission = one(store)
    assert (submission.form, submission.delivery.state) == (form, state)
    assert (submission.delivery.next_hop, submission.delivery.reasons) == (
        "[mx.hospital.test]",
        ("now known",),
    )


def test_what_stays_undecided_is_looked_at_later(store, make):
    make("tempfail").released()
    ((delivery, _),) = store.handover.claim_undecided(AT, LEASE)
    assert store.handover.decide(delivery.id, "tempfail", ("not yet",), AT + 2 * LEASE)
    assert store.handover.claim_undecided(AT + LEASE, LEASE) == ()
    assert len(store.handover.claim_undecided(AT + 2 * LEASE, LEASE)) == 1


def test_new_content_replaces_the_old_for_one_delivery(store, make):
    made = make("tempfail", "portal").released()
    ((delivery, _),) = store.handover.claim_undecided(AT, LEASE)
    blob = store.put(made.new.id, new_id(), made.key, [b"cipher", b"text"])
    assert store.handover.decide(delivery.id, "smime", (), AT, "mx", blob)
    found = store.access.find(delivery.id)
    assert (found.blob_id, found.size) == (blob.id, 10)
    with store.open(made.new.id, found.blob_id, made.key) as content:
        assert content.read() == b"ciphertext"
    assert store.access.find(made.new.deliveries[1].id).blob_id == made.new.blobs[0].id


def test_a_bounce_is_told_once_and_ends_the_link(store, make):
    made = make("portal").released()
    token, link = made.link()
    store.outgoing.add_link(link, AT)
    submission = one(store)
    store.handover.submitted(submission, "4X1", AT)
    delivery, form = store.handover.find_bounced(submission.id)
    assert (delivery.id, form) == (made.new.deliveries[0].id, Form.NOTIFICATION)
    assert store.handover.undeliverable(delivery.id, "5.1.1", "", AT)
    assert not store.handover.undeliverable(delivery.id, "5.1.1", "", AT)
    report = one(store)
    assert (report.form, report.status) == (Form.REPORT, "5.1.1")
    assert store.access.find_by_link(token.lookup, AT) is None


def test_a_deposit_in_place_bounces_by_its_delivery(store, make):
    made = make("portal")
    made.deposited()
    delivery, form = store.handover.find_bounced(made.new.deliveries[0].id)
    assert (delivery.state, form) == (DeliveryState.SENT, None)
    assert store.handover.find_bounced(new_id()) is None


@pytest.mark.parametrize(
    ("route", "sent", "possible"),
    [
        ("portal", False, True),
        ("portal", True, True),
        ("hold", True, True),
        ("dane", False, True),
        ("dane", True, False),
        ("tempfail", False, True),
        ("reject", True, False),
    ],
)
def test_what_can_be_recalled(store, make, route, sent, possible):
    made = make(route).released()
    if sent:
        store.handover.submitted(one(store), "4X1", AT)
    name = made.new.deliveries[0].id
    assert store.handover.recall(name) is possible
    assert (store.access.find(name).state is DeliveryState.RECALLED) is possible
    if possible:
        assert store.handover.claim(AT, LEASE) == ()
        assert store.handover.claim_undecided(AT, LEASE) == ()


def test_nothing_that_is_not_released_can_be_recalled(store, make):
    made = make("portal")
    made.prepared()
    assert not store.handover.recall(made.new.deliveries[0].id)
    assert not store.handover.recall(new_id())


def test_a_notification_goes_again_while_the_message_can_be_opened(store, make):
    made = make("portal").released()
    name = made.new.deliveries[0].id
    assert not store.handover.notify_again(name, AT)
    store.handover.submitted(one(store), "4X1", AT)
    assert store.handover.notify_again(name, AT)
    assert one(store).form is Form.NOTIFICATION
    assert not store.handover.notify_again(name, AT + timedelta(days=30))
    store.access.delete(name)
    assert not store.handover.notify_again(name, AT)


def test_the_sender_of_a_held_message_is_asked_again(store, make):
    made = make("hold").released()
    store.handover.submitted(one(store), "4X1", AT)
    assert store.handover.notify_again(made.new.deliveries[0].id, AT)
    assert one(store).form is Form.HOLD


def test_what_the_worker_cannot_open_or_postfix_may_not_have_is_not_sent_again(store, make):
    made, deposit = make("portal").released(), make("portal", digest="other")
    store.handover.submitted(one(store), "4X1", AT)
    store.retention.sweep(AT, timedelta(days=90), resend=False)
    assert not store.handover.notify_again(made.new.deliveries[0].id, AT)
    _, attempt = deposit.deposited()
    assert not store.handover.notify_again(deposit.new.deliveries[0].id, AT)
    store.outgoing.commit(attempt.id, AT)
    assert store.handover.notify_again(deposit.new.deliveries[0].id, AT)


def test_more_time_is_given_and_none_taken(store, make):
    made = make("portal").released()
    name, until = made.new.deliveries[0].id, AT + timedelta(days=60)
    assert not store.handover.extend(made.new.id, AT + timedelta(days=29), AT)
    assert store.handover.extend(made.new.id, until, AT)
    assert store.access.find(name).expires_at == until
    assert not store.handover.extend(made.new.id, until + timedelta(days=30), until)
    store.access.delete(name)
    assert not store.handover.extend(made.new.id, until + timedelta(days=30), AT)


def test_deliveries_are_listed_newest_first_by_what_is_asked(store, make):
    old = make("portal", digest="old").released()
    new = make("portal", "dane", digest="new", at=AT + LEASE).released(AT + LEASE)
    listed = store.handover.list_deliveries()
    assert {each.message_id for each in listed[:2]} == {new.new.id}
    assert listed[2].message_id == old.new.id
    assert len(store.handover.list_deliveries(recipient="jan0@citizen.test")) == 2
    assert len(store.handover.list_deliveries(sender="doctor@care.test", limit=1)) == 1
    assert store.handover.list_deliveries(sender="nobody@care.test") == ()
