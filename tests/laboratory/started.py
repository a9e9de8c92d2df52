"""Where what was started listens, and whether it is ready, as its socket and its log tell."""

from __future__ import annotations

import re
from pathlib import Path

from tests.laboratory.client import unix_connection

NOOP = "tests.laboratory.noop"
"""A milter that does only what a test orders, and proves nothing."""


def answers(path: Path) -> bool:
    """Whether somebody listens on a unix socket."""
    try:
        unix_connection(path).close()
    except OSError:
        return False
    return True


def probed(said: str) -> bool:
    """Whether each worker of the milter that wrote this log has probed the running Postfix."""
    started = re.search(r"event=started .*workers=(\d+)", said)
    if started is None:
        return False
    lines = said.splitlines()
    last = (
        [line for line in lines if f" worker={number} " in line][-1:] for number in range(int(started[1]))
    )
    return all(found and "probe" not in found[0] for found in last)


def parsed(listener: str) -> tuple[str, int]:
    """``ADDRESS:PORT`` as a pair."""
    address, _, port = listener.rpartition(":")
    return address, int(port)
