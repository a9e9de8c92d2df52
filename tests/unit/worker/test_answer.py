from datetime import timedelta

import pytest

from nta_milter.errors import TemporaryError
from nta_milter.outbox.addresses import commit_id
from nta_milter.policy.route import Route
from nta_milter.store.keys import new_id
from nta_milter.store.rows import DeliveryState, Form
from nta_milter.worker.answer import Answers
from tests.unit.outbox.conftest import AT, copies, message
from tests.unit.worker.test_bounce import report

LEASE = timedelta(minutes=10)


@pytest.fixture
def woken():
    return []


@pytest.fixture
def answers(store, audit, clock, woken):
    return Answers(store, audit, clock, lambda: woken.append(1))


@pytest.fixture
def prepared(outbox):
    whole = message()
    return commit_id(outbox.prepare(whole, copies(whole, Route.PORTAL), "4X1", AT))


@pytest.fixture
def sent(answers, prepared, store):
    """The submission of a notification that Postfix has."""
    answers.receive("commit", prepared, b"")
    (submission,) = store.handover.claim(AT, LEASE)
    store.handover.submitted(submission, "4X2", AT)
    return submission


def test_a_commit_releases_is_recorded_and_wakes(answers, prepared, store, events, woken):
    answers.receive("commit", prepared, b"a body that nobody looks at")
    assert events() == ["released"]
    assert woken
    answers.receive("commit", prepared, b"")
    assert events() == ["released"]
    assert len(store.handover.claim(AT, LEASE)) == 1


def test_a_commit_that_nobody_knows_stays_with_postfix(answers):
    with pytest.raises(TemporaryError, match="is not known"):
        answers.receive("commit", new_id(), b"")


def test_a_commit_after_all_was_given_up_is_an_alarm_and_told(answers, prepared, store, caplog):
    store.outgoing.abandon(prepared)
    answers.receive("commit", prepared, b"")
    assert "event=committed-after-abandoned" in caplog.text
    (told,) = store.handover.claim(AT, LEASE)
    assert (told.form, told.status) == (Form.REPORT, "5.3.0")


def test_a_bounce_ends_the_delivery_and_is_told_by_its_status_alone(answers, sent, store, events):
    answers.receive("bounce", sent.id, report(b"delayed", b"4.4.1"))
    answers.receive("bounce", sent.id, b"Subject: out of office\r\n\r\n")
    assert store.handover.find(sent.delivery.id).state is DeliveryState.SENT
    answers.receive("bounce", sent.id, report())
    answers.receive("bounce", sent.id, report())
    assert store.handover.find(sent.delivery.id).state is DeliveryState.UNDELIVERABLE
    (told,) = store.handover.claim(AT, LEASE)
    assert (told.status, told.detail) == ("5.1.1", "")
    assert events() == ["released", "undeliverable"]


def test_a_bounce_of_a_request_to_the_sender_ends_no_delivery(answers, outbox, store):
    whole = message()
    attempt = commit_id(outbox.prepare(whole, copies(whole, Route.HOLD), "4X1", AT))
    answers.receive("commit", attempt, b"")
    (request,) = store.handover.claim(AT, LEASE)
    store.handover.submitted(request, "4X2", AT)
    answers.receive("bounce", request.id, report())
    assert store.handover.find(request.delivery.id).state is DeliveryState.HELD


def test_a_bounce_that_nobody_knows_is_thrown_away(answers, caplog):
    answers.receive("bounce", new_id(), report())
    assert "event=bounce-ignored" in caplog.text
    assert "canary" not in caplog.text


def test_who_answers_in_clear_is_asked_once_a_day(answers, sent, store, clock):
    answer = b"From: jan@citizen.test\r\nSubject: Re: x\r\n\r\nmy secret\r\n"
    for _ in range(3):
        answers.receive("answer", sent.delivery.id, answer)
    (asked,) = store.handover.claim(clock(), LEASE)
    assert asked.form is Form.ANSWER
    clock.advance(days=1)
    answers.receive("answer", sent.delivery.id, answer)
    assert Form.ANSWER in [each.form for each in store.handover.claim(clock(), LEASE)]


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: auto-replied",
        b"Precedence: bulk",
        b"Return-Path: <>",
        b"auto-submitted: auto-generated (rejected)",
    ],
)
def test_programs_get_no_answer(answers, sent, store, field):
    answers.receive("answer", sent.delivery.id, field + b"\r\n\r\naway\r\n")
    answers.receive("answer", new_id(), b"\r\nhello\r\n")
    assert store.handover.claim(AT, LEASE) == ()
