import dataclasses
from datetime import timedelta

import pytest

from nta_milter.errors import TemporaryError
from nta_milter.message.model import Recipient
from nta_milter.outbox.addresses import bounce_address, commit_id
from nta_milter.policy.route import Route
from nta_milter.store.late import UNPROVEN, UNREACHABLE
from nta_milter.store.rows import DeliveryState, Factor, Form
from nta_milter.worker.hand import Hand, wants_delay
from nta_milter.worker.late import LateWatch
from nta_milter.worker.sweep import Sweep
from tests.unit.outbox.conftest import AT, copies, message
from tests.unit.outbox.test_compose import delivery
from tests.unit.worker.conftest import queued

DANE = "Server certificate not verified"
DOWN = "connect to nta.hospital.test[192.0.2.1]:25: Connection refused"
LATE = timedelta(hours=4)


def waiting(sender, reason, **more):
    return dataclasses.replace(queued("jan@citizen.test", sender, **more), reasons=(reason,))


@pytest.fixture
def watching(settings, store, audit, queue, clock):
    """Makes the watch, with other settings of [worker]."""

    def make(**changes):
        changed = dataclasses.replace(settings, worker=dataclasses.replace(settings.worker, **changes))
        return LateWatch(changed, store, audit, queue.look, clock)

    return make


@pytest.fixture
def handed(store, outbox, settings, worker, audit, queue, clock, postfix):
    """A copy that Postfix took at AT: its delivery's id and its envelope sender."""

    def hand_in(route=Route.DANE):
        whole = message()
        copy = dataclasses.replace(
            copies(whole, route)[0],
            next_hop="[nta.hospital.test]",
            recipient=Recipient("jan@citizen.test", ()),
        )
        store.outgoing.commit(commit_id(outbox.prepare(whole, [copy], "4X1", AT)), AT)
        server = postfix()
        assert Hand(settings, store, worker, audit, queue.look, clock, "mx.care.test").round() == 1
        server.close()
        with store.database.reading() as connection:
            (submission,) = connection.exec_driver_sql("SELECT id FROM submissions").scalars()
        (made,) = store.handover.list_deliveries()
        return made.id, bounce_address(submission, settings)

    return hand_in


def due(store, at):
    return [(each.form, each.status) for each in store.handover.claim(at, timedelta(1))]


@pytest.mark.parametrize("route", [Route.DANE, Route.SMIME])
@pytest.mark.parametrize(("reason", "status"), [(DANE, UNPROVEN), (DOWN, UNREACHABLE)])
def test_a_sender_is_told_once_when_the_time_is_over(
    watching, handed, store, queue, clock, events, route, reason, status
):
    watch = watching()
    name, sender = handed(route)
    queue.holds = [waiting(sender, reason)]
    clock.advance(seconds=LATE.total_seconds() - 1)
    assert watch.round() == 0
    clock.advance(seconds=1)
    assert watch.round() == 1
    assert watching().round() == 0
    assert due(store, clock.at) == [(Form.REPORT, status)]
    assert store.handover.find(name).state is DeliveryState.SENT
    assert events()[-1] == "deferred"


@pytest.mark.parametrize("name", ["active", "hold", "incoming"])
def test_what_is_not_put_off_is_not_late(watching, handed, queue, clock, name):
    _, sender = handed()
    queue.holds = [waiting(sender, DANE, queue=name)]
    clock.advance(days=1)
    assert watching().round() == 0


def test_nothing_is_done_where_nothing_is_wanted(watching, handed, queue, clock):
    _, sender = handed()
    queue.holds = [waiting(sender, DANE)]
    clock.advance(days=1)
    assert watching(late_after=0).round() == 0
    assert queue.looks == 0


def test_a_queue_that_cannot_be_read_moves_nothing(watching, queue):
    queue.broken = True
    watch = watching(late="portal")
    with pytest.raises(TemporaryError):
        watch.round()
    assert watch.kept_since() is not None


@pytest.mark.parametrize(
    ("sender", "reason", "told"),
    [
        ("doctor@care.test", DANE, 1),
        ("doctor@care.test", "no TLSA records found", 1),
        ("doctor@care.test", "TLS is required, but was not offered by host nta.hospital.test", 1),
        ("doctor@care.test", "non DNSSEC destination", 1),
        ("doctor@care.test", DOWN, 0),
        ("nurse@hospital.test", DANE, 0),
        ("", DANE, 0),
        (f"nta-bounce+{'0' * 32}@care.test", DANE, 0),
    ],
)
def test_of_mail_that_was_never_stored_the_reason_tells(watching, store, queue, clock, sender, reason, told):
    queue.holds = [waiting(sender, reason)]
    watch = watching()
    assert watch.round() == 0
    clock.advance(hours=4)
    assert [watch.round(), watching().round()] == [told, 0]
    assert due(store, clock.at) == [(Form.REPORT, UNPROVEN)] * told
    assert [each.sender for each in store.handover.list_deliveries()] == [sender] * told


def test_who_was_told_is_not_forgotten_and_told_again(watching, settings, store, audit, queue, clock):
    forgetful = dataclasses.replace(settings, store=dataclasses.replace(settings.store, forget_after=0))
    sweep = Sweep(forgetful, store, audit, None, clock)
    queue.holds = [waiting("doctor@care.test", DANE)]
    watch = watching()
    clock.advance(hours=4)
    told = 0
    for _ in range(5):
        told += watch.round()
        sweep.round()
        clock.advance(days=1)
    assert told == 1
    queue.holds = []
    clock.advance(days=7)
    sweep.round()
    assert store.handover.list_deliveries() == ()


@pytest.mark.parametrize("known", [True, False])
def test_a_readable_copy_moves_to_the_portal(watching, handed, store, queue, clock, events, known):
    if known:
        store.access.put_factor(Factor("jan@citizen.test", "code", "scrypt$…", "doctor@care.test", AT))
    watch = watching(late="portal")
    name, sender = handed()
    queue.holds = [waiting(sender, DANE)]
    clock.advance(hours=4)
    assert [watch.round(), watch.round()] == [1, 0]
    found = store.handover.find(name)
    assert (found.route, found.state) == (
        ("portal", DeliveryState.WAITING) if known else ("hold", DeliveryState.HELD)
    )
    assert due(store, clock.at) == [(Form.NOTIFICATION if known else Form.HOLD, "")]
    assert events()[-1] == "decided"


@pytest.mark.parametrize("why", ["ciphertext", "shredded"])
def test_what_cannot_be_moved_is_told(watching, handed, settings, store, audit, queue, clock, why):
    watch = watching(late="portal")
    name, sender = handed(Route.SMIME if why == "ciphertext" else Route.DANE)
    queue.holds = [waiting(sender, DANE)]
    clock.advance(hours=4)
    if why == "shredded":
        Sweep(settings, store, audit, None, clock).round()
    assert watch.round() == 1
    assert due(store, clock.at) == [(Form.REPORT, UNPROVEN)]
    assert store.handover.find(name).route == ("smime" if why == "ciphertext" else "dane")


def test_content_is_kept_until_a_look_has_shown_that_it_is_not_needed(
    watching, handed, settings, store, audit, queue, clock
):
    watch = watching(late="portal")
    sweep = Sweep(settings, store, audit, None, clock, watch.kept_since)
    handed()
    clock.advance(days=2)
    assert sweep.round() == 0
    clock.advance(hours=-45)
    assert [watch.round(), sweep.round()] == [0, 0]
    clock.advance(hours=3)
    assert [watch.round(), sweep.round()] == [0, 1]


def test_without_the_portal_content_is_not_kept(watching):
    assert watching().kept_since() is None
    assert watching(late="portal", late_after=0).kept_since() is None


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [((), True), (("NOTIFY=DELAY,FAILURE",), True), (("NOTIFY=FAILURE",), False), (("NOTIFY=NEVER",), False)],
)
def test_a_client_may_not_want_to_hear_of_delays(arguments, wanted):
    assert wants_delay(delivery(arguments=arguments)) is wanted
