"""The worker's process: LMTP on the main thread, and a thread for each of its duties."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from nta_milter import __version__
from nta_milter.audit.chain import Signer
from nta_milter.audit.tell import EVENTS, teller
from nta_milter.audit.write import open_writer
from nta_milter.config.model import Settings
from nta_milter.config.notify import READY, STOPPING, notify
from nta_milter.errors import NtaMilterError
from nta_milter.monitor import listener
from nta_milter.monitor.control import serve as serve_control
from nta_milter.monitor.exposition import text
from nta_milter.monitor.log import tell, tell_crash
from nta_milter.monitor.process import STARTED, Process
from nta_milter.monitor.registry import Registry
from nta_milter.store.store import open_store, private_keys
from nta_milter.worker.again import Again, Decider
from nta_milter.worker.answer import Answers
from nta_milter.worker.hand import Hand
from nta_milter.worker.late import LateWatch
from nta_milter.worker.lists import Lists
from nta_milter.worker.metrics import METRICS, State, duty_name
from nta_milter.worker.postqueue import Postqueue
from nta_milter.worker.proven import HandIn
from nta_milter.worker.prune import Prune
from nta_milter.worker.receive import Handler, listening, serve
from nta_milter.worker.sweep import Sweep
from nta_milter.worker.watch import Watch

RECEIVERS = 4
"""Commits and bounces that are worked on at the same time."""
SWEEP_EVERY = 10
"""Looks at the queue between two sweeps."""
LISTS_EVERY = 300.0
"""Seconds between two looks which revocation lists are due."""
SHORT = 1.0
"""Seconds between two looks at what is due, where nobody has woken us: another host may have stored it."""

CATALOGUE = (EVENTS, STARTED, *METRICS)
"""Every metric of the worker."""

log = logging.getLogger(__name__)


def now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


class Worker:
    """Everything a worker does, until it is told to stop."""

    def __init__(self, settings: Settings, decide: Decider, clock: Callable[[], datetime] = now) -> None:
        """Open all that is needed.

        Raises:
            ConfigurationError: the store, a key or the socket cannot be used.
            TemporaryError: the database cannot be reached.
        """
        self._settings = settings
        self._hostname = settings.milter.hostname or socket.gethostname()
        self._stopping = threading.Event()
        self._due = threading.Event()
        self._store = open_store(settings)
        keys = private_keys("worker", settings)
        self._listener = listening(settings.worker.socket)
        registry = Registry((EVENTS, *METRICS))
        self._audit = open_writer(settings, f"{self._hostname}:worker", teller(registry, log))
        postqueue = Postqueue(settings.routing.postfix)
        store, audit = self._store, self._audit
        proven = HandIn(settings)
        self._hand = Hand(settings, store, keys, audit, postqueue.look, clock, self._hostname, proven.fault)
        self._again = Again(settings, store, keys, audit, decide, clock)
        self._watch = Watch(settings, store, audit, postqueue, clock)
        self._late = LateWatch(settings, store, audit, postqueue.look, clock)
        signer = Signer.of(settings) if settings.audit.target == "store" else None
        self._sweep = Sweep(settings, store, audit, signer, clock, self._late.kept_since)
        self._prune = Prune(settings, store.database, audit, signer, clock)
        self._lists = Lists(settings, clock, self._stopping.is_set)
        self._state = State(settings, store.database, registry, clock, lambda: self._watch.commits)
        registry.collect(self._state.collect)
        self._process = Process("worker", registry, self._state.facts)
        self._answers = Answers(store, audit, clock, self._due.set)

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; 0."""
        threads = [
            threading.Thread(target=self._hand_over, name="hand", daemon=True),
            threading.Thread(target=self._decide, name="again", daemon=True),
            threading.Thread(target=self._look, name="watch", daemon=True),
        ]
        if self._lists.wanted:
            threads.append(threading.Thread(target=self._refresh, name="lists", daemon=True))
        for thread in threads:
            thread.start()
        control = threading.Thread(target=self._control, name="control", daemon=True)
        control.start()
        if self._settings.metrics.worker:
            listener.start(self._settings.metrics.worker, self._metrics)
        try:
            asyncio.run(self._receive())
        finally:
            self._stopping.set()
            self._due.set()
            for thread in threads:
                thread.join()
            self._audit.close()
            self._store.close()
        return 0

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, stop.set)
        with ThreadPoolExecutor(RECEIVERS, thread_name_prefix="receive") as threads:
            server = await serve(self._listener, Handler(self._answers.receive, threads), self._hostname)
            tell(log, logging.INFO, "started", socket=self._settings.worker.socket, version=__version__)
            notify(READY)
            await stop.wait()
            notify(STOPPING)
            server.close()

    def _hand_over(self) -> None:
        while not self._stopping.is_set():
            self._due.clear()
            if not self._try(self._hand.round):
                self._due.wait(SHORT)

    def _decide(self) -> None:
        while not self._stopping.is_set():
            if self._try(self._again.round):
                self._due.set()
            self._stopping.wait(SHORT)

    def _look(self) -> None:
        turn = 0
        while not self._stopping.is_set():
            self._try(self._watch.round)
            if self._try(self._late.round):
                self._due.set()
            if turn % SWEEP_EVERY == 0:
                self._try(self._sweep.round)
                self._try(self._prune.round)
                self._try(self._sweep.checkpoint)
                self._due.set()
            turn += 1
            self._stopping.wait(self._settings.worker.interval)

    def _refresh(self) -> None:
        while not self._stopping.is_set():
            self._try(self._lists.round)
            self._stopping.wait(LISTS_EVERY)

    def _control(self) -> None:
        serve_control(self._settings.worker.control, "worker", self._process.answer)

    def _metrics(self) -> str:
        return text(self._process.registry.samples(), CATALOGUE)

    def _try(self, duty: Callable[[], int]) -> int:
        """Do a duty; what fails is logged and done again at its next turn."""
        name = duty_name(duty)
        try:
            done = duty()
        except NtaMilterError as error:
            tell(log, logging.ERROR, "duty-failed", duty=name, error=error)
            self._state.done(name, str(error))
        except Exception:  # noqa: BLE001 - done again at its next turn
            tell_crash(log, "internal-error", duty=name)
            self._state.done(name, "internal error")
        else:
            self._state.done(name)
            return done
        return 0
