import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import TemporaryError
from nta_milter.worker.postqueue import Postqueue, Queued, parse
from nta_milter.worker.watch import commits

LINE = {
    "queue_name": "deferred",
    "queue_id": "4X1",
    "arrival_time": 1795521600,
    "message_size": 312,
    "forced_expire": False,
    "sender": "doctor@care.test",
    "recipients": [
        {"address": f"commit+{'a' * 32}@nta.invalid", "delay_reason": "connect: no"},
        {"address": "colleague@care.test"},
    ],
}


def test_a_line_is_a_message():
    (found,) = parse([json.dumps(LINE), ""])
    assert found == Queued(
        "deferred",
        "4X1",
        datetime(2026, 11, 24, 12, tzinfo=UTC),
        "doctor@care.test",
        (f"commit+{'a' * 32}@nta.invalid", "colleague@care.test"),
        ("connect: no", ""),
    )
    assert commits(found) == ("a" * 32,)


@pytest.mark.parametrize("name", ["queue_name", "queue_id", "arrival_time", "sender", "recipients"])
def test_a_line_without_what_is_needed_is_no_listing(name):
    with pytest.raises(TemporaryError):
        parse([json.dumps({key: value for key, value in LINE.items() if key != name})])


@pytest.mark.parametrize("line", ["postqueue: fatal", "[]", "7", "{}", "[" * 100_000])
def test_what_is_no_listing_is_never_an_empty_queue(line):
    with pytest.raises(TemporaryError):
        parse([line])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.fixed_dictionaries(dict.fromkeys(LINE, JSON)))
def test_any_values_are_a_message_or_temporary(values):
    try:
        (found,) = parse([json.dumps(values)])
    except TemporaryError:
        return
    assert isinstance(found.arrived_at, datetime)


def test_a_queue_that_cannot_be_looked_at_is_temporary(tmp_path):
    with pytest.raises(TemporaryError):
        Postqueue(tmp_path).look()


def test_a_queue_id_from_outside_never_reaches_a_command_line(tmp_path, monkeypatch):
    run = []
    monkeypatch.setattr(Postqueue, "_run", lambda self, *arguments: run.append(arguments))
    for queue_id in ("-f ALL", "ALL;", "", "4X1 4X2", "../4X1", "4B5D20E2BD"):
        Postqueue(tmp_path).deliver_now(queue_id)
    assert run == [("-i", "4B5D20E2BD")]
