"""The least that a milter in Python can do: it collects header fields and body into our spool, and lets pass.

    python -m tests.bench.noop SOCKET PROCESSES SPOOL_FOLDER

As many processes as ours serve the socket, so that what is compared is the work and not their number.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

import Milter
import milter

from nta_milter.message.spool import Spool

SPOOL_THRESHOLD = 1_048_576


@Milter.header_leading_space
class Noop(Milter.Base):
    """Collects and forgets."""

    folder: ClassVar[Path]

    def __init__(self) -> None:
        self.spool = Spool(SPOOL_THRESHOLD, self.folder)
        self.headers: list[tuple[bytes, bytes]] = []

    @Milter.noreply
    @Milter.decode("bytes")
    def header(self, name: bytes, value: bytes) -> int:
        self.headers.append((name, value))
        return int(Milter.CONTINUE)

    @Milter.noreply
    def body(self, chunk: bytes) -> int:
        self.spool.write(chunk)
        return int(Milter.CONTINUE)

    def eom(self) -> int:
        self.spool.close_for_reading()
        self._forget()
        return int(Milter.ACCEPT)

    def abort(self) -> int:
        self._forget()
        return int(Milter.CONTINUE)

    def close(self) -> int:
        self._forget()
        return int(Milter.CONTINUE)

    def _forget(self) -> None:
        self.headers.clear()
        self.spool.discard()


def main() -> None:
    socket, processes, folder = sys.argv[1:]
    Noop.folder = Path(folder)
    Milter.factory = Noop
    milter.setconn(socket)
    milter.register("noop")
    milter.opensocket(True)
    children = []
    for _ in range(int(processes)):
        child = os.fork()
        if child == 0:
            Milter.runmilter("noop", socket, 300, rmsock=False)
            os._exit(0)
        children.append(child)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    for child in children:
        os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    main()
