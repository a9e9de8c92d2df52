"""The proof that Postfix keeps a routed message on its route: it is asked of Postfix's own tools.

An empty table, a pattern that does not match or a missing transport sends a message by the ordinary MX
without a word. So nothing is routed before ``postmap -q`` and ``postconf`` have shown, through the very
parameters that Postfix reads, that the header becomes the FILTER action we mean.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nta_milter.config.key import IPNetwork
from nta_milter.errors import RoutingNotProven
from nta_milter.postfix import hop
from nta_milter.postfix.route import GUARD_HEADER, INSIDE, MX, ROUTE_HEADER

COMMAND_TIMEOUT = 10
"""Patience for one postconf or postmap, in seconds."""

PROBE_HOST = "probe.invalid"

BLIND_COPIES = ("always_bcc", "sender_bcc_maps", "recipient_bcc_maps")
HOP = ("fallback_relay", "tls_policy_maps", "tls_security_level")
PARAMETERS = (
    "milter_header_checks",
    "milter_default_action",
    "smtp_header_checks",
    "smtpd_milters",
    "receive_override_options",
    "cleanup_service_name",
    "message_size_limit",
    *BLIND_COPIES,
    "bounce_size_limit",
    "header_size_limit",
    "milter_connect_macros",
    "milter_macro_defaults",
    "milter_protocol",
    "non_smtpd_milters",
    "notify_classes",
    "smtp_dns_support_level",
    "smtp_host_lookup",
    "smtpd_milter_maps",
    "smtpd_relay_restrictions",
    "smtpd_sasl_auth_enable",
    *(f"{agent}_{what}" for agent in ("smtp", "lmtp") for what in HOP),
)
"""The main.cf parameters that proof and doctor read."""

MANDATORY_DANE = {
    "smtp_tls_security_level": "dane-only",
    "smtp_tls_policy_maps": "",
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

    @property
    def proven(self) -> bool:
        """True when a routed message keeps its route."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Configuration:
    """What main.cf and master.cf say, as postconf(1) reads them, references expanded."""

    parameters: Mapping[str, str]
    commands: Mapping[str, str]
    overrides: Mapping[tuple[str, str], str]

    def effective(self, service: str, parameter: str) -> str:
        """A service's own value, else that of main.cf."""
        return self.overrides.get((service, parameter), self.parameters.get(parameter, ""))


class Postfix:
    """One Postfix instance, asked by its own commands; nothing is changed."""

    def __init__(self, configuration: Path) -> None:
        self.configuration = configuration

    def _run(self, *command: str, lines: Sequence[str] = ()) -> tuple[int, str]:
        name, *arguments = command
        try:
            done = subprocess.run(  # noqa: S603 - fixed commands, arguments are our own
                [name, "-c", str(self.configuration), *arguments],
                input="".join(f"{line}\n" for line in lines).encode(),
                capture_output=True,
                timeout=COMMAND_TIMEOUT,
                check=False,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return 127, str(error)
        output = done.stdout if done.returncode == 0 else done.stderr or done.stdout
        return done.returncode, output.decode("utf-8", "replace").strip()

    def _lines(self, *command: str) -> list[str]:
        status, output = self._run(*command)
        if status != 0:
            shown = output.splitlines()[-1] if output else f"exit status {status}"
            raise RoutingNotProven(shown, where=" ".join(command))
        return output.splitlines()

    def read(self) -> Configuration:
        """Read the configuration; raises RoutingNotProven with postconf's own words when it cannot."""
        parameters = dict(_assignment(line) for line in self._lines("postconf", "-x", *PARAMETERS))
        commands = {}
        for line in self._lines("postconf", "-M"):
            name, kind, *_, command = line.split(None, 7)
            commands[f"{name}/{kind}"] = command.split()[0]
        overrides = {}
        for line in self._lines("postconf", "-Px"):
            path, value = _assignment(line)
            service, _, parameter = path.rpartition("/")
            overrides[service, parameter] = value
        return Configuration(parameters, commands, overrides)

    def look_up(self, keys: Sequence[str], tables: str) -> dict[str, str]:
        """What the tables say of each key, the first table that knows it; a key that none knows is left out.

        One postmap per table for all keys; a table that cannot be read knows nothing.
        """
        found: dict[str, str] = {}
        for table in tables.replace(",", " ").split():
            _, output = self._run("postmap", "-q", "-", table, lines=keys)
            for line in output.splitlines():
                key, tab, value = line.partition("\t")
                if tab and key in keys:
                    found.setdefault(key, value)
        return found


def _assignment(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip(), value.strip()


def files_of(tables: str) -> tuple[Path, ...]:
    """The files behind a list of table names such as ``regexp:/etc/postfix/nta_route``."""
    return tuple(Path(match) for match in re.findall(r"\w+:(/[^\s,]+)", tables))


def state_of(files: Iterable[Path | str]) -> tuple[tuple[str, int, int, int], ...]:
    """Inode, size and time of change of each file: a proof holds only while this stays the same."""
    found = []
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116 - done for each message, where a Path costs more than this
            found.append((str(file), status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((str(file), 0, 0, 0))
    return tuple(found)


ROUTES = {
    f"{ROUTE_HEADER}: [{PROBE_HOST}]": f"FILTER nta:[{PROBE_HOST}]",
    f"{ROUTE_HEADER}: [a.{PROBE_HOST}], [b.{PROBE_HOST}]": f"FILTER nta:[a.{PROBE_HOST}], [b.{PROBE_HOST}]",
    f"{ROUTE_HEADER}: {MX}": "FILTER nta:",
    f"{ROUTE_HEADER}: [{PROBE_HOST}.]": "REJECT*",
}
"""What every table of routes must say: it knows hosts and ``mx``, and refuses what it does not know."""

PIN = f"{ROUTE_HEADER}: {INSIDE}"
GUARD = {f"{GUARD_HEADER}: on": "FILTER retry:*"}
STRIP = {f"{header}: x": "IGNORE" for header in (ROUTE_HEADER, GUARD_HEADER)}


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


def prove(postfix: Postfix, now: float, networks: Sequence[IPNetwork] = ()) -> RoutingProof:
    """Ask Postfix everything a route depends on; each fault is a sentence that names its parameter.

    ``networks`` count as inside without TLS (``internal.networks``).
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
    if "nta/unix" not in read.commands:
        faults.append("master.cf has no transport nta/unix")
    for parameter, wanted in MANDATORY_DANE.items():
        found = read.overrides.get(("nta/unix", parameter))
        if found != wanted:
            shown = "inherited" if found is None else repr(found)
            faults.append(f"nta/unix: {parameter} is {shown} where {wanted!r} is needed")

    # (3) A requeued message (postsuper -r) keeps its route: pickup's cleanup reads the header again.
    cleanup = read.overrides.get(("pickup/unix", "cleanup_service_name"), "")
    requeue = read.overrides.get((f"{cleanup}/unix", "header_checks"), "")
    where = f"{cleanup or 'pickup cleanup'} header_checks"
    faults.extend(_disagreements(postfix, requeue, ROUTES | GUARD, where))
    files.extend(files_of(requeue))

    # (4) What stays inside takes a protected hop, and the same one when it is requeued or handed in.
    hand = read.overrides.get(("nta-hand/unix", "cleanup_service_name"), "")
    handed = read.overrides.get((f"{hand}/unix", "header_checks"), "")
    files.extend(files_of(handed))
    inside_fault = _inside_fault(postfix, read, (routes, requeue, *([handed] if hand else [])), networks)

    # (5) The header never leaves this site.
    for service in ("smtp/unix", "nta/unix"):
        strip = read.effective(service, "smtp_header_checks")
        faults.extend(_disagreements(postfix, strip, STRIP, f"{service} smtp_header_checks"))
        files.extend(files_of(strip))

    # (6) Without us there is no mail rather than mail in clear.
    if read.parameters["milter_default_action"] != "tempfail":
        faults.append("milter_default_action is not tempfail")

    # (7) Nobody is added behind our back: a blind copy would travel or be opened with the message.
    faults.extend(_blind_copies(read))

    known = tuple(dict.fromkeys(files))
    if state_of(known[:2]) != before:
        faults.append("main.cf or master.cf changed while it was read")
    size_limit = read.parameters["message_size_limit"]
    inside_fault = faults[0] if faults else inside_fault
    return RoutingProof(
        tuple(faults),
        not inside_fault,
        int(size_limit) if size_limit.isdecimal() else 0,
        (*before, *state_of(known[2:])),
        now,
        inside_fault,
    )


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

    def __init__(self, configuration: Path, interval: float, networks: Sequence[IPNetwork] = ()) -> None:
        self._postfix = Postfix(configuration)
        self._interval = interval
        self._networks = networks
        self._lock = threading.Lock()
        self._proof: RoutingProof | None = None

    def current(self) -> RoutingProof:
        """The proof that holds now. Costs a stat() per file, and a dozen commands when it must be made."""
        with self._lock:
            proof = self._proof
            if proof is None or time.monotonic() - proof.at > self._interval or self._changed(proof):
                proof = self._proof = prove(self._postfix, time.monotonic(), self._networks)
            return proof

    @staticmethod
    def _changed(proof: RoutingProof) -> bool:
        return state_of(name for name, *_ in proof.state) != proof.state
