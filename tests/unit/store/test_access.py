import threading
from datetime import timedelta

import pytest

from nta_milter.store.access import CHALLENGE_TRIES
from nta_milter.store.keys import Token, new_id
from nta_milter.store.rows import Answer, DeliveryState, Factor, Form, Session
from tests.unit.store.conftest import AT, CONTENT

LEASE = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


@pytest.fixture
def deposited(store, make):
    """A message in the portal with its link, as a deposit in place leaves it."""
    made = make("portal")
    token, _ = made.deposited()
    return made, token


def delivery(store, made, number=0):
    return store.access.find(made.new.deliveries[number].id)


def test_a_link_leads_to_its_message_and_opens_it(store, portal, deposited):
    made, token = deposited
    linked = store.access.find_by_link(token.lookup, AT)
    assert linked.delivery.recipient == "jan0@citizen.test"
    assert linked.delivery.state is DeliveryState.SENT
    key = portal.open_link(token, linked.sealed, linked.delivery.message_id)
    with store.open(linked.delivery.message_id, linked.delivery.blob_id, key) as content:
        assert (content.size, content.read()) == (len(CONTENT), CONTENT)
    assert made.key == key


def test_an_unknown_or_expired_link_leads_nowhere(store, deposited):
    _, token = deposited
    expires = AT + timedelta(days=30)
    assert store.access.find_by_link(Token.new().lookup, AT) is None
    assert store.access.find_by_link(token.lookup, expires - SECOND) is not None
    assert store.access.find_by_link(token.lookup, expires) is None


def test_a_hundred_looks_at_a_link_change_no_row(store, deposited):
    made, token = deposited
    before = delivery(store, made)
    for _ in range(100):
        store.access.find_by_link(token.lookup, AT)
    assert delivery(store, made) == before


def test_a_prepared_message_has_no_link_that_works(store, make):
    made = make("portal")
    token, link = made.link()
    made.prepared()
    store.outgoing.add_link(link, AT)
    assert store.access.find_by_link(token.lookup, AT) is None


def test_what_is_deleted_is_closed_at_once_for_links_and_sessions(store, deposited):
    made, token = deposited
    session = a_session(store, made)
    assert store.access.delete(delivery(store, made).id)
    assert not store.access.delete(delivery(store, made).id)
    assert store.access.find_by_link(token.lookup, AT) is None
    assert store.access.session(session.lookup, AT, LEASE) is None
    assert delivery(store, made).state is DeliveryState.DELETED


def test_opening_reading_and_downloads_are_counted_apart(store, deposited):
    made, _ = deposited
    name = delivery(store, made).id
    assert store.access.opened(name, AT)
    assert not store.access.opened(name, AT + SECOND)
    assert store.access.read(name, AT + SECOND)
    assert [store.access.downloaded(name) for _ in range(3)] == [1, 2, 3]
    found = delivery(store, made)
    assert (found.opened_at, found.read_at, found.downloads) == (AT, AT + SECOND, 3)


# Second factors


def factor(kind="code", value="scrypt$…", address="Jan0@Citizen.test") -> Factor:
    return Factor(address, kind, value, "doctor@care.test", AT)


def test_factors_are_kept_by_address_without_regard_to_case(store):
    store.access.put_factor(factor())
    store.access.put_factor(factor("phone", "+31612345678"))
    store.access.put_factor(factor(value="scrypt$new"))
    found = store.access.factors("JAN0@citizen.test")
    assert [(each.kind, each.value) for each in found] == [("code", "scrypt$new"), ("phone", "+31612345678")]
    assert store.access.all_factors() == found
    assert store.access.remove_factors("jan0@citizen.test", "phone") == 1
    assert store.access.remove_factors("jan0@citizen.test") == 1
    assert store.access.factors("jan0@citizen.test") == ()


def test_a_factor_lets_every_held_message_to_that_address_go(store, make):
    made = [make("hold", digest=f"d{number}").released() for number in range(2)]
    other = make("portal", "hold", digest="other").released()
    forms = [each.form for each in store.handover.claim(AT, LEASE)]
    assert forms.count(Form.HOLD) == 3
    token, link = made[0].link(purpose="hold")
    store.outgoing.add_link(link, AT)
    linked = store.access.find_by_link(token.lookup, AT)
    assert (linked.purpose, linked.sealed) == ("hold", b"")
    assert store.access.supply_factor(linked.delivery.id, factor(), AT)
    assert not store.access.supply_factor(linked.delivery.id, factor(), AT)
    assert store.access.find_by_link(token.lookup, AT) is None
    claimed = store.handover.claim(AT, LEASE)
    assert [each.form for each in claimed] == [Form.NOTIFICATION] * 2
    assert {each.delivery.message_id for each in claimed} == {each.new.id for each in made}
    assert delivery(store, other, 1).state is DeliveryState.HELD
    assert [each.kind for each in store.access.factors("jan0@citizen.test")] == ["code"]


def challenge(store, made, answer="a" * 64, lifetime=LEASE) -> str:
    name = new_id()
    store.access.challenge(name, delivery(store, made).id, answer, AT, lifetime)
    return name


def test_a_code_is_right_once(store, deposited):
    made, _ = deposited
    name = challenge(store, made)
    assert store.access.answer(name, "b" * 64, AT) is Answer.WRONG
    assert store.access.answer(name, "a" * 64, AT) is Answer.RIGHT
    assert store.access.answer(name, "a" * 64, AT) is Answer.SPENT


def test_a_code_ends_with_its_time_and_with_a_new_one(store, deposited):
    made, _ = deposited
    name = challenge(store, made)
    assert store.access.answer(name, "a" * 64, AT + LEASE) is Answer.SPENT
    second = challenge(store, made)
    assert store.access.answer(name, "a" * 64, AT) is Answer.SPENT
    assert store.access.answer(second, "a" * 64, AT) is Answer.RIGHT


def together(count, action):
    """What ``count`` threads get that do it at the same time."""
    found = []
    barrier = threading.Barrier(count)

    def run():
        barrier.wait()
        found.append(action())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_twenty_wrong_answers_at_once_are_five_tries(store, deposited):
    made, _ = deposited
    name = challenge(store, made)
    answers = together(20, lambda: store.access.answer(name, "b" * 64, AT))
    assert answers.count(Answer.WRONG) == CHALLENGE_TRIES
    assert store.access.answer(name, "a" * 64, AT) is Answer.SPENT


def test_twenty_right_answers_at_once_open_one_session(store, deposited):
    made, _ = deposited
    name = challenge(store, made)
    answers = together(20, lambda: store.access.answer(name, "a" * 64, AT))
    assert answers.count(Answer.RIGHT) == 1


# Rates


def test_a_rate_counts_within_its_period_and_begins_anew(store):
    hour = timedelta(hours=1)
    assert [store.access.count("x", AT, hour) for _ in range(3)] == [1, 2, 3]
    assert store.access.counted("x", AT + hour - SECOND, hour) == 3
    assert store.access.counted("x", AT + hour, hour) == 0
    assert store.access.count("x", AT + hour, hour) == 1
    assert store.access.counted("y", AT, hour) == 0
    store.access.forget_counts(["x", "y"])
    assert store.access.counted("x", AT + hour, hour) == 0


def test_a_rate_counts_everybody_who_comes_at_once(store):
    found = together(20, lambda: store.access.count("x", AT, LEASE))
    assert sorted(found) == list(range(1, 21))


# Sessions


def a_session(store, made, purpose="open") -> Session:
    token = Token.new()
    wrapped = token.wrap(made.key, b"session")
    session = Session(token.lookup, delivery(store, made), purpose, wrapped, AT, AT + timedelta(hours=1))
    store.access.begin_session(session)
    return session


def test_a_session_lasts_until_it_is_idle_over_or_ended(store, deposited):
    made, _ = deposited
    session = a_session(store, made)
    idle = timedelta(minutes=15)
    assert store.access.session(session.lookup, AT, idle) == session
    assert store.access.session(Token.new().lookup, AT, idle) is None
    assert store.access.session(session.lookup, AT + idle, idle) is None
    store.access.used_session(session.lookup, AT + timedelta(minutes=59))
    assert store.access.session(session.lookup, AT + timedelta(minutes=59), idle) is not None
    assert store.access.session(session.lookup, AT + timedelta(minutes=60), idle) is None
    store.access.end_session(session.lookup)
    assert store.access.session(session.lookup, AT + timedelta(minutes=59), idle) is None
