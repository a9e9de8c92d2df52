"""The probe of ``nta-milter doctor``: what of a forged result reaches us on a listener with a verifier?

A mail with a secret name that the doctor has announced goes through Postfix and the verifier. We note which
results it comes with and refuse it, so that nobody ever gets it.
"""

from __future__ import annotations

import threading
import time

from nta_milter.inbound.result import RESULT_HEADER
from nta_milter.message.model import Message
from nta_milter.policy.client import Client
from nta_milter.policy.outcome import Outcome, Reply

PROBE_HEADER = "X-Nta-Probe"
EXPECT, TOLD = "expect-probe", "told-by-probe"
"""Commands of the control socket."""

PATIENCE = 60.0
"""Seconds for which a probe is expected."""
MOST = 100
"""Probes that are remembered."""

SEEN = Outcome(reply=Reply.permanent("the probe of nta-milter doctor was seen"))


class Probes:
    """The probes that one process expects, and what it has seen of them; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected: dict[str, tuple[float, dict[str, object]]] = {}

    def control(self, command: str, name: str) -> dict[str, object]:
        """Expect a probe of this name, or tell what was seen of it; ValueError for another command."""
        with self._lock:
            now = time.monotonic()
            kept = {key: value for key, value in self._expected.items() if value[0] > now}
            self._expected = dict(list(kept.items())[-MOST:])
            if command == EXPECT:
                self._expected[name] = (now + PATIENCE, {"seen": False})
                return {"expected": True}
            if command != TOLD:
                raise ValueError(command)
            return self._expected.get(name, (0.0, {"seen": False}))[1]

    def take(self, message: Message, client: Client) -> Outcome | None:
        """The answer to a probe that is expected; None for any other mail."""
        value = message.headers.first(PROBE_HEADER)
        if value is None:
            return None
        name = value.decode("ascii", "replace")
        with self._lock:
            expires, _ = self._expected.get(name, (0.0, {}))
            if time.monotonic() > expires:
                return None
            results = [each.value.decode("ascii", "replace") for each in message.headers.all(RESULT_HEADER)]
            told: dict[str, object] = {"seen": True, "listener": client.listener, "results": results}
            self._expected[name] = (expires, told)
        return SEEN
