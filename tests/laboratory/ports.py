"""Ports for servers of tests, on 127.0.0.1."""

from __future__ import annotations

import random
import socket

RANGE = range(20_000, 32_000)
"""Below the ports that Linux gives to clients (ip_local_port_range): those come and go at any moment."""

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody uses, by UDP and TCP, and that was not given before."""
    while True:
        port = random.choice(RANGE)
        if port in _given:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
