"""One Postfix instance as its own commands show it: postconf(1), postmap(1), and the files behind them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nta_milter.errors import RoutingNotProven

COMMAND_TIMEOUT = 10
"""Patience for one postconf or postmap, in seconds."""

_TABLE = re.compile(r"[\w:]+:(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|[^\s,{}]+)")
CLASSES = "smtpd_restriction_classes"
BLIND_COPIES = ("always_bcc", "sender_bcc_maps", "recipient_bcc_maps")
RESTRICTIONS = tuple(
    f"smtpd_{stage}_restrictions"
    for stage in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data")
)
"""Where smtpd(8) may be told to lead a message elsewhere."""
HOP = ("fallback_relay", "tls_per_site", "tls_policy_maps", "tls_security_level")
PARAMETERS = (
    "alias_maps",
    "body_checks",
    "canonical_maps",
    "content_filter",
    "default_filter_nexthop",
    "header_checks",
    "lmtp_header_checks",
    "milter_header_checks",
    "mime_header_checks",
    "nested_header_checks",
    "queue_directory",
    "recipient_canonical_maps",
    "sender_canonical_maps",
    "smtpd_proxy_filter",
    "transport_maps",
    "virtual_alias_maps",
    *RESTRICTIONS,
    CLASSES,
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
    "smtpd_sasl_auth_enable",
    "smtpd_tls_req_ccert",
    *(f"{agent}_{what}" for agent in ("smtp", "lmtp") for what in HOP),
)
"""The main.cf parameters that proof and doctor read."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What main.cf and master.cf say, as postconf(1) reads them, references expanded."""

    parameters: Mapping[str, str]
    commands: Mapping[str, str]
    overrides: Mapping[tuple[str, str], str]
    classes: Mapping[str, str] = field(default_factory=dict)
    """The restriction classes (smtpd_restriction_classes) and what each stands for."""

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
        named = parameters[CLASSES].replace(",", " ").split()
        classes = dict(_assignment(line) for line in self._lines("postconf", "-x", *named)) if named else {}
        commands = {}
        for line in self._lines("postconf", "-M"):
            name, kind, *_, command = line.split(None, 7)
            commands[f"{name}/{kind}"] = command.split()[0]
        overrides = {}
        for line in self._lines("postconf", "-Px"):
            path, value = _assignment(line)
            service, _, parameter = path.rpartition("/")
            overrides[service, parameter] = value
        return Configuration(parameters, commands, overrides, classes)

    def look_up(self, keys: Sequence[str], tables: str) -> dict[str, str]:
        """What the tables say of each key, the first table that knows it; a key that none knows is left out.

        One postmap per table for all keys; a table that cannot be read knows nothing.
        """
        found: dict[str, str] = {}
        for table in tables_of(tables):
            _, output = self._run("postmap", "-q", "-", table, lines=keys)
            for line in output.splitlines():
                key, tab, value = line.partition("\t")
                if tab and key in keys:
                    found.setdefault(key, value)
        return found


def _assignment(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip(), value.strip()


def postfix_name(socket: str) -> str:
    """The end of our socket's name in Postfix's form: relative to the queue folder, or HOST:PORT."""
    kind, _, place = socket.partition(":")
    if kind.startswith("inet"):
        port, _, host = place.partition("@")
        return f"{host}:{port}"
    return "/".join(place.split("/")[-2:])


def tables_of(value: str) -> list[str]:
    """The tables of a list, those with spaces in braces whole."""
    return [found[0] for found in _TABLE.finditer(value)]


def files_of(tables: str) -> tuple[Path, ...]:
    """The files behind a list of table names such as ``regexp:/etc/postfix/nta_route``."""
    return tuple(Path(match) for match in re.findall(r"\w+:(/[^\s,{}]+)", tables))


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
