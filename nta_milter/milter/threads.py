"""Threads for short work. What ThreadPoolExecutor tells about each piece of work is told by others here."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from nta_milter.monitor.log import tell_crash

log = logging.getLogger(__name__)

Work = Callable[[], None]


class Threads:
    """Up to ``limit`` threads; what work raises is logged, and whoever waits for it must be told by the work.

    The last to end its work is the first to get new work: its memory is still in the processor's cache.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._started: list[threading.Thread] = []
        self._idle: list[queue.SimpleQueue[Work | None]] = []
        self._backlog: deque[Work] = deque()
        self._closed = False

    def submit(self, work: Work) -> None:
        """Have it done, at once or as soon as a thread has time.

        Raises:
            RuntimeError: the threads are closed, or not even one can be had.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the threads are closed")
            if self._idle:
                self._idle.pop().put(work)
                return
            self._backlog.append(work)
            if len(self._started) < self._limit:
                self._start()

    def _start(self) -> None:
        name = f"{self._name}-{len(self._started)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more can be had now: those that there are do it
            if not self._started:
                self._backlog.pop()
                raise
        else:
            self._started.append(thread)

    def _run(self) -> None:
        own: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        work: Work | None
        while True:
            with self._lock:
                if self._backlog:
                    work = self._backlog.popleft()
                elif self._closed:
                    return
                else:
                    work = None
                    self._idle.append(own)
            if work is None and (work := own.get()) is None:
                return
            try:
                work()
            except BaseException:  # noqa: BLE001 - a thread that ends here is lost to all mail after it
                with suppress(Exception):
                    tell_crash(log, "internal-error")

    def close(self) -> None:
        """Take no more work, and wait until all that was taken is done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            started = tuple(self._started)
        for waiting in idle:
            waiting.put(None)
        for thread in started:
            thread.join()
