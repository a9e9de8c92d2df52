"""What in a Postfix configuration leads a message around its route, each way seen on a real Postfix.

A route is a FILTER request in the queue file. REDIRECT overrides it, a later FILTER replaces it, BCC adds a
recipient that no milter has seen, and a service's own setting may leave the tables out that make it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from nta_milter.postfix.configuration import RESTRICTIONS, Configuration, files_of, tables_of
from nta_milter.postfix.route import OUTGOING

INSPECTIONS = ("header_checks", "mime_header_checks", "nested_header_checks", "body_checks")

HAND = "nta-hand/unix"
"""The listener of copies that the worker hands in."""

FILE_LIMIT = 4_000_000
"""Bytes of a table that are searched for actions."""

_OURS = re.compile(r"(?:nta|nta-inside|retry):\S*")
_ACTION = re.compile(
    r"(?<![^\s={,])(?:(REDIRECT|BCC)[ \t]+([^\s},]*[@$][^\s},]*)|(FILTER)[ \t]+([^\s},]*[:$][^\s},]*))",
    re.IGNORECASE,
)
"""Postfix ignores a target without ``@`` or ``:``; behind a ``$`` the sender of a mail may write one."""

_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_UNREADABLE = frozenset(
    {"ldap", "mysql", "pgsql", "sqlite", "memcache", "socketmap", "tcp", "nis", "netinfo"}
)


def is_ours(milter: str, ours: str) -> bool:
    """Whether an item of smtpd_milters is our milter; ``ours`` is the end of its socket's name."""
    return bool(ours) and ours in milter


def carriers(read: Configuration, ours: str) -> Iterator[str]:
    """The smtpd services that ask our milter, whatever side they are marked with."""
    for service, command in read.commands.items():
        if "no_milters" in read.effective(service, "receive_override_options"):
            continue
        if command == "smtpd" and is_ours(read.effective(service, "smtpd_milters"), ours):
            yield service


def side(read: Configuration, service: str) -> str:
    """The value that milter_macro_defaults gives nta_side."""
    defaults = read.effective(service, "milter_macro_defaults").replace(",", " ").split()
    return next((item.partition("=")[2] for item in defaults if item.startswith("nta_side=")), "")


def cleanup_of(read: Configuration, service: str) -> str:
    """The cleanup(8) service that a listener or pickup hands its mail to."""
    return (read.effective(service, "cleanup_service_name") or "cleanup") + "/unix"


def files(read: Configuration) -> tuple[Path, ...]:
    """The tables whose actions are looked at: a proof holds only while they stay the same."""
    named = [read.parameters.get(name, "") for name in (*RESTRICTIONS, *INSPECTIONS)]
    named += [value for (_, name), value in read.overrides.items() if name in (*RESTRICTIONS, *INSPECTIONS)]
    named += read.classes.values()
    return tuple(dict.fromkeys(path for value in named for path in files_of(value)))


def unasked(read: Configuration, ours: str) -> str:
    """Why our milter never sees the content of what users send; empty when it does.

    A proxy filter takes it before cleanup(8) has it, and REDIRECT makes cleanup ask no milter any more.
    """
    outbound = [service for service in carriers(read, ours) if side(read, service) in OUTGOING]
    for service in outbound:
        if read.effective(service, "smtpd_proxy_filter"):
            return f"{service}: smtpd_proxy_filter takes the mail before any milter sees it"
    for cleanup in dict.fromkeys(cleanup_of(read, service) for service in (*outbound, "pickup/unix")):
        for parameter in INSPECTIONS:
            value = read.effective(cleanup, parameter)
            for fault in diversions(read, value, f"{cleanup} {parameter}", ("REDIRECT",)):
                return f"{fault} and past every milter"
    return ""


def faults(read: Configuration, ours: str) -> Iterator[str]:
    """A fault for each way around a route; each sentence names its parameter."""
    if ours:
        yield from _milters(read, ours)
    if refusal := unasked(read, ours):
        yield refusal
    for service in carriers(read, ours):
        for parameter in RESTRICTIONS:
            value = read.effective(service, parameter)
            yield from diversions(read, value, f"{service} {parameter}", ("REDIRECT", "BCC"))
        yield from _inspections(read, service, ("REDIRECT", "BCC"), ours)
    for service in ("pickup/unix", HAND):
        if service in read.commands:
            yield from _inspections(read, service, ("REDIRECT", "BCC", "FILTER"), ours)
            yield from _attachments(read, cleanup_of(read, service))
    if read.parameters["default_filter_nexthop"]:
        yield (
            f"default_filter_nexthop is {read.parameters['default_filter_nexthop']!r} where '' is needed: "
            "the route mx would lead there"
        )
    for service in ("pickup/unix", HAND):
        options = read.effective(service, "receive_override_options")
        if service in read.commands and re.search(r"no_header_body_checks|no_milters", options):
            yield f"{service}: receive_override_options is {options!r}: mail passes its tables or milters"
    if HAND in read.commands:
        yield from _hand_in(read)


def _milters(read: Configuration, ours: str) -> Iterator[str]:
    """Without us a listener takes no mail, and what we add has the effect that was proven."""
    asking = [(service, "smtpd_milters") for service in carriers(read, ours)]
    asking.append((cleanup_of(read, "pickup/unix"), "non_smtpd_milters"))
    for service, parameter in asking:
        action = read.overrides.get((service, "milter_default_action"), "tempfail")
        if action != "tempfail":
            yield f"{service}: milter_default_action is {action!r} where 'tempfail' is needed"
        for item in items(read.effective(service, parameter)):
            action = own_action(item)
            if is_ours(item, ours) and action not in ("", "tempfail"):
                yield f"{service}: {parameter} lets mail pass without nta-milter (default_action={action})"
        if side(read, service) in OUTGOING and (chosen := read.effective(service, "smtpd_milter_maps")):
            yield f"{service}: smtpd_milter_maps is {chosen!r} where '' is needed"
    for service in (*carriers(read, ours), "pickup/unix"):
        cleanup = cleanup_of(read, service)
        routes = read.effective(cleanup, "milter_header_checks")
        if routes != read.parameters["milter_header_checks"]:
            yield (
                f"{cleanup}: milter_header_checks is {routes!r} where that of main.cf is needed ({service})"
            )


def _inspections(read: Configuration, service: str, actions: tuple[str, ...], ours: str) -> Iterator[str]:
    cleanup = cleanup_of(read, service)
    for parameter in INSPECTIONS:
        value = read.effective(cleanup, parameter)
        yield from diversions(read, value, f"{cleanup} {parameter}", actions, back_to_us(read, ours))
    value = read.effective(cleanup, "milter_header_checks")
    yield from diversions(read, value, f"{cleanup} milter_header_checks", ("REDIRECT", "BCC", "FILTER"))


def back_to_us(read: Configuration, ours: str) -> frozenset[str]:
    """The FILTER targets that lead back to us: a listener on this host that asks our milter as for users."""
    listeners = {
        f"[{service.rpartition(':')[0]}]:{service.rpartition(':')[2].removesuffix('/inet')}"
        for service in carriers(read, ours)
        if service.startswith("127.") and service.endswith("/inet") and side(read, service) in OUTGOING
    }
    transports = [name.removesuffix("/unix") for name, command in read.commands.items() if command == "smtp"]
    return frozenset(f"{transport}:{listener}" for transport in transports for listener in listeners)


def _attachments(read: Configuration, cleanup: str) -> Iterator[str]:
    """header_checks that make routes must not be asked about the headers of attachments, nor the body."""
    for parameter in INSPECTIONS[1:]:
        value = read.overrides.get((cleanup, parameter))
        if value != "":
            shown = "inherited" if value is None else repr(value)
            yield f"{cleanup}: {parameter} is {shown} where '' is needed"


def _hand_in(read: Configuration) -> Iterator[str]:
    """What the worker hands in without a route that is understood waits in the queue."""
    content_filter = read.overrides.get((HAND, "content_filter"), "")
    if not content_filter.startswith("retry:"):
        yield f"{HAND}: content_filter is {content_filter!r} where 'retry:…' is needed"
    if read.commands.get("retry/unix") not in ("error", None) or "smtpd" not in read.commands[HAND]:
        yield f"{HAND} must be smtpd, and retry/unix error"
    if "no_address_mappings" not in read.effective(HAND, "receive_override_options"):
        yield f"{HAND}: receive_override_options has no no_address_mappings"


def diversions(
    read: Configuration,
    value: str,
    where: str,
    actions: tuple[str, ...],
    back: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """A fault for each action in a parameter's tables that leads mail elsewhere than to ``back``."""
    for text in _texts(value, read.classes):
        for found in _ACTION.finditer(_COMMENT.sub("", text)):
            action, target = (found[1] or found[3]).upper(), found[2] or found[4]
            harmless = action == "FILTER" and (_OURS.fullmatch(target) or target in back)
            if action in actions and not harmless:
                yield f"{where}: {action} {target} leads mail past its route"


def unreadable(read: Configuration, ours: str) -> tuple[str, ...]:
    """Tables and policy servers of our listeners whose answers nobody can know beforehand."""
    found: dict[str, None] = {}
    for service in carriers(read, ours):
        for parameter in RESTRICTIONS:
            value = read.effective(service, parameter)
            for name, text in read.classes.items():
                value += f" {text}" if re.search(rf"\b{re.escape(name)}\b", value) else ""
            found.update(dict.fromkeys(re.findall(r"check_policy_service\s+(\S+)", value)))
            named = (table.removeprefix("proxy:") for table in tables_of(value))
            found.update((table, None) for table in named if table.partition(":")[0] in _UNREADABLE)
    return tuple(found)


def items(milters: str) -> list[str]:
    """The items of a list of milters; settings in braces belong to theirs."""
    return re.findall(r"\{[^{}]*\}|[^\s,{}]+", milters)


def own_action(milter: str) -> str:
    """What an item says for itself of the time in which that milter is away; empty where it says nothing."""
    found = re.search(r"default_action\s*=\s*(\w+)", milter)
    return "" if found is None else found[1].lower()


def _texts(value: str, classes: Mapping[str, str]) -> Iterator[str]:
    """Every table that a parameter names, as text, those of its restriction classes included."""
    for name, text in classes.items():
        if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", value):
            value = f"{value} {text}"
    if "{" in value:
        yield value
    for path in files_of(value):
        try:
            with path.open("rb") as file:
                yield file.read(FILE_LIMIT).decode("utf-8", "replace")
        except OSError:
            continue  # Postfix itself says what it misses
