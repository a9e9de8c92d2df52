"""One worker process: it serves Postfix on the socket that its parent opened."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import Milter

from nta_milter.audit.tell import EVENTS, teller
from nta_milter.audit.write import open_writer
from nta_milter.config.load import load
from nta_milter.errors import NtaMilterError, TemporaryError
from nta_milter.milter import memory
from nta_milter.milter.callbacks import Callbacks
from nta_milter.milter.metrics import METRICS, Counted, State
from nta_milter.milter.prover import Prover
from nta_milter.milter.service import Service
from nta_milter.monitor import control as control_socket
from nta_milter.monitor import listener
from nta_milter.monitor.exposition import text
from nta_milter.monitor.log import tell, tell_crash
from nta_milter.monitor.process import STARTED, STATUS, Process, samples_of
from nta_milter.monitor.registry import Registry, join
from nta_milter.policy.snapshot import Snapshot, build, with_store
from nta_milter.postfix.live import Tickets

log = logging.getLogger(__name__)

NAME = "nta-milter"
RELOAD = b"r"
ACTIONS = (
    Milter.ADDHDRS
    | Milter.CHGHDRS
    | Milter.CHGBODY
    | Milter.CHGFROM
    | Milter.ADDRCPT
    | Milter.ADDRCPT_PAR
    | Milter.DELRCPT
)


def _now() -> datetime:
    return datetime.now(UTC)


def serve(
    snapshot: Snapshot, number: int, configuration: Path | None, control: int, tickets: Tickets
) -> None:
    """Serve until told to stop. ``control`` is the read end of the parent's pipe: a byte means reload,
    its end means that the parent is gone. ``tickets`` are those of all workers."""
    memory.keep()
    settings = snapshot.settings
    registry = Registry((EVENTS, *METRICS))
    writer = open_writer(settings, f"{snapshot.authserv_id}:milter-{number}", teller(registry))
    service = Service(with_store(snapshot), writer, _now, Counted(registry), tickets)
    state = State(lambda: service.snapshot)
    registry.collect(state.collect)
    process = Process("milter", registry, state.facts)
    prover = Prover(service, state, tickets, number)

    def answer(command: str, domain: str) -> Mapping[str, object]:
        return process.status() if command == STATUS else service.control(command, domain)

    for work in (
        prover.run,
        lambda: _obey(service, prover, state, configuration, control),
        lambda: control_socket.serve(settings.milter.control, f"worker-{number}", answer),
    ):
        threading.Thread(target=work, daemon=True).start()
    if settings.metrics.milter and number == 0:
        listener.start(settings.metrics.milter, lambda: _metrics(settings.milter.control, process))
    Callbacks.service = service
    Milter.factory = Callbacks
    Milter.set_flags(ACTIONS)
    try:
        Milter.runmilter(NAME, settings.milter.socket, settings.milter.timeout, rmsock=False)
    finally:
        service.close()


def _metrics(control: Path, own: Process) -> str:
    """What all processes of the milter have counted; where there are no control sockets, this one alone."""
    catalogue = (EVENTS, STARTED, *METRICS)
    try:
        told = [samples_of(answer) for answer in control_socket.ask(control, STATUS).values()]
    except TemporaryError:
        told = [own.registry.samples()]
    joined = join(told, {metric.name: metric for metric in catalogue})
    return text(joined, catalogue)


def _obey(service: Service, prover: Prover, state: State, configuration: Path | None, control: int) -> None:
    """Carry out the parent's word; when the parent is gone, stop as on SIGTERM."""
    while os.read(control, 1) == RELOAD:
        try:
            fresh = build(load(configuration).settings, service.snapshot)
            fresh.routing.follow(service.snapshot.routing)
            service.snapshot = fresh
        except NtaMilterError as error:
            tell(log, logging.ERROR, "reload-refused", error=error.diagnostics())
        except Exception:  # noqa: BLE001
            # This thread must live: without it no reload and no end of the parent would be noticed.
            tell_crash(log, "reload-refused")
        else:
            state.loaded()
            tell(log, logging.INFO, "reloaded")
            prover.now()
    os.kill(os.getpid(), signal.SIGTERM)
