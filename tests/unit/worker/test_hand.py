import dataclasses
import re
from datetime import timedelta

import pytest

from nta_milter.message.model import Recipient
from nta_milter.outbox.addresses import bounce_address, commit_id
from nta_milter.outbox.queue import Copy
from nta_milter.policy.route import Route
from nta_milter.store.keys import Token
from nta_milter.store.rows import DeliveryState, Form
from nta_milter.worker.hand import (
    LONGEST_PAUSE,
    Hand,
    copied_arguments,
    pause,
    wants_failure,
    wants_success,
    with_route,
)
from tests.unit.outbox.conftest import AT, copies, message
from tests.unit.outbox.test_compose import delivery
from tests.unit.worker.conftest import lose, queued


@pytest.fixture
def hand(settings, store, worker, audit, queue, clock):
    return Hand(settings, store, worker, audit, queue.look, clock, "mx.care.test")


@pytest.fixture
def release(store, outbox):
    """Prepare and commit a message by a route; gives its delivery's id."""

    def release(route, *arguments, hop="[nta.hospital.test]"):
        whole = message()
        copy = copies(whole, route)[0]
        copy = dataclasses.replace(copy, next_hop=hop, recipient=Recipient(copy.recipient.address, arguments))
        before = {each.id for each in store.handover.list_deliveries()}
        store.outgoing.commit(commit_id(outbox.prepare(whole, [copy], "4X1", AT)), AT)
        (made,) = {each.id for each in store.handover.list_deliveries()} - before
        return made

    return release


def state(store, name):
    return store.handover.find(name).state


def test_a_copy_goes_in_with_its_route_and_is_recorded(hand, release, postfix, store, events):
    name = release(Route.DANE, "ORCPT=rfc822;jan@citizen.test", "NOTIFY=SUCCESS,FAILURE")
    server = postfix()
    assert hand.round() == 1
    assert b"DATA\r\nFrom: Doctor <doctor@care.test>\r\n" in server.heard
    assert b"\r\nX-Nta-Route: [nta.hospital.test]\r\n\r\n" in server.heard
    assert b"RCPT TO:<jan@citizen.test> NOTIFY=FAILURE ORCPT=rfc822;jan@citizen.test\r\n" in server.heard
    assert b"RET=HDRS" in server.heard
    assert b"Bcc" not in server.heard
    assert state(store, name) is DeliveryState.SENT
    assert events() == ["submitted"]
    (report,) = store.handover.claim(AT, timedelta(1))
    assert (report.form, report.status) == (Form.REPORT, "2.0.0")
    assert hand.round() == 0


@pytest.mark.parametrize(
    ("content", "with_it"),
    [
        (b"A: b\r\n\r\nbody\r\n\r\nmore", b"A: b\r\nR\r\n\r\nbody\r\n\r\nmore"),
        (b"\r\nbody\r\n\r\nmore", b"R\r\n\r\nbody\r\n\r\nmore"),
        (b"A: b\r\n\r\n", b"A: b\r\nR\r\n\r\n"),
        (b"A: b\r\n", b"R\r\nA: b\r\n"),
        (b"", b"R\r\n"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_invariant_14_the_route_is_the_last_field_of_the_header(content, with_it, size):
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    assert b"".join(with_route(pieces, b"R\r\n")) == with_it


@pytest.mark.parametrize(
    ("route", "form", "recipient"),
    [
        (Route.PORTAL, "notified", b"jan@citizen.test"),
        (Route.HOLD, "held", b"doctor@care.test"),
        (Route.REJECT, "reported", b"doctor@care.test"),
    ],
)
def test_our_own_mails_go_in_at_their_own_listener_and_tell_nothing(
    hand, release, postfix, events, route, form, recipient
):
    release(route)
    server = postfix("mail")
    assert hand.round() == 1
    assert b"RCPT TO:<%b>" % recipient in server.heard
    assert b"canary" not in server.heard
    assert events() == [form]
    assert (b"MAIL FROM:<>" in server.heard) is (route is Route.REJECT)


def test_the_sender_gets_a_page_to_unlock_what_was_locked(hand, release, postfix, store):
    name = release(Route.PORTAL)
    server = postfix("mail")
    assert hand.round() == 1
    store.handover.tell_locked(name, AT)
    assert hand.round() == 1
    text = server.heard.rpartition(b"MAIL FROM")[2].replace(b"=\r\n", b"").decode()
    assert "RCPT TO:<doctor@care.test>" in text
    token = Token.parse(text.partition("/unlock/")[2][:43])
    assert store.access.find_by_link(token.lookup, AT).purpose == "unlock"
    assert store.access.find_by_link(token.lookup, AT).sealed == b""


def test_a_report_that_the_client_does_not_want_is_not_sent(hand, release, store, events):
    release(Route.REJECT, "NOTIFY=NEVER")
    assert hand.round() == 1
    assert hand.round() == 0
    assert events() == []


def test_what_is_refused_for_now_is_tried_later_and_set_aside_in_the_end(
    hand, release, postfix, store, clock, events
):
    release(Route.DANE)
    postfix(MAIL="451 4.3.0 later")
    for _ in range(3):
        assert hand.round() == 1
        assert hand.round() == 0
        clock.advance(hours=2)
    assert hand.round() == 0
    (shunted,) = store.handover.shunted()
    assert shunted.tries == 3
    assert events() == ["shunted"]


def test_a_listener_that_is_not_there_costs_nothing_but_time(hand, release, postfix, store, clock):
    name = release(Route.DANE)
    hand.round()
    clock.advance(minutes=1)
    postfix()
    assert hand.round() == 1
    assert state(store, name) is DeliveryState.SENT


def test_a_recipient_whom_our_postfix_refuses_is_undeliverable_at_once(hand, release, postfix, store, events):
    name = release(Route.DANE)
    server = postfix(RCPT="550 5.1.2 no such domain canary")
    assert hand.round() == 1
    assert state(store, name) is DeliveryState.UNDELIVERABLE
    assert events() == ["undeliverable"]
    assert b"DATA" not in server.heard
    mail = postfix("mail")
    assert hand.round() == 1
    assert b"Status: 5.1.2" in mail.heard
    assert b"canary" not in mail.heard


def test_a_sender_whom_our_postfix_refuses_is_somebodys_work(hand, release, postfix, store):
    release(Route.HOLD)
    postfix("mail", RCPT="550 5.1.1 unknown")
    assert hand.round() == 1
    assert [each.form for each in store.handover.shunted()] == [Form.HOLD]


def test_a_mail_that_postfix_has_though_nobody_heard_so_is_not_handed_in_again(
    hand, release, postfix, store, queue, clock, settings, events
):
    name = release(Route.DANE)
    server = postfix(leave_at=".")
    assert hand.round() == 1
    (waiting,) = store.handover.claim(AT + timedelta(hours=1), timedelta(0))
    queue.holds = [queued(sender=bounce_address(waiting.id, settings), queue_id="4DOUBT")]
    clock.advance(hours=2)
    server.mails = 0
    assert hand.round() == 1
    assert server.mails == 0
    assert state(store, name) is DeliveryState.SENT
    assert events() == ["submitted"]


@pytest.mark.parametrize(
    ("route", "listener"), [(Route.DANE, "hand"), (Route.PORTAL, "mail"), (Route.REJECT, "mail")]
)
def test_what_is_handed_in_twice_has_one_message_id(hand, release, postfix, clock, route, listener):
    """Postfix took it and delivered it in the very moment that nobody heard its reply."""
    release(route)
    server = postfix(listener, leave_at=".")
    assert hand.round() == 1
    clock.advance(hours=2)
    assert hand.round() == 1
    first, second = re.findall(rb"(?m)^Message-ID: (<\S+>)\r$", server.heard)
    assert first == second


def test_a_fault_of_ours_with_one_keeps_no_other(hand, release, postfix, store, monkeypatch):
    names = [release(Route.DANE), release(Route.DANE, hop="mx")]
    server = postfix()
    monkeypatch.setattr(Hand, "_record", lambda *_: 1 // 0)
    assert hand.round() == 2
    assert server.mails == 2
    assert {state(store, name) for name in names} == {DeliveryState.SENT}


def test_while_the_queue_cannot_be_looked_at_nothing_is_handed_in_twice(hand, release, postfix, queue, clock):
    release(Route.DANE)
    server = postfix(leave_at=".")
    hand.round()
    before = server.heard
    queue.broken = True
    clock.advance(hours=2)
    assert hand.round() == 1
    assert server.heard == before


def test_what_is_handed_in_the_first_time_needs_no_look_at_the_queue(hand, release, postfix, queue):
    release(Route.DANE)
    postfix()
    hand.round()
    assert queue.looks == 0


def test_content_that_cannot_be_opened_waits_and_keeps_nobody(hand, release, postfix, store):
    broken = release(Route.DANE)
    lose(store, store.handover.find(broken))
    good = release(Route.DANE, hop="mx")
    server = postfix()
    assert hand.round() == 2
    assert server.mails == 1
    assert server.heard.count(b"MAIL FROM") == 1
    assert (state(store, broken), state(store, good)) == (DeliveryState.WAITING, DeliveryState.SENT)


def test_content_that_breaks_half_way_is_never_ended(hand, store, outbox, postfix):
    body = b"0123456789abcde\n" * 100_000
    whole = message(b"From: doctor@care.test\r\n\r\n" + body)
    store.outgoing.commit(commit_id(outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)), AT)
    (found,) = store.handover.list_deliveries()
    blob = store.blobs.open(found.blob_id)
    sealed = bytearray(blob.read_at(0, blob.size))
    blob.close()
    sealed[len(sealed) // 2] ^= 1
    store.blobs.delete(found.blob_id)
    store.blobs.put(found.blob_id, [bytes(sealed)])
    server = postfix()
    assert hand.round() == 1
    server.close()
    assert server.mails == 0
    assert b"0123456789abcde" in server.heard
    assert b"QUIT" not in server.heard
    assert state(store, found.id) is DeliveryState.WAITING


def test_what_a_worker_of_this_name_had_claimed_is_free_when_it_starts(
    settings, store, worker, audit, queue, clock, release, postfix
):
    release(Route.DANE)
    store.handover.claim(AT, timedelta(hours=9), "mx.care.test")
    clock.advance(seconds=1)
    hand = Hand(settings, store, worker, audit, queue.look, clock, "mx.care.test")
    postfix()
    assert hand.round() == 1
    assert queue.looks == 1


def test_pauses_grow_and_end_growing():
    assert pause(0) <= timedelta(seconds=10)
    assert pause(5) > pause(0)
    assert all(pause(tries) <= LONGEST_PAUSE for tries in range(0, 10_000, 7))
    assert pause(9999) >= LONGEST_PAUSE * 0.75


@pytest.mark.parametrize(
    ("arguments", "copied", "success", "failure"),
    [
        ((), ("NOTIFY=FAILURE",), False, True),
        (("NOTIFY=NEVER",), ("NOTIFY=NEVER",), False, False),
        (("notify=success",), ("NOTIFY=NEVER",), True, False),
        (("NOTIFY=DELAY,FAILURE", "orcpt=rfc822;x"), ("NOTIFY=FAILURE", "orcpt=rfc822;x"), False, True),
    ],
)
def test_what_the_client_wants_to_hear(arguments, copied, success, failure):
    made = delivery(arguments=arguments)
    assert copied_arguments(made) == copied
    assert wants_success(made) is success
    assert wants_failure(made) is failure


def test_the_copy_helper_names_are_those_of_the_queue():
    assert {field.name for field in dataclasses.fields(Copy)} >= {"recipient", "route", "content", "next_hop"}
