"""One worker process: it serves Postfix on the socket that its parent opened."""

from __future__ import annotations

import logging
import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import Milter

from nta_milter.audit.write import open_writer
from nta_milter.config.load import load
from nta_milter.errors import NtaMilterError
from nta_milter.milter import memory
from nta_milter.milter.callbacks import Callbacks
from nta_milter.milter.control import serve as serve_control
from nta_milter.milter.service import Service
from nta_milter.policy.snapshot import Snapshot, build, with_store

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


def serve(snapshot: Snapshot, number: int, configuration: Path | None, control: int) -> None:
    """Serve until told to stop. ``control`` is the read end of the parent's pipe: a byte means reload,
    its end means that the parent is gone."""
    memory.keep()
    settings = snapshot.settings
    writer = open_writer(settings, f"{snapshot.authserv_id}:milter-{number}")
    service = Service(with_store(snapshot), writer, _now)
    prover = _Prover(service)
    for work in (
        prover.run,
        lambda: _obey(service, prover, configuration, control),
        lambda: serve_control(settings.milter.control, number, service.control),
    ):
        threading.Thread(target=work, daemon=True).start()
    Callbacks.service = service
    Milter.factory = Callbacks
    Milter.set_flags(ACTIONS)
    try:
        Milter.runmilter(NAME, settings.milter.socket, settings.milter.timeout, rmsock=False)
    finally:
        service.close()


def _obey(service: Service, prover: _Prover, configuration: Path | None, control: int) -> None:
    """Carry out the parent's word; when the parent is gone, stop as on SIGTERM."""
    while os.read(control, 1) == RELOAD:
        try:
            service.snapshot = build(load(configuration).settings, service.snapshot)
        except NtaMilterError as error:
            log.error("-: event=reload-refused error=%s", error.diagnostics())
        except Exception:
            # This thread must live: without it no reload and no end of the parent would be noticed.
            log.exception("-: event=reload-refused")
        else:
            log.info("-: event=reloaded")
            prover.now()
    os.kill(os.getpid(), signal.SIGTERM)


class _Prover:
    """Proves routing and resolver at start, on reload and every interval, and logs what changed."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._wanted = threading.Event()

    def now(self) -> None:
        """Prove without waiting for the interval's end."""
        self._wanted.set()

    def run(self) -> None:
        """Prove for ever; for a thread of its own."""
        said: tuple[str, ...] | None = None
        while True:
            snapshot = self._service.snapshot
            resolver = snapshot.compliance.proof()
            faults = (*snapshot.routing.current().faults, *(() if resolver.proven else (resolver.reason,)))
            if faults != said:
                for fault in faults:
                    log.error("-: event=not-proven fault=%s", fault)
                if not faults:
                    log.info("-: event=proven what=routing,resolver")
                said = faults
            self._wanted.wait(snapshot.settings.routing.interval)
            self._wanted.clear()
