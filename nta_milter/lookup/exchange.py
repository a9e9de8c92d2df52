"""One question to one server, as bytes: over UDP, and over TCP where the answer does not fit."""

from __future__ import annotations

import socket
import struct
import time

_LARGEST = 65_535


def by_udp(address: str, port: int, question: bytes, timeout: float) -> bytes:
    """The answer that carries the question's id; raises TimeoutError after ``timeout`` seconds, or OSError.

    The socket is connected: nobody else's datagram is taken for the answer, and a port on which nobody
    listens is an error at once instead of a time-out.
    """
    ends = time.monotonic() + timeout
    with socket.socket(_family(address), socket.SOCK_DGRAM) as connected:
        connected.connect((address, port))
        connected.send(question)
        while True:
            _wait(connected, ends)
            answer = connected.recv(_LARGEST)
            if answer[:2] == question[:2]:
                return answer


def by_tcp(address: str, port: int, question: bytes, timeout: float) -> bytes:
    """The answer (RFC 1035 section 4.2.2); raises TimeoutError after ``timeout`` seconds, or OSError."""
    ends = time.monotonic() + timeout
    with socket.socket(_family(address), socket.SOCK_STREAM) as connected:
        connected.settimeout(timeout)
        connected.connect((address, port))
        connected.sendall(struct.pack("!H", len(question)) + question)
        (length,) = struct.unpack("!H", _exactly(connected, 2, ends))
        return _exactly(connected, length, ends)


def _exactly(connected: socket.socket, length: int, ends: float) -> bytes:
    received = bytearray()
    while len(received) < length:
        _wait(connected, ends)
        piece = connected.recv(length - len(received))
        if not piece:
            raise ConnectionError("connection closed")
        received += piece
    return bytes(received)


def _wait(connected: socket.socket, ends: float) -> None:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    connected.settimeout(left)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
