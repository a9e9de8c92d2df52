from datetime import timedelta

import pytest

from nta_milter.store.statistics import Statistics, statistics
from nta_milter.store.trace import Trace, trace
from tests.unit.store.conftest import AT

LEASE = timedelta(minutes=10)


@pytest.fixture
def sent(store, make):
    """A message for two recipients, whose copies Postfix has."""
    made = make("dane", "portal").released()
    for number, submission in enumerate(store.handover.claim(AT, LEASE)):
        store.handover.submitted(submission, f"4COPY{number}", AT)
    make("dane").prepared()  # another one, which no id of the first leads to
    return made


def test_every_id_leads_to_all_of_the_message(store, sent):
    whole = trace(store.database, sent.new.id)
    assert {each.id for each in whole.deliveries} == {each.id for each in sent.new.deliveries}
    assert {each.queue_id for each in whole.deliveries} == {"4X1"}
    assert {each.form.value for each in whole.handed} == {"copy", "notification"}
    assert {each.queue_id for each in whole.handed} == {"4COPY0", "4COPY1"}
    assert {each.state for each in whole.handed} == {"submitted"}
    names = (
        *(each.id for each in whole.deliveries),
        *(each.id for each in whole.handed),
        *(each.queue_id for each in whole.handed),
    )
    assert len(names) == 6
    for name in names:
        assert trace(store.database, name) == whole


def test_a_queue_id_leads_to_every_message_that_came_with_it(store, sent, make):
    assert len(trace(store.database, "4X1").deliveries) == 3
    store.outgoing.attach("d", "1" * 32, "4AGAIN", AT)
    assert len(trace(store.database, "4AGAIN").deliveries) == 1


@pytest.mark.parametrize("name", ["4NOBODY", "' OR 1=1 --", "%", "<1@care.test>"])
def test_what_is_no_id_of_ours_leads_nowhere(store, sent, name):
    assert trace(store.database, name) == Trace((), ())


def test_an_empty_store_has_nothing(store):
    assert statistics(store.database) == Statistics({}, {}, {}, 0, None, None, None, None)


def test_rows_are_counted_by_state_and_the_oldest_is_told(store, make):
    late = AT + timedelta(hours=1)
    make("portal", digest="a", at=AT).released()
    make("hold", "dane", digest="b", at=late).released(late)
    make("tempfail", digest="c", at=late).released(late)
    make("dane", digest="d", at=late).prepared()
    shunted = next(each for each in store.handover.claim(AT, LEASE) if each.form.value == "notification")
    store.handover.failed(shunted, "said 451", None)
    found = statistics(store.database)
    assert found.messages == {"released": 3, "prepared": 1}
    assert found.deliveries == {"waiting": 2, "held": 1, "undecided": 1, "prepared": 1}
    assert found.submissions == {"waiting": 2, "shunted": 1}
    assert (found.uncommitted, found.due, found.held, found.undecided) == (late, late, late, late)
    assert found.size > 0
