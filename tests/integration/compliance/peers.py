"""DNS servers that misbehave, on real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.flags
import dns.message


@contextmanager
def udp_server(answer: Callable[[bytes], bytes | None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that sends what ``answer`` makes of each question; its address and what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        address = listening.getsockname()

        def serve() -> None:
            while True:
                question, peer = listening.recvfrom(4096)
                if not question:
                    return
                asked.append(question)
                reply = answer(question)
                if reply is not None:
                    listening.sendto(reply, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{address[0]}:{address[1]}", asked
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"", address)
            thread.join()


def response(question: bytes) -> dns.message.Message:
    """An empty answer to a question, with the AD bit."""
    made = dns.message.make_response(dns.message.from_wire(question))
    made.flags |= dns.flags.AD | dns.flags.RA
    return made
