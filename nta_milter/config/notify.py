"""What a service tells systemd about itself (sd_notify(3), for units with Type=notify)."""

from __future__ import annotations

import logging
import os
import socket

NOTIFY_SOCKET = "NOTIFY_SOCKET"

READY = "READY=1"
RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"

log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Send one of the states to the socket that ``$NOTIFY_SOCKET`` names; without one nothing happens.

    A name that begins with ``@`` is in the abstract namespace. A state that cannot be sent is logged: the
    service works without it, and systemd says what it misses.
    """
    name = os.environ.get(NOTIFY_SOCKET)
    if not name:
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.sendto(state.encode(), address)
    except OSError as error:
        log.warning("-: event=notify-failed state=%s error=%s", state, error)
