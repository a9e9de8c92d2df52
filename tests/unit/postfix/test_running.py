"""Which running processes may have an older table, in a process table made of files."""

import os
import socket
import time

import pytest

from nta_milter.postfix.running import DOOR, UNSEEN, outdated


@pytest.fixture
def queue(tmp_path):
    """A queue_directory whose door this process listens at."""
    folder = tmp_path / "queue"
    (folder / DOOR).parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / DOOR))
        door.listen()
        yield folder


@pytest.fixture
def processes(tmp_path):
    folder = tmp_path / "proc"
    folder.mkdir()
    return folder


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "nta_route"
    file.write_text("")
    return file


def entry(folder, number, name, started, parent=None):
    """A process that began at a moment of the clock."""
    ticks = int((started - time.time() + time.clock_gettime(time.CLOCK_BOOTTIME)) * os.sysconf("SC_CLK_TCK"))
    (folder / number).mkdir()
    text = f"{number} ({name}) S {parent or os.getpid()} " + "1 " * 17 + f"{ticks} 0 0\n"
    (folder / number / "stat").write_text(text)


def test_invariant_1_a_process_that_began_before_a_table_changed_is_named(table, queue, processes):
    entry(processes, "12", "cleanup", time.time() + 5)
    assert outdated([str(table)], queue, runs=True, processes=processes) == ""
    entry(processes, "13", "cleanup", time.time() - 5)
    found = outdated([str(table)], queue, processes=processes)
    assert found == f"cleanup[13] runs since before {table} was changed: postfix reload"


def test_a_table_moved_back_into_its_place_has_changed(table, tmp_path, queue, processes):
    os.utime(table, (1, 1))
    entry(processes, "12", "cleanup", time.time() - 5)
    table.rename(tmp_path / "elsewhere").rename(table)
    assert outdated([str(table)], queue, processes=processes).startswith("cleanup[12] ")


def test_a_table_that_is_gone_has_just_changed(tmp_path, queue, processes):
    entry(processes, "12", "cleanup", time.time() - 1)
    assert outdated([str(tmp_path / "gone")], queue, processes=processes).startswith("cleanup[12] ")


def test_another_instance_of_postfix_is_none_of_ours(table, queue, processes):
    entry(processes, "12", "cleanup", time.time() - 5, parent=1)
    assert outdated([str(table)], queue, processes=processes) == ""


def test_where_none_can_be_seen_but_one_must_run_nothing_is_proven(table, queue, processes):
    entry(processes, "12", "smtpd", time.time() - 5)
    entry(processes, "13", "a) name (", time.time() - 5)
    (processes / "14").mkdir()
    (processes / "14" / "stat").write_bytes(b"\xff\xfe")
    (processes / "15").mkdir()
    assert outdated([str(table)], queue, runs=True, processes=processes) == UNSEEN
    assert outdated([str(table)], queue, processes=processes) == ""


def test_a_postfix_that_does_not_run_has_no_older_tables(table, tmp_path, processes):
    assert outdated([str(table)], tmp_path / "nowhere", processes=processes) == ""
    assert outdated([str(table)], tmp_path / "nowhere", runs=True, processes=processes) == UNSEEN


def test_a_door_that_cannot_be_opened_is_a_fault(table, tmp_path, processes):
    door = tmp_path / "queue" / DOOR
    door.parent.parent.mkdir()
    door.parent.write_text("")
    assert "public/qmgr cannot be asked" in outdated([str(table)], tmp_path / "queue", processes=processes)
