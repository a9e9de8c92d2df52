import dataclasses
from datetime import timedelta

import pytest

from nta_milter.audit.chain import Signer, load_public, new_key_pair, verify
from nta_milter.config.model import PortalSettings
from nta_milter.outbox.addresses import commit_id
from nta_milter.policy.route import Route
from nta_milter.store.records import Records
from nta_milter.store.rows import Form
from nta_milter.worker.sweep import Sweep
from tests.unit.outbox.conftest import AT, copies, message

LEASE = timedelta(minutes=10)


@pytest.fixture
def notified(store, outbox):
    """The id of a delivery whose notification Postfix has."""
    whole = message()
    store.outgoing.commit(commit_id(outbox.prepare(whole, copies(whole, Route.PORTAL), "4X1", AT)), AT)
    (submission,) = store.handover.claim(AT, LEASE)
    store.handover.submitted(submission, "4X2", AT)
    return submission.delivery.id


@pytest.fixture
def sweep(settings, store, audit, clock):
    return Sweep(settings, store, audit, None, clock)


def test_expiry_and_the_end_of_the_content_are_recorded(sweep, notified, store, clock, events):
    assert sweep.round() == 0
    clock.advance(days=31)
    assert sweep.round() == 1
    assert events() == ["expired", "shredded"]
    assert sweep.round() == 0
    (told,) = store.handover.claim(clock(), LEASE)
    assert (told.form, told.status) == (Form.REPORT, "4.4.7")


def test_the_sender_is_told_of_the_end_however_soon_rows_may_go(
    settings, store, audit, clock, notified, events
):
    changed = dataclasses.replace(settings, store=dataclasses.replace(settings.store, forget_after=0))
    sweep = Sweep(changed, store, audit, None, clock)
    clock.advance(days=31)
    sweep.round()
    (told,) = store.handover.claim(clock(), LEASE)
    assert (told.delivery.id, told.form) == (notified, Form.REPORT)
    clock.advance(days=7)
    sweep.round()
    assert store.handover.find(notified) is None
    assert events() == ["expired", "shredded"]


def test_who_has_not_opened_is_reminded_once_before_the_end(sweep, notified, store, clock):
    clock.advance(days=24, hours=23)
    sweep.round()
    assert store.handover.claim(clock(), LEASE) == ()
    clock.advance(hours=2)
    sweep.round()
    sweep.round()
    (reminder,) = store.handover.claim(clock(), LEASE)
    assert (reminder.form, reminder.delivery.id) == (Form.REMINDER, notified)
    store.handover.submitted(reminder, "4X3", clock())
    sweep.round()
    assert store.handover.claim(clock(), LEASE) == ()


@pytest.mark.parametrize("portal", [{"remind": 0}, {"resend": False}, {"remind": 16}])
def test_nobody_is_reminded_who_cannot_be_or_was_told_just_now(
    settings, store, audit, clock, notified, portal
):
    changed = dataclasses.replace(settings, portal=PortalSettings(url="https://x.test", **portal))
    sweep = Sweep(changed, store, audit, None, clock)
    sweep.round()
    clock.advance(days=15)
    sweep.round()
    assert store.handover.claim(clock(), LEASE) == ()


def test_who_has_opened_is_not_reminded(sweep, notified, store, clock):
    store.access.opened(notified, AT)
    clock.advance(days=27)
    sweep.round()
    assert store.handover.claim(clock(), LEASE) == ()


def test_checkpoints_are_signed_where_chains_have_grown(settings, store, audit, clock, notified, tmp_path):
    private, public = new_key_pair()
    (tmp_path / "audit.pem").write_bytes(public)
    sweep = Sweep(settings, store, audit, Signer.parse(private, "audit-key"), clock)
    assert sweep.checkpoint() == 0
    clock.advance(days=31)
    sweep.round()
    assert sweep.checkpoint() == 1
    assert sweep.checkpoint() == 0
    (found,) = verify(Records(store.database), load_public(tmp_path / "audit.pem"))
    assert (found.records, found.signed, found.fault) == (2, 2, None)


def test_without_a_key_nothing_is_signed(sweep, notified, store, clock):
    clock.advance(days=31)
    sweep.round()
    assert sweep.checkpoint() == 0
