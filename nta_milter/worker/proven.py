"""Whether a copy may be handed in: Postfix keeps its route, and the running listener refuses a bad one."""

from __future__ import annotations

import time
from collections.abc import Callable

from nta_milter.config.model import Settings
from nta_milter.errors import PermanentError, TemporaryError
from nta_milter.postfix import live
from nta_milter.postfix.configuration import postfix_name
from nta_milter.postfix.proof import RoutingProver
from nta_milter.postfix.route import INSIDE
from nta_milter.worker.submit import submit

AGAIN = 5.0
"""Seconds for which a probe that proved nothing is not repeated."""

RECIPIENT = "probe@nta.invalid"
"""Nobody: a probe that Postfix takes, against all rules, has nowhere to go (RFC 2606)."""


class HandIn:
    """The proof of the listener for copies, for one thread."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` gives seconds that never go back."""
        self._settings = settings
        self._clock = clock
        self._prover = RoutingProver(
            settings.routing.postfix,
            settings.routing.interval,
            settings.internal.networks,
            ours=postfix_name(settings.milter.socket),
            copies=True,
        )
        self._fault = ""
        self._until = float("-inf")

    def fault(self, next_hop: str) -> str:
        """Why no copy for this next hop may be handed in now; empty when it may."""
        proof = self._prover.current()
        tables = proof.inside_fault if next_hop == INSIDE else "".join(proof.faults[:1])
        if tables or not self._settings.routing.probe:
            return tables
        if self._clock() >= self._until:
            self._fault = self._probe()
            holds = AGAIN if self._fault else float(self._settings.routing.probe_interval)
            self._until = self._clock() + holds
        return self._fault

    def _probe(self) -> str:
        """Hand in a mail whose route every table refuses."""
        listener = self._settings.worker.hand
        try:
            submit(listener, "", (), RECIPIENT, (), [live.content(routed=True)])
        except PermanentError as error:
            return (
                "" if live.REFUSAL in error.message else f"{listener}: a probe is refused otherwise: {error}"
            )
        except TemporaryError as error:
            return str(error)
        return f"{listener} takes a mail whose route the tables refuse; reload Postfix"
