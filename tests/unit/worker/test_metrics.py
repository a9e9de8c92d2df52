import re
from pathlib import Path

import pytest

from nta_milter.monitor.registry import Registry
from nta_milter.policy.route import Route
from nta_milter.worker import service
from nta_milter.worker.hand import Hand
from nta_milter.worker.metrics import DUTIES, METRICS, ROUND_FAILURES, State, duty_name
from nta_milter.worker.sweep import Sweep
from nta_milter.worker.watch import Watch
from tests.unit.outbox.conftest import AT, copies, message
from tests.unit.worker.conftest import queued


@pytest.fixture
def watch(settings, store, audit, queue, clock):
    return Watch(settings, store, audit, queue, clock)


@pytest.fixture
def state(settings, store, clock, watch):
    registry = Registry(METRICS)
    made = State(settings, store.database, registry, clock, lambda: watch.commits)
    registry.collect(made.collect)
    return made


def numbers(state):
    return {(each.name, *each.labels): each.value for each in state.registry.samples()}


def test_a_duty_is_named_by_its_class_or_by_itself():
    assert [duty_name(each) for each in (Hand.round, Sweep.round, Sweep.checkpoint)] == [
        "hand",
        "sweep",
        "checkpoint",
    ]


def test_every_duty_of_the_worker_is_counted_by_its_name():
    text = Path(service.__file__).read_text()
    tried = re.findall(r"self\._try\(self\.(_\w+)\.(\w+)\)", text)
    classes = {name: getattr(service, re.search(rf"self\.{name} = (\w+)\(", text)[1]) for name, _ in tried}
    assert {duty_name(getattr(classes[name], method)) for name, method in tried} == DUTIES


def test_a_duty_is_as_old_as_its_last_success(state, clock):
    state.done("watch")
    clock.advance(minutes=3)
    state.done("watch", "cannot be run")
    assert numbers(state)["nta_milter_round_age_seconds", "watch"] == 180
    assert numbers(state)[ROUND_FAILURES.name, "watch"] == 1
    rounds = state.facts()["rounds"]
    assert rounds == {"watch": {"at": AT.isoformat(timespec="seconds"), "fault": "cannot be run"}}
    state.done("watch")
    assert numbers(state)["nta_milter_round_age_seconds", "watch"] == 0
    assert state.facts()["rounds"]["watch"]["fault"] == ""


def test_a_duty_that_never_succeeded_is_as_old_as_its_first_failure(state, clock):
    state.done("hand", "no")
    clock.advance(minutes=5)
    state.done("hand", "no")
    assert numbers(state)["nta_milter_round_age_seconds", "hand"] == 300


def test_commits_and_rows_are_told(state, watch, outbox, queue, clock):
    whole = message()
    address = outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    queue.holds = [queued(address)]
    clock.advance(minutes=1)
    watch.round()
    found = numbers(state)
    assert found["nta_milter_commits_queued",] == 1
    assert found["nta_milter_deliveries", "prepared"] == 1
    assert found["nta_milter_deliveries", "sent"] == 0
    assert found["nta_milter_wait_seconds", "commit"] == 60
    assert found["nta_milter_wait_seconds", "hold"] == 0
    assert found["nta_milter_store_reachable",] == 1
    facts = state.facts()
    assert facts["commits"] == {"queued": 1, "oldest": AT.isoformat(timespec="seconds")}
    assert facts["store"]["oldest"]["commit"] == AT.isoformat(timespec="seconds")


def test_a_store_that_cannot_be_read_is_told_and_nothing_else_of_it(state, store, tmp_path):
    store.database.close()
    (tmp_path / "store.sqlite").rename(tmp_path / "away")
    found = numbers(state)
    assert found["nta_milter_store_reachable",] == 0
    assert not any(name == "nta_milter_deliveries" for name, *_ in found)
    assert "unable to open" in state.facts()["store"]["fault"]
