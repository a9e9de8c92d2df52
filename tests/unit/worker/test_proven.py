import dataclasses

import pytest

from nta_milter.errors import RoutingNotProven
from nta_milter.policy.route import Route
from nta_milter.worker.hand import Hand
from nta_milter.worker.proven import AGAIN, HandIn
from tests.unit.postfix.conftest import cold, configuration, edit  # noqa: F401
from tests.unit.worker.test_hand import release  # noqa: F401

REFUSED = "550 5.7.1 internal routing error"


class Seconds:
    at = 0.0

    def __call__(self):
        return self.at


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def joined(settings, configuration):  # noqa: F811
    """The settings with a Postfix whose tables are proven."""
    return dataclasses.replace(
        settings, routing=dataclasses.replace(settings.routing, postfix=cold(configuration))
    )


def test_a_refusal_by_the_tables_proves_the_listener_for_some_time(joined, postfix, seconds):
    proven = HandIn(joined, seconds)
    server = postfix(dot=REFUSED)
    assert proven.fault("[nta.hospital.test]") == ""
    assert b"X-Nta-Route: [probe.invalid.]\r\n" in server.heard
    assert b"MAIL FROM:<>" in server.heard
    server.close()
    seconds.at = joined.routing.probe_interval - 1
    assert proven.fault("mx") == ""
    seconds.at += 1
    assert "cannot be reached" in proven.fault("mx")


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ({}, "takes a mail whose route the tables refuse"),
        ({"dot": "550 5.7.1 no such thing here"}, "is refused otherwise"),
        ({"dot": "451 4.3.0 later"}, "451"),
        ({"RCPT": "550 5.1.1 nobody"}, "is refused otherwise"),
    ],
)
def test_any_other_answer_proves_nothing(joined, postfix, seconds, replies, said):
    postfix(**replies)
    assert said in HandIn(joined, seconds).fault("mx")


def test_what_proved_nothing_is_soon_tried_again(joined, postfix, seconds):
    proven = HandIn(joined, seconds)
    server = postfix()
    assert "takes a mail" in proven.fault("mx")
    server.reply(".", REFUSED)
    assert "takes a mail" in proven.fault("mx")
    seconds.at = AGAIN
    assert proven.fault("mx") == ""


def test_tables_that_are_not_proven_need_no_probe(joined, configuration, seconds):  # noqa: F811
    edit(configuration / "nta_hand", r"(?s).*", "")
    assert "cleanup-nta header_checks" in HandIn(joined, seconds).fault("mx")


def test_only_what_stays_inside_needs_the_hop_inside(joined, configuration, postfix, seconds):  # noqa: F811
    for table in ("nta_route", "nta_hand", "nta_requeue"):
        edit(configuration / table, r"^/\^X-Nta-Route: inside.*$", "")
    postfix(dot=REFUSED)
    proven = HandIn(joined, seconds)
    assert proven.fault("mx") == ""
    assert proven.fault("inside") != ""


def test_without_proof_a_copy_waits_and_a_notification_goes(
    settings,
    store,
    worker,
    audit,
    queue,
    clock,
    postfix,
    release,  # noqa: F811
):
    unproven = RoutingNotProven("the tables are empty").message
    hand = Hand(settings, store, worker, audit, queue.look, clock, "mx.care.test", lambda _: unproven)
    server, mail = postfix(), postfix("mail")
    release(Route.DANE)
    assert hand.round() == 1
    assert server.heard == b""
    (pending,) = store.handover.pending()
    assert (pending.state, pending.fault) == ("waiting", unproven)
    release(Route.PORTAL)
    assert hand.round() == 1
    assert b"DATA" in mail.heard
