"""The proof that Postfix keeps a routed message on its route: it is asked of Postfix's own tools.

An empty table, a pattern that does not match or a missing transport sends a message by the ordinary MX
without a word. So nothing is routed before ``postmap -q`` and ``postconf`` have shown, through the very
parameters that Postfix reads, that the header becomes the FILTER action we mean.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nta_milter.config.key import IPNetwork
from nta_milter.errors import RoutingNotProven
from nta_milter.postfix import bypass, hop
from nta_milter.postfix.configuration import BLIND_COPIES, Configuration, Postfix, files_of, state_of
from nta_milter.postfix.route import GUARD_HEADER, INSIDE, MX, ROUTE_HEADER
from nta_milter.postfix.running import UNSEEN, outdated

PROBE_HOST = "probe.invalid"


MANDATORY_DANE = {
    "smtp_tls_security_level": "dane-only",
    "smtp_tls_policy_maps": "",
    "smtp_tls_per_site": "",
    "smtp_fallback_relay": "",
    "smtp_dns_support_level": "dnssec",
    "smtp_host_lookup": "dns",
}
"""What the transport ``nta`` must say for itself; inherited, each of these could mean clear text."""


@dataclass(frozen=True, slots=True)
class RoutingProof:
    """What was proven, and the state of the files it was proven for.

    ``inside``: sensitive mail can be pinned to a protected next hop inside; ``inside_fault`` says why not.
    ``message_size_limit`` in bytes, 0 = none: cleanup(8) refuses for good what a milter makes larger. ``at``
    is monotonic, in seconds.
    """

    faults: tuple[str, ...]
    inside: bool
    message_size_limit: int
    state: tuple[tuple[str, int, int, int], ...]
    at: float
    inside_fault: str = ""
    unasked: str = ""
    """Why a listener for users takes mail that the milter never sees; it then takes none."""

    read_once: tuple[tuple[str, int, int, int], ...] = ()
    """The part of ``state`` that a running cleanup(8) does not read again."""

    queue: Path = Path("/nowhere")

    @property
    def proven(self) -> bool:
        """True when a routed message keeps its route."""
        return not self.faults

    def outdated(self, *, runs: bool = False) -> str:
        """Why the running Postfix may have other tables than those proven (running.py); empty when not."""
        return outdated((name for name, *_ in self.read_once), self.queue, runs=runs)


ROUTES = {
    f"{ROUTE_HEADER}: [{PROBE_HOST}]": f"FILTER nta:[{PROBE_HOST}]",
    f"{ROUTE_HEADER}: [a.{PROBE_HOST}], [b.{PROBE_HOST}]": f"FILTER nta:[a.{PROBE_HOST}], [b.{PROBE_HOST}]",
    f"{ROUTE_HEADER}: {MX}": "FILTER nta:",
    f"{ROUTE_HEADER}: [{PROBE_HOST}.]": "REJECT*",
}
"""What every table of routes must say: it knows hosts and ``mx``, and refuses what it does not know."""

PIN = f"{ROUTE_HEADER}: {INSIDE}"
GUARD = {f"{GUARD_HEADER}: on": "FILTER retry:*"}
HANDED = {"Received: x": f"PREPEND {GUARD_HEADER}: on"}
STRIP = {f"{header}: x": "IGNORE" for header in (ROUTE_HEADER, GUARD_HEADER)}


OWN_ADDRESSES = (
    f"commit+{'0' * 32}@nta.invalid",
    f"nta-bounce+{'0' * 32}@{PROBE_HOST}",
    f"beveiligd+{'0' * 32}@{PROBE_HOST}",
)
"""Addresses such as the worker takes."""

MAPS = (
    "transport_maps",
    "virtual_alias_maps",
    "canonical_maps",
    "recipient_canonical_maps",
    "sender_canonical_maps",
)
"""The maps that those addresses must pass."""


def _disagreements(postfix: Postfix, tables: str, wanted: Mapping[str, str], where: str) -> Iterator[str]:
    """A fault for each key of which the tables do not say what is needed (``*`` = begins so)."""
    if not tables:
        yield f"{where} is empty"
        return
    found = postfix.look_up(tuple(wanted), tables)
    for key, value in wanted.items():
        said = found.get(key, "")
        if said != value and not (value.endswith("*") and said.startswith(value[:-1])):
            yield f"{where}: {key!r} gives {said or 'nothing'!r} where {value!r} is needed"


def prove(
    postfix: Postfix,
    now: float,
    networks: Sequence[IPNetwork] = (),
    *,
    ours: str = "",
    copies: bool = False,
) -> RoutingProof:
    """Ask Postfix everything a route depends on; each fault is a sentence that names its parameter.

    ``networks`` count as inside without TLS (``internal.networks``). ``ours`` is our milter's socket as
    Postfix names it (``postfix_name``). ``copies``: a worker hands in copies and takes commits.
    """
    files = [postfix.configuration / "main.cf", postfix.configuration / "master.cf"]
    before = state_of(files)
    try:
        read = postfix.read()
    except RoutingNotProven as error:
        return RoutingProof((str(error),), False, 0, before, now, str(error))
    faults: list[str] = []

    # (1) The header of a message in the queue becomes a FILTER action.
    routes = read.parameters["milter_header_checks"]
    faults.extend(_disagreements(postfix, routes, ROUTES, "milter_header_checks"))
    files.extend(files_of(routes))

    # (2) The transport it leads to cannot go without DANE.
    if read.commands.get("nta/unix") != "smtp":
        faults.append("master.cf has no transport nta/unix with the command smtp")
    faults.extend(_differences(read, "nta/unix", MANDATORY_DANE))

    # (3) A requeued message (postsuper -r) keeps its route: pickup's cleanup reads the header again.
    cleanup = read.overrides.get(("pickup/unix", "cleanup_service_name"), "")
    requeue = read.overrides.get((f"{cleanup}/unix", "header_checks"), "")
    where = f"{cleanup or 'pickup cleanup'} header_checks"
    faults.extend(_disagreements(postfix, requeue, ROUTES | GUARD, where))
    files.extend(files_of(requeue))

    # (4) What stays inside takes a protected hop, and the same one when it is requeued or handed in.
    hand = read.overrides.get((bypass.HAND, "cleanup_service_name"), "")
    handed = read.overrides.get((f"{hand}/unix", "header_checks"), "")
    files.extend(files_of(handed))
    if copies or bypass.HAND in read.commands:
        where = f"{hand or bypass.HAND + ' cleanup'} header_checks"
        faults.extend(_disagreements(postfix, handed, ROUTES | HANDED, where))
    inside_fault = _inside_fault(postfix, read, (routes, requeue, *([handed] if hand else [])), networks)

    # (5) The header never leaves this site.
    for service in ("smtp/unix", "nta/unix", "nta-inside/unix"):
        agent = read.commands.get(service, "smtp")
        if agent in ("smtp", "lmtp"):
            strip = read.effective(service, f"{agent}_header_checks")
            faults.extend(_disagreements(postfix, strip, STRIP, f"{service} {agent}_header_checks"))
            files.extend(files_of(strip))

    # (6) Without us there is no mail rather than mail in clear.
    action = read.parameters["milter_default_action"]
    if action != "tempfail":
        faults.append(f"milter_default_action is {action!r} where 'tempfail' is needed")

    # (7) Nothing leads around the route, and what the worker is told and gets reaches it.
    faults.extend(bypass.faults(read, ours))
    files.extend(bypass.files(read))
    if copies:
        faults.extend(_reaches_worker(postfix, read))
        files.extend(path for name in MAPS for path in files_of(read.parameters[name]))

    # (8) Nobody is added behind our back: a blind copy would travel or be opened with the message.
    faults.extend(_blind_copies(read))

    known = tuple(dict.fromkeys(files))
    if state_of(known[:2]) != before:
        faults.append("main.cf or master.cf changed while it was read")
    state = (*before, *state_of(known[2:]))
    routing_tables = {str(file) for file in (*known[:2], *files_of(routes), *files_of(requeue))}
    size_limit = read.parameters["message_size_limit"]
    inside_fault = faults[0] if faults else inside_fault
    return RoutingProof(
        tuple(faults),
        not inside_fault,
        int(size_limit) if size_limit.isdecimal() else 0,
        state,
        now,
        inside_fault,
        bypass.unasked(read, ours),
        tuple(each for each in state if each[0] in routing_tables),
        Path(read.parameters["queue_directory"]),
    )


def _differences(read: Configuration, service: str, wanted: Mapping[str, str]) -> Iterator[str]:
    """A fault for each parameter that a service must set for itself and does not."""
    for parameter, value in wanted.items():
        found = read.overrides.get((service, parameter))
        if found != value:
            shown = "inherited" if found is None else repr(found)
            yield f"{service}: {parameter} is {shown} where {value!r} is needed"


def _reaches_worker(postfix: Postfix, read: Configuration) -> Iterator[str]:
    """A commit, a bounce and an answer are taken by the worker, whatever catch-all the site has."""
    if read.commands.get("nta-commit/unix") != "lmtp":
        yield "master.cf has no transport nta-commit/unix with the command lmtp"
    wanted = dict.fromkeys(OWN_ADDRESSES, "nta-commit:*")
    yield from _disagreements(postfix, read.parameters["transport_maps"], wanted, "transport_maps")
    for parameter in MAPS[1:]:
        if read.parameters[parameter]:
            kept = {address: address for address in OWN_ADDRESSES}
            yield from _disagreements(postfix, read.parameters[parameter], kept, parameter)


def _inside_fault(
    postfix: Postfix, read: Configuration, tables: Sequence[str], networks: Sequence[IPNetwork]
) -> str:
    """Why sensitive mail cannot be pinned inside; empty when it can."""
    pins = {postfix.look_up((PIN,), table).get(PIN, "") for table in tables}
    if len(pins) > 1:
        return f"the tables lead {PIN!r} to different places: {', '.join(sorted(pins))}"
    service = f"{hop.TRANSPORT}/unix"
    return hop.fault(
        pins.pop(), read.commands.get(service, ""), lambda name: read.effective(service, name), networks
    )


def _blind_copies(read: Configuration) -> Iterator[str]:
    """A fault for each service that carries a milter and adds blind copies after it."""
    for service, command in read.commands.items():
        if command == "smtpd" and read.effective(service, "smtpd_milters"):
            if "no_address_mappings" in read.effective(service, "receive_override_options"):
                continue
        elif command != "pickup":
            continue
        cleanup = read.effective(service, "cleanup_service_name") + "/unix"
        for parameter in BLIND_COPIES:
            if read.effective(cleanup, parameter):
                yield f"{service}: {parameter} adds recipients that no milter sees ({cleanup})"


class RoutingProver:
    """Keeps a proof fresh: proven again after ``interval`` seconds or when a file has changed.

    Safe for many threads; one proves while the others wait, since its answer is the one they need.
    """

    def __init__(
        self,
        configuration: Path,
        interval: float,
        networks: Sequence[IPNetwork] = (),
        *,
        ours: str = "",
        copies: bool = False,
    ) -> None:
        """The arguments after ``interval`` are those of ``prove``."""
        self._postfix = Postfix(configuration)
        self._interval = interval
        self._prove = partial(prove, networks=networks, ours=ours, copies=copies)
        self._lock = threading.Lock()
        self._proof: RoutingProof | None = None
        self._joined: RoutingProof | None = None
        self._live = ""
        self._older = False
        self._wake: Callable[[], None] | None = None
        self._looked_at: tuple[tuple[str, int, int, int], ...] | None = None

    def watch(self, wake: Callable[[], None], fault: str) -> None:
        """Somebody looks at the running Postfix from now on; ``fault`` holds till then, ``wake`` asks."""
        with self._lock:
            self._wake, self._live, self._older, self._joined = wake, fault, False, None

    def follow(self, former: RoutingProver) -> None:
        """Go on with what was seen of the running Postfix, as far as its files are the same."""
        with former._lock:
            self._wake, self._live, self._looked_at = former._wake, former._live, former._looked_at
            self._older = former._older

    @property
    def live(self) -> str:
        """Why the running Postfix may not do as its files say; a fault of any proof."""
        return self._live

    def looked(self, proof: RoutingProof, fault: str, *, runs: bool = False) -> None:
        """Take what a look at the running Postfix gave, unless the files have changed since ``proof``.

        ``runs``: the look has had a message pass Postfix (``outdated``).
        """
        with self._lock:
            if self._proof is not None and self._proof.read_once == proof.read_once:
                self._live, self._looked_at, self._older = fault, proof.read_once, False
                if not fault:
                    self._compare(proof, runs=runs)
                self._joined = None

    def current(self) -> RoutingProof:
        """The proof that holds now. Costs a stat() per file, and a dozen commands when it must be made."""
        with self._lock:
            proof = self._proof
            if proof is None or time.monotonic() - proof.at > self._interval or self._changed(proof):
                proof = self._proof = self._prove(self._postfix, time.monotonic())
                self._joined = None
                if self._wake is not None and self._looked_at not in (None, proof.read_once):
                    self._looked_at = None
                    if not self._live:
                        self._compare(proof)
                    self._wake()
            if self._older:  # whoever has reloaded need not wait for the next look
                self._compare(proof)
            if not self._live or proof.faults:
                return proof
            if self._joined is None:
                self._joined = replace(proof, faults=(self._live,), inside=False, inside_fault=self._live)
            return self._joined

    def _compare(self, proof: RoutingProof, *, runs: bool = False) -> None:
        self._live, self._joined = proof.outdated(runs=runs), None
        self._older = self._live not in ("", UNSEEN)

    @property
    def known(self) -> RoutingProof | None:
        """The last proof, however old, without waiting for another; None before the first."""
        return self._proof

    @staticmethod
    def _changed(proof: RoutingProof) -> bool:
        return state_of(name for name, *_ in proof.state) != proof.state
