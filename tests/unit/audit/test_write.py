"""Records are durable before anybody is told, and many threads share one fsync."""

import json
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.write import AuditWriter
from nta_milter.errors import TemporaryError


def record(number=0):
    return AuditRecord(
        datetime(2026, 11, 24, tzinfo=UTC),
        Event.SENT,
        f"Q{number}",
        "doctor@care.test",
        ("nurse@hospital.test",),
        "smime",
        ("compliant, gateway certificate",),
    )


def test_invariant_2_a_record_is_on_disk_when_write_returns(tmp_path, monkeypatch):
    synced = []
    fdatasync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(os.fstat(fd).st_size), fdatasync(fd)))
    file = tmp_path / "audit.jsonl"
    writer = AuditWriter(file)
    writer.write(record())
    assert synced == [file.stat().st_size]
    assert json.loads(file.read_text())["event"] == "sent"
    writer.close()


def test_many_threads_lose_nothing_and_share_the_fsync(tmp_path, monkeypatch):
    calls = []
    fdatasync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (calls.append(fd), fdatasync(fd)))
    writer = AuditWriter(tmp_path / "audit.jsonl")
    together = threading.Barrier(20)

    def write(number):
        together.wait()
        for repeat in range(10):
            writer.write(record(number * 10 + repeat))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    written = [json.loads(line)["queue_id"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert sorted(written) == sorted(f"Q{number}" for number in range(200))
    assert len(calls) < 200


def test_records_of_one_message_share_the_fsync(tmp_path, monkeypatch):
    calls = []
    fdatasync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (calls.append(fd), fdatasync(fd)))
    writer = AuditWriter(tmp_path / "audit.jsonl")
    writer.write(*(record(number) for number in range(100)))
    writer.write()
    writer.close()
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["queue_id"] for line in lines] == [f"Q{number}" for number in range(100)]
    assert len(calls) == 1


def test_who_waits_while_the_disk_refuses_is_told_and_the_next_one_is_written(tmp_path, monkeypatch):
    writer = AuditWriter(tmp_path / "audit.jsonl")
    fdatasync, entered, refuse = os.fdatasync, threading.Event(), threading.Event()

    def full(fd):
        entered.set()
        refuse.wait()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    told = []

    def write(number):
        with pytest.raises(TemporaryError, match="No space left"):
            writer.write(record(number))
        told.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    entered.wait()
    refuse.set()
    for thread in threads:
        thread.join()
    assert sorted(told) == list(range(5))
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    writer.write(record(9))
    writer.close()


def test_a_disk_that_refuses_is_a_temporary_error(tmp_path, monkeypatch):
    writer = AuditWriter(tmp_path / "audit.jsonl")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(TemporaryError, match="No space left"):
        writer.write(record())
    writer.close()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TemporaryError, match="nowhere"):
        AuditWriter(tmp_path / "nowhere" / "audit.jsonl")


def test_a_closed_writer_refuses(tmp_path):
    writer = AuditWriter(tmp_path / "audit.jsonl")
    writer.close()
    with pytest.raises(TemporaryError, match="closed"):
        writer.write(record())


def test_hostile_addresses_stay_one_line(tmp_path):
    hostile = AuditRecord(
        datetime(2026, 11, 24, tzinfo=UTC), Event.SENT, "Q", 'a\n"b\udcff@care.test', (), "smime", ()
    )
    line = hostile.line()
    assert line.count(b"\n") == 1


def test_a_line_that_a_full_disk_cut_off_does_not_take_the_next_one_along(tmp_path):
    file = tmp_path / "audit.jsonl"
    writer = AuditWriter(file)
    writer.write(record(1))
    whole = file.stat().st_size
    os.truncate(file, whole - 10)
    writer.write(record(2))
    writer.write(record(3))
    writer.close()
    torn, *rest = file.read_text().splitlines()
    assert len(torn) == whole - 10
    assert [json.loads(line)["queue_id"] for line in rest] == ["Q2", "Q3"]


def queue_ids(file):
    return [json.loads(line)["queue_id"] for line in file.read_text().splitlines()]


def test_a_file_that_was_renamed_or_removed_is_made_anew_for_the_group(tmp_path):
    file = tmp_path / "audit.jsonl"
    first, second = AuditWriter(file), AuditWriter(file)
    umask = os.umask(0o077)
    first.write(record(1))
    file.rename(tmp_path / "audit.jsonl.1")
    second.write(record(2))
    assert stat.S_IMODE(file.stat().st_mode) == 0o660
    first.write(record(3))
    assert queue_ids(file) == ["Q2", "Q3"]
    file.unlink()
    first.write(record(4))
    second.write(record(5))
    os.umask(umask)
    assert queue_ids(file) == ["Q4", "Q5"]
    assert queue_ids(tmp_path / "audit.jsonl.1") == ["Q1"]
    for writer in (first, second):
        writer.close()


def test_a_file_that_takes_its_place_is_followed_and_the_old_one_closed(tmp_path):
    file = tmp_path / "audit.jsonl"
    writer = AuditWriter(file)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        writer.write(record(number))
        file.rename(tmp_path / f"audit.jsonl.{number}")
        file.touch()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert [queue_ids(tmp_path / f"audit.jsonl.{number}") for number in range(20)] == [
        [f"Q{number}"] for number in range(20)
    ]
    writer.close()


def test_a_record_whose_file_is_removed_while_it_is_written_is_written_again(tmp_path, monkeypatch):
    file = tmp_path / "audit.jsonl"
    writer = AuditWriter(file)
    fdatasync, removed = os.fdatasync, []

    def slow(fd):
        fdatasync(fd)
        if not removed:
            removed.append(queue_ids(file))
            file.unlink()

    monkeypatch.setattr(os, "fdatasync", slow)
    writer.write(record(1))
    assert (removed, queue_ids(file)) == ([["Q1"]], ["Q1"])
    writer.close()


def test_a_name_that_cannot_be_written_to_any_more_is_told_and_used_when_it_can(tmp_path):
    file = tmp_path / "audit.jsonl"
    writer = AuditWriter(file)
    file.unlink()
    file.mkdir()
    for _ in range(2):
        with pytest.raises(TemporaryError, match="cannot be opened: Is a directory"):
            writer.write(record(1))
    file.rmdir()
    writer.write(record(2))
    assert queue_ids(file) == ["Q2"]
    writer.close()
