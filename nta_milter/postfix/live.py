"""A probe through the running Postfix: does it obey the tables that were proven, and not only own them?

A mail with a route that every table refuses goes in at a listener, and must be refused. It holds nothing, is
for an address that cannot exist (RFC 2606), and is never kept: taken instead, it would be the fault itself.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import smtplib

from nta_milter.postfix.route import ROUTE_HEADER

SIDE = "probe"
"""The marker (nta_side) of the listener that takes the milter's probes and nothing else."""

ROUTE = "[probe.invalid.]"
"""A route that no table knows: a host name that ends in a dot would be fatal in smtp(8)."""

REFUSAL = "internal routing error"
"""What the last line of the tables says."""

PATIENCE = 30.0
"""Seconds for each answer of Postfix."""

_TICKET = re.compile(r"probe\+([0-9a-f]{32})([0-9a-f]{32})@nta\.invalid")


class Tickets:
    """Addresses of probes that only our own processes can make; made before they part, so that all agree."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def issue(self) -> str:
        """A new address."""
        nonce = secrets.token_hex(16)
        return f"probe+{nonce}{self._mark(nonce)}@nta.invalid"

    def knows(self, address: str) -> bool:
        """Whether it is one of ours."""
        found = _TICKET.fullmatch(address)
        return found is not None and hmac.compare_digest(found[2], self._mark(found[1]))

    def _mark(self, nonce: str) -> str:
        return hmac.new(self._secret, nonce.encode("ascii"), hashlib.sha256).hexdigest()[:32]


def content(*, routed: bool) -> bytes:
    """The probe's mail; ``routed`` where no milter of ours adds the route."""
    route = f"{ROUTE_HEADER}: {ROUTE}\r\n" if routed else ""
    return f"{route}From: <>\r\nSubject: nta-milter\r\nAuto-Submitted: auto-generated\r\n\r\n".encode("ascii")


def fault(code: int, said: str, where: str) -> str:
    """Why Postfix's answer at the end of the probe's data proves nothing; empty when it proves the tables."""
    if 500 <= code <= 599 and REFUSAL in said:
        return ""
    if 200 <= code <= 299:
        return f"{where}: the running Postfix takes a mail whose route the tables refuse; reload it"
    return f"{where}: Postfix answers a probe with {code} {said!r} where a refusal by the tables is needed"


def probe(listener: str, tickets: Tickets) -> str:
    """Send the milter's probe to ``HOST:PORT``; why it proves nothing, or empty."""
    host, _, port = listener.rpartition(":")
    where = f"routing.probe {listener}"
    try:
        with smtplib.SMTP(host.strip("[]"), int(port), "localhost", PATIENCE) as client:
            client.ehlo()
            for command in ("MAIL FROM:<>", f"RCPT TO:<{tickets.issue()}>"):
                code, text = client.docmd(command)
                if code != 250:
                    return fault(code, _words(text), where)
            return fault(*_data(client), where)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        return f"{where}: the probe cannot be sent: {error}"


def _data(client: smtplib.SMTP) -> tuple[int, str]:
    code, text = client.data(content(routed=False))
    return code, _words(text)


def _words(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())
