"""The parent: opens the socket, keeps the workers alive, reloads and stops them.

libmilter takes SIGHUP, SIGINT and SIGTERM for itself in a worker, so reload and supervision live here, in a
process that never runs libmilter's main loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path

import milter

from nta_milter import __version__
from nta_milter.config.load import load
from nta_milter.config.notify import READY, RELOADING, STOPPING, notify
from nta_milter.errors import ConfigurationError, NtaMilterError
from nta_milter.milter.restart import needs_restart, note_refused
from nta_milter.milter.worker import NAME, RELOAD, serve
from nta_milter.monitor.log import start, tell, tell_crash
from nta_milter.policy.snapshot import build, without_store
from nta_milter.postfix.live import Tickets

log = logging.getLogger(__name__)

RESTART_DELAY = 1.0
"""Seconds between the death of a worker and the next one, so that a broken start does not spin."""

STOP_PATIENCE = 320
"""Seconds that a worker may take to finish the messages it has; above Postfix's milter_content_timeout."""

SIGNALS = {signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


class Supervisor:
    """The worker processes of one socket."""

    def __init__(self, configuration: Path | None) -> None:
        self._configuration = configuration
        self._workers: dict[int, tuple[int, int]] = {}
        self._listener: socket.socket | None = None
        self._snapshot = without_store(build(load(configuration).settings))
        self._started = self._snapshot.settings
        self._tickets = Tickets()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; 0 when every worker ended well."""
        settings = self._snapshot.settings
        start(settings.log, NAME)
        os.umask(0o007)
        self._open(settings.milter.socket)
        self._listener = _listening()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        note_refused(settings.milter.control, "")
        for number in range(settings.milter.workers):
            self._start_worker(number)
        where, number = settings.milter.socket, settings.milter.workers
        tell(log, logging.INFO, "started", socket=where, workers=number, version=__version__)
        notify(READY)
        while True:
            received = signal.sigwait(SIGNALS)
            if received == signal.SIGCHLD:
                self._replace_dead()
            elif received == signal.SIGHUP:
                notify(RELOADING)
                self._reload()
                notify(READY)
            else:
                return self._stop()

    @staticmethod
    def _open(where: str) -> None:
        try:
            milter.setconn(where)
            milter.register(NAME)
            milter.opensocket(True)
        except milter.error as error:
            raise ConfigurationError(f"cannot be opened ({error})", where=f"milter.socket {where}") from error

    def _start_worker(self, number: int) -> None:
        reading, writing = os.pipe()
        process = os.fork()
        if process:
            os.close(reading)
            self._workers[process] = (number, writing)
            return
        status = 1
        try:
            os.close(writing)
            for _, other in self._workers.values():
                os.close(other)
            # Signals stay blocked in all threads to come: libmilter waits for them in one of its own.
            serve(self._snapshot, number, self._configuration, reading, self._tickets)
            status = 0
        except NtaMilterError as error:
            tell(log, logging.ERROR, "worker-failed", error=error.diagnostics())
        except BaseException:  # noqa: BLE001 - told, and the process ends
            tell_crash(log, "worker-crashed")
        finally:
            logging.shutdown()
            sys.stderr.flush()
            os._exit(status)

    def _replace_dead(self) -> None:
        while self._workers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            number, control = self._workers.pop(process)
            os.close(control)
            tell(log, logging.ERROR, "worker-died", pid=process, status=os.waitstatus_to_exitcode(status))
            time.sleep(RESTART_DELAY)
            self._start_worker(number)

    def _reload(self) -> None:
        """A bad file keeps the old state and says why; a good one goes to every worker."""
        try:
            self._snapshot = without_store(build(load(self._configuration).settings, self._snapshot))
        except NtaMilterError as error:
            tell(log, logging.ERROR, "reload-refused", error=error.diagnostics())
            note_refused(self._started.milter.control, error.diagnostics())
            return
        note_refused(self._started.milter.control, "")
        waiting = needs_restart(self._started, self._snapshot.settings)
        if waiting:
            tell(log, logging.WARNING, "reload-incomplete", restart_needed_for=",".join(waiting))
        for _, control in self._workers.values():
            with contextlib.suppress(BrokenPipeError):
                os.write(control, RELOAD)

    def _remove_socket(self) -> None:
        kind, _, path = self._snapshot.settings.milter.socket.partition(":")
        if kind in ("unix", "local"):
            Path(path).unlink(missing_ok=True)

    def _wake(self) -> None:
        """Have all workers leave accept(2): all wake up for one connection, and who comes too late waits
        there, where libmilter does not see that it should stop. The first worker that stops removes the
        socket's name, unless we are root; then the socket itself is shut, which takes libmilter a second."""
        kind, _, place = self._snapshot.settings.milter.socket.partition(":")
        try:
            if kind in ("unix", "local"):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(place)
            else:
                port, _, host = place.partition("@")
                socket.create_connection((host or "localhost", int(port)), timeout=1).close()
        except OSError:
            if self._listener is not None:
                with contextlib.suppress(OSError):  # shut already
                    self._listener.shutdown(socket.SHUT_RDWR)

    def _stop(self) -> int:
        notify(STOPPING)
        for process in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        worst = 0
        until = time.monotonic() + STOP_PATIENCE
        while self._workers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process:
                os.close(self._workers.pop(process)[1])
                worst = worst or os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                for late in self._workers:
                    os.kill(late, signal.SIGKILL)
                until = float("inf")
            else:
                self._wake()
                signal.sigtimedwait({signal.SIGCHLD}, 0.2)
        self._remove_socket()
        tell(log, logging.INFO, "stopped")
        return 1 if worst else 0


def _listening() -> socket.socket | None:
    """The socket that libmilter has opened in this process, by a descriptor of our own."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # no socket, or the descriptor of this listing
            found = socket.socket(fileno=int(path.name))
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            theirs = found.detach()
            if listens:
                return socket.socket(fileno=os.dup(theirs))
    return None
