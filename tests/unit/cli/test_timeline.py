from datetime import UTC, datetime

import pytest

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.cli.timeline import as_json, as_text, follow
from nta_milter.config.model import AuditSettings, PolicySettings, RoutingSettings, Settings
from nta_milter.store.trace import Trace

NOTHING = Trace((), ())


def record(second, event, name, recipient, **details):
    at = datetime(2026, 11, 24, 12, 0, second, tzinfo=UTC)
    return AuditRecord(
        at, event, name, "doctor@care.test", (recipient,), "portal", ("not compliant",), details
    )


RECORDS = (
    record(1, Event.PREPARED, "4X1", "jan@citizen.test", message_id="<1@care.test>"),
    record(1, Event.PREPARED, "4X1", "piet@citizen.test", message_id="<1@care.test>"),
    record(3, Event.NOTIFIED, "4X1", "jan@citizen.test", delivery="aa", submission="bb", queue_id="4C1"),
    record(2, Event.RELEASED, "4X1", "jan@citizen.test", delivery="aa", postfix="4X1"),
    record(9, Event.READ, "4X1", "jan@citizen.test", delivery="aa"),
    record(4, Event.SENT, "4X2", "nurse@hospital.test", message_id="<2@care.test>"),
)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "audit.jsonl").write_bytes(b"".join(each.line() for each in RECORDS))
    return Settings(
        policy=PolicySettings(mode="always"),
        audit=AuditSettings(file=tmp_path / "audit.jsonl"),
        routing=RoutingSettings(postfix=tmp_path / "no-postfix"),
    )


@pytest.mark.parametrize("name", ["4X1", "<1@care.test>", "1@care.test", "4C1", "aa", "bb"])
def test_every_id_leads_to_the_whole_timeline_in_its_order(settings, name):
    found = follow(settings, name, lambda _: NOTHING)
    assert [entry.event for entry in found.entries] == [
        "prepared",
        "prepared",
        "released",
        "notified",
        "read",
    ]
    assert found.queue_ids == ("4X1", "4C1")


def test_what_is_not_known_is_not_known(settings):
    assert not follow(settings, "4X", lambda _: NOTHING).known
    assert not follow(settings, "doctor@care.test", lambda _: NOTHING).known


def test_the_text_says_when_it_came_and_each_reason_once(settings):
    found = follow(settings, "4X1", lambda _: NOTHING)
    text = "\n".join(as_text(found))
    assert text.count(" received ") == 1
    assert "from doctor@care.test | Message-ID <1@care.test>" in text
    assert text.count("not compliant") == 2  # one for each recipient
    assert "12:00:03  notified       jan@citizen.test | portal | submission=bb queue_id=4C1\n" in text
    assert "Postfix, 4C1: not known: " in text  # there is no Postfix here


def test_a_strangers_address_does_nothing_to_the_terminal(settings, tmp_path):
    bad = AuditRecord(
        RECORDS[0].at,
        Event.OPENED,
        "4X9",
        '"\x1b[2J\x9b\r\n"@evil.test',
        ("jan@citizen.test",),
        "pass",
        (),
        {},
    )
    (tmp_path / "audit.jsonl").write_bytes(bad.line())
    text = "\n".join(as_text(follow(settings, "4X9", lambda _: NOTHING)))
    assert r'from "\x1b[2J\x9b\x0d\x0a"@evil.test' in text
    assert text.replace("\n", "").isprintable()


def test_as_json_it_has_everything(settings):
    found = as_json(follow(settings, "4C1", lambda _: NOTHING))
    assert found["queue_ids"] == ["4X1", "4C1"]
    assert found["events"][0]["details"] == {"message_id": "<1@care.test>"}
    assert set(found) == {"queue_ids", "events", "deliveries", "submissions", "postfix"}


def test_the_store_is_asked_by_the_queue_id_that_a_message_id_leads_to(settings):
    asked = []
    follow(settings, "1@care.test", lambda name: asked.append(name) or NOTHING)
    assert asked == ["1@care.test", "4X1"]
