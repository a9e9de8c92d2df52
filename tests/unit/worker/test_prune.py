import dataclasses
import json
from datetime import timedelta

import pytest
from sqlalchemy import text

from nta_milter.audit.chain import Signer, load_public, new_key_pair, verify
from nta_milter.audit.events import AuditRecord, Event
from nta_milter.config.model import AuditSettings
from nta_milter.errors import ConfigurationError, StoreUnavailable
from nta_milter.store.records import Records
from nta_milter.worker.metrics import duty_name
from nta_milter.worker.prune import Prune
from tests.unit.worker.conftest import WRITER

DAYS = 30


@pytest.fixture
def signer(settings):
    private, public = new_key_pair()
    settings.store.public.mkdir(exist_ok=True)
    (settings.store.public / "audit.pem").write_bytes(public)
    return Signer.parse(private, "audit-key")


@pytest.fixture
def settings(settings, tmp_path):
    kept = AuditSettings(target="store", retention=DAYS)
    return dataclasses.replace(
        settings, audit=kept, store=dataclasses.replace(settings.store, public=tmp_path / "public")
    )


@pytest.fixture
def duty(settings, store, audit, signer, clock):
    return Prune(settings, store.database, audit, signer, clock)


@pytest.fixture
def happen(audit, store, signer, clock):
    """Records as many events now, and has them signed."""

    def happen(count):
        event = AuditRecord(clock(), Event.READ, "4X1", "doctor@care.test", ("jan@citizen.test",), "", ())
        audit.write(*[event] * count)
        signer.sign(Records(store.database), clock())

    return happen


def test_what_is_older_than_the_days_it_is_kept_goes_and_is_recorded(
    duty, happen, store, settings, clock, events
):
    happen(3)
    clock.advance(days=DAYS)
    assert duty.round() == 0
    happen(1)
    clock.advance(days=1)
    assert duty.round() == 3
    assert events() == ["read", "pruned"]
    record = list(Records(store.database).read(WRITER))[-1]
    before = clock().replace(hour=0, minute=0) - timedelta(days=DAYS)
    details = {"chain": WRITER, "records": "3", "last": "3", "before": before.isoformat()}
    assert json.loads(record.line)["details"] == details
    (found,) = verify(Records(store.database), load_public(settings.store.public / "audit.pem"))
    assert (found.first, found.fault, found.pruned_at) == (4, None, clock())


def test_it_is_done_once_a_day(duty, happen, clock, events):
    happen(1)
    clock.advance(days=DAYS + 1)
    assert [duty.round(), duty.round()] == [1, 0]
    happen(0)
    clock.advance(days=DAYS)
    removed = []
    for _ in range(24 * 4):
        happen(1)
        clock.advance(minutes=15)
        removed.append(duty.round())
    assert sorted(removed) == [0] * 95 + [1]
    assert events().count("pruned") == 1


def test_what_was_not_signed_yet_goes_once_it_is(duty, audit, store, signer, clock, events):
    event = AuditRecord(clock(), Event.READ, "4X1", "doctor@care.test", ("jan@citizen.test",), "", ())
    audit.write(event, event)
    clock.advance(days=DAYS + 1)
    assert [duty.round(), duty.round()] == [0, 0]
    signer.sign(Records(store.database), clock())
    assert [duty.round(), duty.round()] == [2, 0]
    assert events() == ["pruned"]


def test_without_a_time_everything_is_kept(settings, store, audit, signer, happen, clock):
    for_ever = dataclasses.replace(settings, audit=AuditSettings(target="store"))
    happen(3)
    clock.advance(days=36_500)
    assert Prune(for_ever, store.database, audit, signer, clock).round() == 0
    assert len(list(Records(store.database).read(WRITER))) == 3


def test_without_a_key_it_says_what_is_missing_and_removes_nothing(settings, store, audit, happen, clock):
    happen(3)
    clock.advance(days=DAYS + 1)
    with pytest.raises(ConfigurationError, match="needs the key audit-key"):
        Prune(settings, store.database, audit, None, clock).round()
    assert len(list(Records(store.database).read(WRITER))) == 3


def test_a_broken_chain_is_a_fault_of_the_duty_until_somebody_looks(duty, happen, store, clock, events):
    happen(3)
    clock.advance(days=DAYS + 1)
    with store.database.transaction() as connection:
        connection.execute(text("DELETE FROM records WHERE sequence = 2"))
    for _ in range(2):
        with pytest.raises(
            StoreUnavailable, match=f"{WRITER} is broken at record 3 and stays: records 2 to 2"
        ):
            duty.round()
    assert events() == ["read", "read"]


def test_it_has_a_name_of_its_own(duty):
    assert duty_name(duty.round) == "prune"
