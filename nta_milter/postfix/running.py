"""Which of Postfix's running processes may still have an older table than the one that was proven?

cleanup(8) reads main.cf and flat tables (regexp, pcre, cidr, texthash, inline) once, when it starts, and
serves up to max_use messages with them. Only "postfix reload" ends those that run.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

READER = "cleanup"
"""The daemon that gives a message its route."""

DOOR = "public/qmgr"
"""A socket that master(8) itself listens on, below queue_directory; nothing is said there."""

PATIENCE = 5.0
"""Seconds until master(8) must have taken the connection; the kernel does so for it."""

UNSEEN = (
    "Postfix's processes cannot be seen, so nobody knows which tables they have: ProtectProc= of the unit "
    "hides them, or they are in another PID namespace"
)


def outdated(
    files: Iterable[str], queue: Path, *, runs: bool = False, processes: Path = Path("/proc")
) -> str:
    """Why a running cleanup(8) may have read ``files`` before they changed; empty when none has.

    ``queue`` is the instance's queue_directory. ``runs``: a cleanup(8) has just been at work, so that to see
    none is a fault. A clock that is set between the change of a file and the start of a process misleads it.
    """
    try:
        master = _listener(queue / DOOR)
    except (FileNotFoundError, ConnectionRefusedError):
        return UNSEEN if runs else ""
    except OSError as error:
        return f"{queue / DOOR} cannot be asked which Postfix runs there: {error.strerror}"
    newest, changed = max(((_changed(file), file) for file in files), default=(0.0, ""))
    any_seen = False
    for number, started in _readers(processes, master):
        any_seen = True
        if started <= newest:
            return f"{READER}[{number}] runs since before {changed} was changed: postfix reload"
    return UNSEEN if runs and not any_seen else ""


def _changed(file: str) -> float:
    """When a file's content or place last changed, in seconds of the clock; now, when it cannot be told."""
    try:
        return Path(file).stat().st_ctime
    except OSError:
        return time.time()


def _listener(door: Path) -> int:
    """Who listens at a socket, by its number here (unix(7), SO_PEERCRED); 0 in another PID namespace."""
    credentials = struct.Struct("iII")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(door))
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    return int(credentials.unpack(peer)[0])


def _readers(processes: Path, master: int) -> Iterator[tuple[str, float]]:
    """Number and time of start, rounded down, of each cleanup(8) of a master(8) (proc(5))."""
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    second = os.sysconf("SC_CLK_TCK")
    for folder in processes.glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text("utf-8", "replace").partition("(")[2].rpartition(")")
            fields = rest.split()
            if name == READER and int(fields[1]) == master:
                yield folder.name, booted + int(fields[19]) / second
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
