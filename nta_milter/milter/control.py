"""A worker's control socket: an administrator asks what is in its cache, or has it forgotten.

One line of JSON each way, on a unix socket in a folder that only root and the milter's user may enter.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nta_milter.errors import TemporaryError

PATIENCE = 5.0
"""Seconds that either side waits for the other."""
LINE_LIMIT = 1_000_000
"""Longest line, in bytes; a report on a domain with many hosts is long."""

Answer = Callable[[str, str], Mapping[str, object]]
"""From a command and a domain to what is told."""

log = logging.getLogger(__name__)


def serve(folder: Path, number: int, answer: Answer) -> None:
    """Answer for ever, for a thread of its own; ends at once where there is no such folder."""
    path = folder / f"worker-{number}.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            listening.listen()
        except OSError as error:
            log.info("-: event=control-off socket=%s reason=%s", path, error.strerror or error)
            return
        while True:
            client, _ = listening.accept()
            with client:
                try:
                    _serve_one(client, answer)
                except (OSError, ValueError, TypeError, KeyError) as error:
                    log.info("-: event=control-refused reason=%s", type(error).__name__)
                except Exception:
                    # This thread must live: the next question is none the worse.
                    log.exception("-: event=control-refused")


def ask(folder: Path, command: str, domain: str) -> tuple[Mapping[str, object], ...]:
    """Each worker's answer, with its number as ``worker``.

    Raises TemporaryError when none answers, or this user may not ask.
    """
    try:
        sockets = sorted(Path(folder).glob("worker-*.sock"))
        found = tuple(_answers(sockets, json.dumps({"command": command, "domain": domain}).encode()))
    except PermissionError as error:
        raise TemporaryError("only root and the milter's user may ask", where=str(folder)) from error
    if not found:
        raise TemporaryError("no worker answers; is nta-milter running?", where=str(folder))
    return found


def _answers(sockets: list[Path], question: bytes) -> Iterator[Mapping[str, object]]:
    for path in sockets:
        number = int(path.stem.rpartition("-")[2])
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            try:
                client.connect(str(path))
                client.sendall(question + b"\n")
                told = json.loads(_line(client))
            except PermissionError:
                raise
            except (OSError, ValueError):
                continue  # a worker that is gone has left its socket
        yield {"worker": number, **told}


def _serve_one(client: socket.socket, answer: Answer) -> None:
    client.settimeout(PATIENCE)
    question = json.loads(_line(client))
    client.sendall(json.dumps(answer(str(question["command"]), str(question["domain"]))).encode() + b"\n")


def _line(connected: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        piece = connected.recv(65_536)
        if not piece or len(received) > LINE_LIMIT:
            raise ValueError("no line")
        received += piece
    return bytes(received)
