"""A process's control socket: an administrator asks how it is, or what is in its cache.

One line of JSON each way, on a unix socket in a folder that only root and the service's user may enter.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nta_milter.errors import TemporaryError
from nta_milter.monitor.log import tell, tell_crash

PATIENCE = 5.0
"""Seconds that either side waits for the other."""
LINE_LIMIT = 1_000_000
"""Longest line, in bytes; a report on a domain with many hosts is long."""
SUFFIX = ".sock"

Answer = Callable[[str, str], Mapping[str, object]]
"""From a command and a domain to what is told; raises ValueError for a command that it does not know."""

log = logging.getLogger(__name__)


def serve(folder: Path, name: str, answer: Answer) -> None:
    """Answer for ever, for a thread of its own; ends at once where there is no such folder."""
    path = folder / f"{name}{SUFFIX}"
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            listening.listen()
        except OSError as error:
            tell(log, logging.INFO, "control-off", socket=path, reason=error.strerror or error)
            return
        while True:
            client, _ = listening.accept()
            with client:
                try:
                    _serve_one(client, answer)
                except (OSError, ValueError, TypeError, KeyError) as error:
                    tell(log, logging.INFO, "control-refused", reason=type(error).__name__)
                except Exception:  # noqa: BLE001 - this thread must live: the next question is none the worse
                    tell_crash(log, "control-refused")


def ask(folder: Path, command: str, domain: str = "") -> dict[str, Mapping[str, object]]:
    """Each process's answer by the name of its socket.

    Raises:
        TemporaryError: none answers, or this user may not ask.
    """
    question = json.dumps({"command": command, "domain": domain}).encode()
    try:
        sockets = sorted(Path(folder).glob(f"*{SUFFIX}"))
        found = dict(_answers(sockets, question))
        if not found:
            next(Path(folder).iterdir(), None)  # glob says nothing of a folder that may not be read
    except PermissionError as error:
        raise TemporaryError("only root and the service's user may ask", where=str(folder)) from error
    except OSError:
        found = {}
    if not found:
        raise TemporaryError("no process answers; is the service running?", where=str(folder))
    return found


def _answers(sockets: list[Path], question: bytes) -> Iterator[tuple[str, Mapping[str, object]]]:
    for path in sockets:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            try:
                client.connect(str(path))
                client.sendall(question + b"\n")
                told = json.loads(_line(client))
            except PermissionError:
                raise
            except (OSError, ValueError):
                continue  # a process that is gone has left its socket
        yield path.stem, told


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
