from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from nta_milter.errors import SealError
from nta_milter.store.keys import new_id
from nta_milter.store.rows import Commit, DeliveryState, Form
from nta_milter.store.schema import deliveries
from tests.unit.store.conftest import AT, CONTENT

LEASE = timedelta(minutes=10)


def states(store, message_id):
    found = store.handover.list_deliveries(message_id=message_id)
    return sorted(delivery.state.value for delivery in found)


def test_nothing_goes_before_the_commit(store, make):
    made = make("dane", "portal", "hold", "tempfail", "reject")
    made.prepared()
    assert store.handover.claim(AT, LEASE) == ()
    assert store.handover.claim_undecided(AT, LEASE) == ()
    assert states(store, made.new.id) == ["prepared"] * 5


def test_a_commit_releases_each_delivery_as_its_route_says(store, make, worker):
    made = make("dane", "smime", "portal", "hold", "tempfail", "reject", "pass")
    attempt = made.prepared()
    assert store.outgoing.commit(attempt.id, AT) is Commit.RELEASED
    claimed = store.handover.claim(AT, LEASE)
    assert sorted(each.form.value for each in claimed) == [
        "copy",
        "copy",
        "copy",
        "hold",
        "notification",
        "report",
    ]
    report = next(each for each in claimed if each.form is Form.REPORT)
    assert (report.status, report.detail) == ("5.7.1", "because reject")
    ((undecided, wrap),) = store.handover.claim_undecided(AT, LEASE)
    assert undecided.state is DeliveryState.UNDECIDED
    key = store.message_key(worker, wrap, made.new.id)
    with store.open(made.new.id, undecided.blob_id, key) as content:
        assert content.read() == CONTENT


@pytest.mark.parametrize("how", ["another address", "one more row"])
def test_who_writes_recipients_into_the_database_has_nothing_sent(store, make, worker, how):
    made = make("dane", "portal")
    attempt = made.prepared()
    store.outgoing.commit(attempt.id, AT)
    wrap = store.handover.worker_wrap(made.new.id)
    assert store.message_key(worker, wrap, made.new.id) == made.key
    with store.database.transaction() as connection:
        if how == "another address":
            connection.execute(update(deliveries).values(recipient="thief@elsewhere.test"))
        else:
            row = dict(connection.execute(select(deliveries)).first()._mapping)
            connection.execute(
                insert(deliveries).values(**{**row, "id": new_id(), "recipient": "thief@x.test"})
            )
    with pytest.raises(SealError):
        store.message_key(worker, wrap, made.new.id)


def test_a_commit_that_is_repeated_does_nothing_more(store, make):
    attempt = make("dane").prepared()
    store.outgoing.commit(attempt.id, AT)
    assert store.outgoing.commit(attempt.id, AT) is Commit.AGAIN
    assert len(store.handover.claim(AT, LEASE)) == 1
    assert store.handover.claim(AT, LEASE) == ()
    assert store.outgoing.commit("0" * 32, AT) is Commit.UNKNOWN


def test_a_delivery_has_the_queue_id_of_the_try_that_was_committed(store, make):
    made = make("portal")
    first = made.prepared()
    store.outgoing.attach("d", "1" * 32, "4X2", AT)
    store.outgoing.commit("1" * 32, AT)
    (delivery,) = store.handover.list_deliveries(message_id=made.new.id)
    assert delivery.queue_id == "4X2"
    # the first try was queued as well: the message was meant twice
    store.outgoing.commit(first.id, AT)
    found = store.handover.list_deliveries(message_id=made.new.id)
    assert sorted(each.queue_id for each in found) == ["4X1", "4X2"]
