import gzip
import logging
import os
from datetime import UTC, datetime

import pytest

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.read import read
from nta_milter.audit.tell import teller
from nta_milter.audit.write import open_writer
from nta_milter.config.download import StoreSettings
from nta_milter.config.model import AuditSettings, PolicySettings, Settings
from nta_milter.errors import TemporaryError
from nta_milter.monitor.registry import Registry
from nta_milter.store.database import Database
from nta_milter.store.migrations import migrate

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def record(name, event=Event.SENT, **details):
    sender, recipients = "doctor@care.test", ("jan@citizen.test",)
    return AuditRecord(AT, event, name, sender, recipients, "portal", ("why",), details)


@pytest.fixture(params=["file", "store"])
def settings(request, tmp_path):
    url = f"sqlite:///{tmp_path}/store.sqlite"
    migrate(Database(url))
    return Settings(
        policy=PolicySettings(mode="always"),
        audit=AuditSettings(target=request.param, file=tmp_path / "audit.jsonl"),
        store=StoreSettings(url=url),
    )


def test_records_are_found_by_what_stands_in_them(settings):
    writer = open_writer(settings, "mx:milter")
    writer.write(record("4X1"), record("4X2", message_id='<"odd\\one"@care.test>'), record("4X3"))
    writer.close()
    assert [each["queue_id"] for each in read(settings, ["4X1", "4X3"])] == ["4X1", "4X3"]
    assert [each["queue_id"] for each in read(settings, ['<"odd\\one"@care.test>'])] == ["4X2"]
    assert list(read(settings, [])) == []


def test_a_torn_line_is_passed_over_and_a_missing_file_is_empty(tmp_path):
    settings = Settings(
        policy=PolicySettings(mode="always"), audit=AuditSettings(file=tmp_path / "audit.jsonl")
    )
    assert list(read(settings, ["4X1"])) == []
    whole = record("4X1").line()
    settings.audit.file.write_bytes(whole[:40] + b"\n" + whole)
    assert len(list(read(settings, ["4X1", "2026"]))) == 1


def test_what_logrotate_has_put_aside_is_read_too_and_first(tmp_path):
    settings = Settings(
        policy=PolicySettings(mode="always"), audit=AuditSettings(file=tmp_path / "audit.jsonl")
    )
    names = (
        "audit.jsonl.10.gz",
        "audit.jsonl-20251101.gz",
        "audit.jsonl-20261101",
        "audit.jsonl.1",
        "audit.jsonl",
    )
    for number, name in enumerate(names):
        line = record(f"4X{number}").line()
        (tmp_path / name).write_bytes(gzip.compress(line) if name.endswith(".gz") else line)
        os.utime(tmp_path / name, (number, number))
    for other in ("audit.jsonl.new", "audit.jsonl.1.bak", "other.jsonl.1", "audit.jsonl-20261101.gz.tmp"):
        (tmp_path / other).write_bytes(record("4OTHER").line())
    assert [each["queue_id"] for each in read(settings, ["4"])] == [f"4X{number}" for number in range(5)]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"x" + data, lambda data: data[:40]])
def test_a_compressed_file_that_is_damaged_is_told(tmp_path, damage):
    settings = Settings(
        policy=PolicySettings(mode="always"), audit=AuditSettings(file=tmp_path / "audit.jsonl")
    )
    whole = gzip.compress(b"".join(record(f"4X{number}").line() for number in range(50)))
    (tmp_path / "audit.jsonl.2.gz").write_bytes(damage(whole))
    with pytest.raises(TemporaryError, match=r"audit\.jsonl\.2\.gz: cannot be read: \w+"):
        list(read(settings, ["4"]))


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    settings = Settings(policy=PolicySettings(mode="always"), audit=AuditSettings(file=tmp_path))
    with pytest.raises(TemporaryError, match="cannot be read"):
        list(read(settings, ["4X1"]))


def test_what_is_written_is_counted_and_logged_without_addresses(settings, caplog):
    registry = Registry()
    writer = open_writer(settings, "mx:worker", teller(registry, logging.getLogger("w")))
    with caplog.at_level(logging.INFO):
        writer.write(record("4X1", Event.SUBMITTED, delivery="ab", queue_id="4C1", by="root@care.test"))
    writer.close()
    assert caplog.messages == ["4X1: event=submitted route=portal delivery=ab queue_id=4C1"]
    assert [(each.labels, each.value) for each in registry.samples()] == [(("submitted",), 1.0)]


def test_what_could_not_be_written_is_neither_counted_nor_logged(tmp_path, caplog):
    settings = Settings(
        policy=PolicySettings(mode="always"),
        audit=AuditSettings(target="store"),
        store=StoreSettings(url=f"sqlite:///{tmp_path}/nowhere/store.sqlite"),
    )
    registry = Registry()
    writer = open_writer(settings, "mx:worker", teller(registry, logging.getLogger("w")))
    with caplog.at_level(logging.INFO), pytest.raises(TemporaryError):
        writer.write(record("4X1"))
    assert (caplog.messages, registry.samples()) == ([], [])
