"""A milter behind ours, which may still refuse what ours has let pass, or take its time.

Run inside as ``python -m tests.laboratory.later FOLDER SOCKET``. What it does at the end of a message stands
in ``FOLDER/order``: ``accept``, ``reject``, ``tempfail``, ``discard``, or ``wait`` until it is another.
Only mail of our own users is its business: what the worker hands in passes.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from tests.laboratory.laboratory import CHECKOUT, Laboratory
from tests.laboratory.namespace import INSIDE, Process

SOCKET = "nta-milter/later.sock"
SIGNER = "unix:opendkim/opendkim.sock"


class Later:
    """Puts the milter behind ours at care.test; a context manager."""

    def __init__(self, laboratory: Laboratory, order: str = "accept") -> None:
        self._laboratory = laboratory
        self._folder = laboratory.directory / "later"
        self._folder.mkdir(exist_ok=True)
        self._process: Process | None = None
        self.order(order)

    def __enter__(self) -> Later:
        laboratory = self._laboratory
        socket = Path("/var/spool/postfix") / SOCKET
        self._process = laboratory.namespace.popen(
            *(sys.executable, "-m", "tests.laboratory.later", INSIDE / "later", f"unix:{socket}"),
            log=self._folder / "log",
            environment={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
            umask=0o007,
        )
        care = laboratory.postfix["care"]
        laboratory.wait_for((care.home / "queue" / SOCKET).exists, "the milter behind ours")
        care.set(nta_signer=f"unix:{SOCKET}, {SIGNER}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.order("accept")
        self._laboratory.postfix["care"].set(nta_signer=SIGNER)
        if self._process is not None:
            self._process.end(kill=True)
        (self._laboratory.postfix["care"].home / "queue" / SOCKET).unlink(missing_ok=True)

    def order(self, order: str) -> None:
        """What it shall do with the messages to come, and with those that wait."""
        unfinished = self._folder / "order.unfinished"
        unfinished.write_text(order)
        unfinished.rename(self._folder / "order")

    def has(self) -> bool:
        """Whether a message waits with it: ours has answered, and Postfix has not."""
        return (self._folder / "waits").exists()


def main() -> None:
    """Serve on the socket until killed."""
    import Milter

    folder = Path(sys.argv[1])
    replies = {
        "accept": Milter.ACCEPT,
        "reject": Milter.REJECT,
        "tempfail": Milter.TEMPFAIL,
        "discard": Milter.DISCARD,
    }

    class Ordered(Milter.Base):  # type: ignore[misc]
        def eom(self) -> int:
            if self.getsymval("{nta_side}") != "outbound":
                return int(Milter.ACCEPT)
            waits = folder / "waits"
            while (order := (folder / "order").read_text()) == "wait":
                waits.touch()
                time.sleep(0.01)
            waits.unlink(missing_ok=True)
            return int(replies[order])

    Milter.factory = Ordered
    Milter.runmilter("later", sys.argv[2], 300)


if __name__ == "__main__":
    main()
