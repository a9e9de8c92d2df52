"""Runs the portal: one process, on a unix socket behind a web server, or on loopback for a first start."""

from __future__ import annotations

import inspect
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import uvicorn

from nta_milter import __version__
from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.tell import EVENTS, teller
from nta_milter.audit.write import open_writer
from nta_milter.config.model import Settings
from nta_milter.config.notify import READY, STOPPING, notify
from nta_milter.errors import ConfigurationError
from nta_milter.monitor import listener
from nta_milter.monitor.control import serve as serve_control
from nta_milter.monitor.exposition import text
from nta_milter.monitor.log import start, tell
from nta_milter.monitor.process import STARTED, Process, fingerprint
from nta_milter.monitor.registry import Registry
from nta_milter.portal.app import application
from nta_milter.portal.language import choose
from nta_milter.portal.metrics import METRICS, counted
from nta_milter.portal.reading import Reading
from nta_milter.portal.visit import Portal
from nta_milter.store.rows import Delivery
from nta_milter.store.store import open_store, private_keys

CONNECTIONS = 1_000
"""Connections at the same time; more are answered with 503."""
KEEP_ALIVE = 30
"""Seconds that an idle connection of the web server is kept."""
PATIENCE = 30
"""Seconds that downloads may take to end when the portal stops."""

CATALOGUE = (EVENTS, STARTED, *METRICS)
"""Every metric of the portal."""

log = logging.getLogger(__name__)

_INET = re.compile(r"inet:(\d{1,5})@(127\.0\.0\.1|\[::1\])")
_FIRST_INHERITED = 3  # sd_listen_fds(3)


def serve(settings: Settings) -> int:
    """Answer requests until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: there is no store, key or socket to be had.
    """
    if not settings.portal.url:
        raise ConfigurationError("is empty: there is no portal", where="portal.url")
    os.umask(0o007)
    start(settings.log, "nta-portal")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its lines about itself have another form
    listener = listening(settings.portal.socket)
    store = open_store(settings)
    registry = Registry((EVENTS, *METRICS))
    name = f"{settings.milter.hostname or socket.gethostname()}:portal"
    audit = open_writer(settings, name, teller(registry, log))

    def record(event: Event, delivery: Delivery, details: Mapping[str, str]) -> None:
        audit.write(event_about(event, delivery, details))

    unnamed = choose((), "", settings.notification.language)("message.unnamed")
    try:
        portal = Portal(settings, store, private_keys("portal", settings), Reading(store, unnamed), record)
        server = _Server(_configuration(portal, registry))
        _tell_of(settings, registry)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _ended)
        server.run(sockets=[listener])
    finally:
        audit.close()
        store.close()
        listener.close()
    return 0


def _tell_of(settings: Settings, registry: Registry) -> None:
    """Answer who asks how this process is."""
    process = Process("portal", registry, lambda: {"configuration": {"settings": fingerprint(settings)}})
    control = partial(serve_control, settings.portal.control, "portal", process.answer)
    threading.Thread(target=control, name="control", daemon=True).start()
    if settings.metrics.portal:
        listener.start(settings.metrics.portal, lambda: text(registry.samples(), CATALOGUE))


class _Server(uvicorn.Server):
    """Tells systemd when it answers, and when it ends."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        tell(log, logging.INFO, "started", version=__version__)
        notify(READY)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests end."""
        notify(STOPPING)
        await super().shutdown(sockets)


def _ended(number: int, frame: object) -> None:
    """Newer uvicorn raises the signal that ended it once more, which must not kill us before we clean up."""


def event_about(event: Event, delivery: Delivery, details: Mapping[str, str]) -> AuditRecord:
    """The record of something that a recipient or sender did with a delivery."""
    return AuditRecord(
        at=datetime.now(UTC),
        event=event,
        queue_id=delivery.queue_id or delivery.message_id,
        sender=delivery.author or delivery.sender,
        recipients=(delivery.recipient,),
        route=delivery.route,
        reasons=(),
        details={"message": delivery.message_id, "delivery": delivery.id, **details},
    )


def listening(where: str) -> socket.socket:
    """The socket of ``portal.socket``, or the one that systemd hands over.

    Raises:
        ConfigurationError: it is malformed or cannot be opened.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_FIRST_INHERITED)
    place = f"portal.socket {where}"
    inet = _INET.fullmatch(where)
    if not inet and not where.startswith("unix:/"):
        raise ConfigurationError("is neither unix:/PATH nor inet:PORT@127.0.0.1", where=place)
    family = socket.AF_UNIX if not inet else socket.AF_INET6 if ":" in inet[2] else socket.AF_INET
    listener = socket.socket(family)
    try:
        if inet:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((inet[2].strip("[]"), int(inet[1])))
        else:
            _bind(listener, Path(where.removeprefix("unix:")))
        listener.listen(512)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(f"cannot be opened ({error})", where=place) from error
    return listener


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind in place of a socket that an earlier process left; anything else is left alone."""
    if path.is_socket():
        path.unlink()
    listener.bind(str(path))
    path.chmod(0o660)


def _configuration(portal: Portal, registry: Registry) -> uvicorn.Config:
    options: dict[str, object] = {
        "http": "h11",
        "ws": "none",
        "loop": "asyncio",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,  # paths hold links
        "server_header": False,
        "proxy_headers": False,  # done by asgi.Protected, which knows which proxies are ours
        "limit_concurrency": CONNECTIONS,
        "timeout_keep_alive": KEEP_ALIVE,
    }
    if "timeout_graceful_shutdown" in inspect.signature(uvicorn.Config).parameters:
        options["timeout_graceful_shutdown"] = PATIENCE
    return uvicorn.Config(counted(application(portal), registry), **options)  # type: ignore[arg-type]
