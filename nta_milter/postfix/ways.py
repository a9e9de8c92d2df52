"""Ways of mail that pass by nta-milter, or through it without its knowing all: what doctor says of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nta_milter.config.model import Settings
from nta_milter.postfix import bypass, live
from nta_milter.postfix.configuration import Configuration, files_of
from nta_milter.postfix.finding import SHIPPED, Finding, Level
from nta_milter.postfix.route import OUTGOING

FOR_USERS = ("submission", "submissions", "smtps", "587", "465")
"""Names of services that mail programs of users send to."""

MOST_CLIENTS = 256
"""Most addresses of a public network that one organisation is likely to have for itself."""

FILE_LIMIT = 4_000_000
"""Bytes of an alias table that are looked at."""

_TARGET = re.compile(r"[^\s,<>\"'|]+@([A-Za-z0-9][A-Za-z0-9.-]*)")


def listeners_without_us(read: Configuration, ours: str) -> Iterator[Finding]:
    """smtpd services that do not ask our milter: for users that is a fault."""
    with_us = set(bypass.carriers(read, ours))
    for service, command in read.commands.items():
        if command != "smtpd" or service in with_us or not service.endswith("/inet"):
            continue
        name = service.removesuffix("/inet").rpartition(":")[2]
        users = name in FOR_USERS or read.effective(service, "smtpd_sasl_auth_enable") == "yes"
        if "no_milters" in read.effective(service, "receive_override_options"):
            yield Finding(
                Level.FAULT if users else Level.WARNING,
                "no-milters",
                f"{service} has receive_override_options=no_milters",
                "be sure that nobody but your own filters can reach it",
            )
            continue
        if chosen := read.effective(service, "content_filter"):
            if chosen not in bypass.back_to_us(read, ours):
                yield Finding(
                    Level.WARNING,
                    "filter-before-us",
                    f"{service} does not carry nta-milter, and hands its mail to {chosen}",
                    "be sure that the filter hands it in at a listener that carries nta-milter",
                )
            continue
        yield Finding(
            Level.FAULT if users else Level.WARNING,
            "submission-without-milter" if users else "listener-without-milter",
            f"{service} does not carry nta-milter: "
            + ("what users send there leaves unjudged" if users else "what it takes is not looked at"),
            "add the milter and its side, or be sure that it takes only mail that was looked at",
            f"postconf -P '{service}/smtpd_milters=$nta_milter,$nta_signer' "
            f"'{service}/milter_macro_defaults=nta_side=outbound'"
            if users
            else "",
        )


def shared_networks(settings: Settings) -> Iterator[Finding]:
    """Whole public networks whose mail counts as ours: a provider's are those of all its customers."""
    for listener in settings.listeners:
        for network in listener.clients if listener.side == "outbound" else ():
            if network.is_global and network.num_addresses > MOST_CLIENTS:
                yield Finding(
                    Level.WARNING,
                    "shared-network",
                    f"listeners.clients holds {network}: what comes from there is encrypted and signed",
                    "list single addresses; for a provider mark a listener connector (topologies.md)",
                )


def arriving_relays(read: Configuration, ours: str) -> Iterator[Finding]:
    """A listener marked inbound or ntamx takes mail for ourselves: what leaves through it is not secured."""
    for service in bypass.carriers(read, ours):
        if bypass.side(read, service) not in ("inbound", "ntamx"):
            continue
        words = read.effective(service, "smtpd_relay_restrictions").replace(",", " ").split()
        permits = [word for word in words if word.startswith("permit")]
        if permits or "reject_unauth_destination" not in words:
            why = ", ".join(permits) or "no reject_unauth_destination"
            yield Finding(
                Level.FAULT,
                "inbound-relays",
                f"{service} is marked {bypass.side(read, service)} and relays ({why}): nta-milter secures "
                "nothing there, and refuses what is sensitive",
                "let it take mail for your own domains only; what is sent goes in where outbound is marked",
                f"postconf -P '{service}/smtpd_relay_restrictions=reject_unauth_destination'",
            )


def probe_listener(read: Configuration, ours: str, settings: Settings) -> Iterator[Finding]:
    """The milter's own probe finds its listener."""
    if settings.routing.probe and live.SIDE not in {
        bypass.side(read, service) for service in bypass.carriers(read, ours)
    }:
        yield Finding(
            Level.FAULT,
            "no-probe-listener",
            f"no service is marked probe: nta-milter cannot probe Postfix at {settings.routing.probe}, "
            "and routes nothing",
            f"add the service 127.0.0.1:10587 of {SHIPPED}/master.cf",
        )


def content_filters(read: Configuration, ours: str) -> Iterator[Finding]:
    """A content filter behind us sees no routed mail, since the route takes its place."""
    for service in bypass.carriers(read, ours):
        chosen = read.effective(service, "content_filter")
        if chosen and bypass.side(read, service) in OUTGOING:
            yield Finding(
                Level.WARNING,
                "content-filter",
                f"{service}: content_filter {chosen} sees no routed mail, and gets the commits of the others",
                "filter first, and let the filter hand in at the listener that carries nta-milter",
                f"postconf -P '{service}/content_filter='",
            )


def unknown_answers(read: Configuration, ours: str) -> Iterator[Finding]:
    """Policy servers and databases that could answer REDIRECT, FILTER or BCC."""
    asked = bypass.unreadable(read, ours)
    if asked:
        yield Finding(
            Level.NOTE,
            "answers-unknown",
            f"what these will answer cannot be read here: {', '.join(asked)}",
            "make sure that none answers REDIRECT or BCC, which lead mail past its route",
        )


def outside_aliases(read: Configuration, settings: Settings) -> Iterator[Finding]:
    """Aliases of our own addresses that lead outside: such a recipient is not the final one."""
    internal = {domain.lower() for domain in settings.internal.domains}
    for parameter in ("alias_maps", "virtual_alias_maps"):
        for path in files_of(read.parameters[parameter]):
            outside = _outside(_text(path), internal)
            if outside:
                more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
                yield Finding(
                    Level.WARNING,
                    "alias-outside",
                    f"{parameter} {path}: {outside[0]}{more} outside: sensitive mail goes to the mailbox "
                    "inside, other mail leaves by it unjudged",
                    "expand aliases on a listener in front of the one that carries nta-milter",
                )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""  # the table alone is there, or Postfix itself says what it misses


def _outside(text: str, internal: set[str]) -> tuple[str, ...]:
    """The targets of an alias table that are in none of the domains."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        if line.lstrip().startswith("#") or "$" in line:
            continue
        _, _, targets = line.partition(":") if ":" in line else line.strip().partition(" ")
        for target in _TARGET.finditer(targets if not line[:1].isspace() else line):
            if target[1].lower() not in internal:
                found[target[0]] = None
    return tuple(found)
