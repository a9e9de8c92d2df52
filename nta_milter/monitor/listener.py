"""Metrics over HTTP on loopback, for Prometheus to fetch."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from nta_milter.config.metrics import loopback
from nta_milter.errors import ConfigurationError
from nta_milter.monitor.exposition import CONTENT_TYPE
from nta_milter.monitor.log import tell, tell_crash

PATIENCE = 5.0
"""Seconds that a client may take; there is one at a time."""

log = logging.getLogger(__name__)


class _Listener(HTTPServer):
    """One client after the other: Prometheus comes a few times a minute."""

    allow_reuse_address = True

    def __init__(self, place: tuple[str, int], text: Callable[[], str]) -> None:
        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.text = text
        super().__init__(place, _Request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer; who has not asked when the time is over is cut off, however busily he goes on."""
        timer = threading.Timer(PATIENCE, _cut_off, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().finish_request(request, client_address)
        finally:
            timer.cancel()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away or says what is no HTTP harms nobody."""

    def server_bind(self) -> None:
        """Bind without asking DNS for our own name, as HTTPServer would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


def _cut_off(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # he went away just now
        request.shutdown(socket.SHUT_RDWR)


class _Request(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: _Listener
    server_version = "nta-milter"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer for /metrics alone."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        try:
            body = self.server.text().encode()
        except Exception:  # noqa: BLE001 - the next one who asks is none the worse
            tell_crash(log, "metrics-failed")
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not logged."""


def serve(where: str, text: Callable[[], str]) -> _Listener:
    """Answer on a thread of its own until ``shutdown``; ``text`` gives what is told.

    Raises:
        ConfigurationError: the address is not one of loopback, or cannot be listened at.
    """
    place = loopback(where)
    if place is None:
        raise ConfigurationError("is not an ADDRESS:PORT on loopback", where=f"metrics {where}")
    try:
        listener = _Listener(place, text)
    except OSError as error:
        raise ConfigurationError(f"cannot be opened: {error.strerror}", where=f"metrics {where}") from error
    threading.Thread(target=listener.serve_forever, name="metrics", daemon=True).start()
    tell(log, logging.INFO, "metrics-on", address=where)
    return listener


def start(where: str, text: Callable[[], str]) -> None:
    """Answer there; where that cannot be it is logged, since no mail shall wait for it."""
    try:
        serve(where, text)
    except ConfigurationError as error:
        tell(log, logging.ERROR, "metrics-off", reason=error)
