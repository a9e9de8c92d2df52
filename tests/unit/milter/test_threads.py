"""Threads for short work: all of it is done, by no more threads than allowed, and closing waits for it."""

import threading
import time

import pytest

from nta_milter.milter.threads import Threads


def test_all_work_is_done_however_much_there_is():
    threads = Threads(3, "work")
    done = []
    for number in range(200):
        threads.submit(lambda number=number: done.append(number))
    threads.close()
    assert sorted(done) == list(range(200))


def test_as_many_run_at_once_as_are_allowed_and_the_rest_waits():
    threads = Threads(2, "work")
    together = threading.Barrier(3)
    names = []

    def work():
        names.append(threading.current_thread().name)
        together.wait(10)

    for _ in range(4):
        threads.submit(work)
    together.wait(10)
    assert sorted(names[:2]) == ["work-0", "work-1"]
    together.wait(10)
    threads.close()
    assert len(names) == 4


def test_who_ended_last_gets_the_next_work():
    threads = Threads(2, "work")
    together = threading.Barrier(2)
    names = []

    def submit_and_wait(*works):
        for work in works:
            threads.submit(work)
        limit = time.monotonic() + 10
        while len(threads._idle) < 2 and time.monotonic() < limit:
            time.sleep(0.001)

    submit_and_wait(lambda: together.wait(10), lambda: together.wait(10))
    for _ in range(10):
        submit_and_wait(lambda: names.append(threading.current_thread().name))
    threads.close()
    assert len(names) == 10
    assert len(set(names)) == 1


def test_work_from_many_threads_is_done():
    threads = Threads(4, "work")
    done = []
    makers = [
        threading.Thread(target=lambda: [threads.submit(lambda: done.append(1)) for _ in range(100)])
        for _ in range(8)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    threads.close()
    assert len(done) == 800


def test_closed_threads_take_nothing_and_say_so():
    threads = Threads(1, "work")
    threads.close()
    with pytest.raises(RuntimeError, match="closed"):
        threads.submit(lambda: None)


def test_closing_waits_for_what_waits():
    threads = Threads(1, "work")
    begin = threading.Event()
    done = []
    threads.submit(lambda: begin.wait(10))
    threads.submit(lambda: done.append("late"))
    threading.Timer(0.05, begin.set).start()
    threads.close()
    assert done == ["late"]


def test_where_no_thread_can_be_had_those_that_there_are_do_the_work(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    threads = Threads(2, "work")
    begin = threading.Event()
    done = []
    threads.submit(lambda: begin.wait(10))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads.submit(lambda: done.append("waited"))
    begin.set()
    threads.close()
    assert done == ["waited"]
    none = Threads(2, "work")
    with pytest.raises(RuntimeError, match="can't start"):
        none.submit(lambda: done.append("never"))
    none.close()
    assert done == ["waited"]


class Panic(BaseException):
    """What a library in Rust raises: no Exception."""


def test_work_that_fails_is_logged_and_costs_no_thread(caplog):
    threads = Threads(1, "work")
    done = []

    def fail():
        raise Panic("panicked")

    for _ in range(3):
        threads.submit(fail)
    threads.submit(lambda: done.append("after"))
    threads.close()
    assert done == ["after"]
    assert caplog.text.count("event=internal-error") == 3
    assert "Panic: panicked" in caplog.text
