import threading

import pytest

from nta_milter.errors import StoreUnavailable, TemporaryError
from nta_milter.store.batch import Batch

THREADS = 6


class Disk:
    """What is written to; the first write waits until ``open`` is set."""

    def __init__(self, refused=()):
        self.written = []
        self.refused = refused
        self.entered, self.open = threading.Event(), threading.Event()

    def write(self, items):
        self.entered.set()
        self.open.wait()
        for item in items:
            if item in self.refused:
                raise self.refused[item]
        self.written.append(tuple(items))


def add_all(batch, disk):
    """Add a number from each thread while the first one is being written; what each was told."""
    told = {}

    def add(number):
        try:
            batch.add(number)
        except TemporaryError as error:
            told[number] = error

    threads = [threading.Thread(target=add, args=(number,)) for number in range(THREADS)]
    threads[0].start()
    disk.entered.wait()
    for thread in threads[1:]:
        thread.start()
    while len(batch._waiting) < THREADS - 1:
        pass
    disk.open.set()
    for thread in threads:
        thread.join()
    return told


def test_who_comes_while_one_writes_is_written_with_the_others():
    disk = Disk()
    assert add_all(Batch(disk.write, "here"), disk) == {}
    assert [len(items) for items in disk.written] == [1, THREADS - 1]
    assert sorted(item for items in disk.written for item in items) == list(range(THREADS))


def test_one_that_cannot_be_written_is_in_nobody_elses_way():
    disk = Disk({3: UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed")})
    told = add_all(Batch(disk.write, "here"), disk)
    assert list(told) == [3]
    assert isinstance(told[3], StoreUnavailable)
    assert "here: cannot be written" in str(told[3])
    assert sorted(item for items in disk.written for item in items) == [0, 1, 2, 4, 5]


def test_what_cannot_be_reached_is_told_to_all_and_tried_once():
    disk = Disk({3: StoreUnavailable("database is locked")})
    told = add_all(Batch(disk.write, "here"), disk)
    assert sorted(told) == [1, 2, 3, 4, 5]
    assert disk.written == [(0,)]


def test_items_of_one_thread_are_written_together_and_in_order():
    disk = Disk()
    disk.open.set()
    batch = Batch(disk.write, "here")
    batch.add(1, 2, 3)
    batch.add()
    assert disk.written == [(1, 2, 3)]


def test_after_a_fault_the_next_one_is_written():
    disk = Disk({1: StoreUnavailable("database is locked")})
    disk.open.set()
    batch = Batch(disk.write, "here")
    with pytest.raises(StoreUnavailable, match="locked"):
        batch.add(1)
    batch.add(2)
    assert disk.written == [(2,)]
