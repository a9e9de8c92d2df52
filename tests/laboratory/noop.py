"""A milter of thirty lines that proves the plumbing: it writes down what it sees and adds a route.

Started as ``python -m tests.laboratory.noop run --config FILE``. What it does stands in ``noop.json`` beside
FILE, read for every message: ``route`` (the value of X-Nta-Route to add), ``recipient`` (to add), ``reply``
(``accept``, ``tempfail`` or ``reject``). What it saw goes to ``noop.jsonl``, a line a message.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import Milter

FOLDER = Path(sys.argv[-1]).parent
MACROS = (
    "{nta_side}",
    "{client_addr}",
    "{tls_version}",
    "{cipher}",
    "{cipher_bits}",
    "{auth_type}",
    "{auth_authen}",
    "i",
)


class Noop(Milter.Base):  # type: ignore[misc]
    """Remembers the macros of every stage."""

    def _note(self, stage: str) -> None:
        self.seen.setdefault("macros", {})[stage] = {m: self.getsymval(m) for m in MACROS}

    def connect(self, name: str, family: int, address: Any) -> int:
        self.seen: dict[str, Any] = {"connect": [name, address]}
        self._note("connect")
        return int(Milter.CONTINUE)

    def hello(self, name: str) -> int:
        self._note("helo")
        return int(Milter.CONTINUE)

    def envfrom(self, sender: str, *arguments: str) -> int:
        self.seen.update(sender=sender, arguments=arguments, recipients=[], headers=[], size=0)
        self._note("mail")
        return int(Milter.CONTINUE)

    def envrcpt(self, recipient: str, *arguments: str) -> int:
        self.seen["recipients"].append([recipient, *arguments])
        return int(Milter.CONTINUE)

    def header(self, name: str, value: str) -> int:
        self.seen["headers"].append([name, value])
        return int(Milter.CONTINUE)

    def body(self, piece: bytes) -> int:
        self.seen["size"] += len(piece)
        return int(Milter.CONTINUE)

    def eom(self) -> int:
        self._note("eom")
        with (FOLDER / "noop.jsonl").open("a") as log:
            log.write(json.dumps(self.seen) + "\n")
        orders = FOLDER / "noop.json"
        order = json.loads(orders.read_text()) if orders.exists() else {}
        if order.get("route"):
            self.addheader("X-Nta-Route", order["route"])
        if order.get("recipient"):
            self.addrcpt(f"<{order['recipient']}>", "NOTIFY=NEVER")
        replies = {"accept": Milter.CONTINUE, "tempfail": Milter.TEMPFAIL, "reject": Milter.REJECT}
        return int(replies[order.get("reply", "accept")])


if __name__ == "__main__":
    Milter.factory = Noop
    Milter.set_flags(Milter.ADDHDRS | Milter.ADDRCPT | Milter.ADDRCPT_PAR)
    Milter.runmilter("noop", "unix:/var/spool/postfix/nta-milter/milter.sock", 300)
