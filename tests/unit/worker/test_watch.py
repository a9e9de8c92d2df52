from datetime import timedelta

import pytest

from nta_milter.errors import TemporaryError
from nta_milter.outbox.addresses import commit_id
from nta_milter.policy.route import Route
from nta_milter.store.rows import DeliveryState
from nta_milter.worker.watch import LATE, Watch
from tests.unit.outbox.conftest import AT, copies, message
from tests.unit.worker.conftest import queued


@pytest.fixture
def watch(settings, store, audit, queue, clock):
    return Watch(settings, store, audit, queue, clock)


@pytest.fixture
def prepared(store, outbox):
    """A commit address of a message that waits, with its delivery's id."""
    whole = message()
    address = outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    return address, store.handover.list_deliveries()[0].id


def state(store, name):
    return store.handover.find(name).state


def test_what_two_looks_after_the_grace_do_not_find_is_given_up(
    watch, prepared, store, settings, clock, events
):
    _, name = prepared
    clock.advance(seconds=settings.milter.timeout + 59)
    assert [watch.round() for _ in range(3)] == [0, 0, 0]
    clock.advance(seconds=1)
    assert watch.round() == 0
    assert state(store, name) is DeliveryState.PREPARED
    assert watch.round() == 1
    assert state(store, name) is DeliveryState.ABANDONED
    assert events() == ["abandoned"]
    assert watch.round() == 0


def test_a_message_that_is_seen_in_between_is_not_given_up(watch, prepared, store, queue, clock):
    address, name = prepared
    clock.advance(hours=1)
    for holds in ([], [queued(address, queue="hold")], [], [queued(address, queue="active")], []):
        queue.holds = holds
        assert watch.round() == 0
    assert state(store, name) is DeliveryState.PREPARED


def test_a_requeued_message_is_known_by_its_recipient(watch, prepared, queue, clock):
    address, _ = prepared
    queue.holds = [queued(address, queue_id="4OTHER")]
    clock.advance(days=30)
    assert [watch.round() for _ in range(5)] == [0] * 5


def test_a_look_that_fails_gives_nothing_up(watch, prepared, store, queue, clock):
    _, name = prepared
    clock.advance(days=30)
    queue.broken = True
    for _ in range(5):
        with pytest.raises(TemporaryError):
            watch.round()
    assert state(store, name) is DeliveryState.PREPARED


def test_one_attempt_of_several_is_given_up_alone(watch, store, outbox, queue, clock, events):
    whole = message()
    outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    second = outbox.prepare(whole, copies(whole, Route.DANE), "4X2", AT)
    queue.holds = [queued(second)]
    clock.advance(hours=1)
    assert [watch.round(), watch.round()] == [0, 1]
    assert events() == []
    store.outgoing.commit(commit_id(second), clock())
    (delivery,) = store.handover.list_deliveries()
    assert delivery.state is DeliveryState.WAITING


def test_a_commit_that_waits_long_is_an_alarm_and_hurried(watch, prepared, queue, clock, caplog):
    address, _ = prepared
    queue.holds = [queued(address, queue_id="4LATE"), queued("colleague@care.test", queue_id="4OTHER")]
    watch.round()
    assert queue.hurried == []
    clock.advance(seconds=(LATE + timedelta(seconds=1)).total_seconds())
    watch.round()
    assert queue.hurried == ["4LATE"]
    assert "event=commit-late" in caplog.text
    queue.holds = [queued(address, queue="hold", queue_id="4HELD")]
    watch.round()
    assert queue.hurried == ["4LATE"]


def test_a_late_commit_is_told_again_when_it_has_waited_twice_as_long(watch, prepared, queue, clock, caplog):
    address, _ = prepared

    def told_in(minutes):
        """At which minutes it is told, looked at every ten seconds."""
        found = []
        for second in range(10, minutes * 60 + 1, 10):
            clock.advance(seconds=10)
            caplog.clear()
            watch.round()
            found += [second / 60] * caplog.text.count("event=commit-late")
        return found

    queue.holds = [queued(address, queue_id="4LATE")]
    first, *later = told_in(40)
    assert later == pytest.approx([2 * first, 4 * first, 8 * first, 16 * first])
    assert len(queue.hurried) == 6 * 40 - 12
    queue.holds = []
    assert told_in(1) == []
    queue.holds = [queued(address, queue_id="4LATE", at=clock())]
    assert told_in(3) == [pytest.approx(first)]
