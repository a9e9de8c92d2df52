"""Every fault of a Postfix configuration that would weaken the line, with its mend; nothing is changed.

The proof (proof.py) says whether a routed message keeps its route; this looks at everything around it: which
listeners carry the milter, in which order, who may use them, and what goes past.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nta_milter.config.model import Settings
from nta_milter.errors import RoutingNotProven
from nta_milter.postfix import bypass, live, ways
from nta_milter.postfix.configuration import Configuration, Postfix, postfix_name
from nta_milter.postfix.finding import INSTALL, SHIPPED, Finding, Level
from nta_milter.postfix.proof import prove
from nta_milter.postfix.route import OUTGOING

MINIMUM_HEADER_SIZE = 102_400
"""Postfix's default header_size_limit; less cuts header fields that we and others write."""

GROWTH = 1.9
"""How much larger than its attachments a message can be on the wire: base64 twice, and a signature."""

_SIGNER = re.compile(r"dkim|rspamd|sign", re.IGNORECASE)
_VERIFIER = re.compile(r"dkim|dmarc|spf|rspamd", re.IGNORECASE)


@dataclass(frozen=True)
class Examined:
    """What the checks look at. ``ours`` ends the milter's socket name as Postfix writes it."""

    read: Configuration
    settings: Settings
    ours: str

    def smtpd(self) -> Iterator[str]:
        """The services that speak SMTP to others or to us."""
        return (name for name, command in self.read.commands.items() if command == "smtpd")

    def milters(self, service: str) -> list[str]:
        """The milters of a service, in order, settings in braces joined."""
        return self.read.effective(service, "smtpd_milters").replace(",", " ").split()

    def position(self, service: str) -> int | None:
        """Where our milter stands among them; None when it is not there."""
        places = [i for i, item in enumerate(self.milters(service)) if self.ours in item]
        return places[0] if places else None

    def side(self, service: str) -> str:
        """The value that milter_macro_defaults gives nta_side."""
        return bypass.side(self.read, service)


def examine(postfix: Postfix, settings: Settings) -> tuple[Finding, ...]:
    """Look at everything; one FAULT with postconf's own words when the configuration cannot be read."""
    try:
        read = postfix.read()
    except RoutingNotProven as error:
        return (Finding(Level.FAULT, "unreadable", str(error), "mend what postconf complains about"),)
    examined = Examined(read, settings, postfix_name(settings.milter.socket))
    if not _is_joined(examined):
        return (
            Finding(
                Level.FAULT,
                "not-joined",
                f"{postfix.configuration} is not joined with nta-milter: no service carries the milter, and "
                "master.cf has no transport nta",
                f"follow {INSTALL} from the step where Postfix is joined; then run this again",
            ),
        )
    proof = prove(
        postfix,
        0.0,
        settings.internal.networks,
        ours=examined.ours,
        copies=bool(settings.store.url),
    )
    mend = f"use the lines and tables of {SHIPPED} as they are shipped"
    found = [Finding(Level.FAULT, "route-not-proven", fault, mend, _command(fault)) for fault in proof.faults]
    if not proof.inside and not proof.faults:
        found.append(
            Finding(
                Level.FAULT,
                "no-inside",
                f"opened and sensitive mail cannot stay inside: {proof.inside_fault}",
                "name the mail store in nta_route, nta_hand and nta_requeue; give nta-inside TLS"
                " that proves the server, or list its network in internal.networks",
            )
        )
    for check in CHECKS:
        found.extend(check(examined))
    return tuple(found)


def _is_joined(examined: Examined) -> bool:
    """Whether anything of ours is in main.cf or master.cf: before, each single fault would only confuse."""
    carried = any(examined.ours in value for value in examined.read.parameters.values())
    return (
        "nta/unix" in examined.read.commands
        or carried
        or any(examined.position(name) is not None for name in examined.smtpd())
    )


_DIFFERS = re.compile(
    r"(?:([^\s:]+(?::[^\s:]+)*/(?:unix|inet)): )?(\w+) is .* where '([^']*)' is needed.*", re.DOTALL
)


def _command(fault: str) -> str:
    """The command that gives a parameter the value that a fault says is needed; empty for other faults."""
    found = _DIFFERS.fullmatch(fault)
    if found is None:
        return ""
    service, parameter, value = found.groups()
    value = value.replace("retry:…", "retry:4.3.5 NTA route missing")
    return f"postconf -P '{service}/{parameter}={value}'" if service else f"postconf -e '{parameter}={value}'"


def _milter_is_used(examined: Examined) -> Iterator[Finding]:
    """Our milter stands on a listener for users, and on those that arrive."""
    sides = {examined.side(name) for name in examined.smtpd() if examined.position(name) is not None}
    if "connector" in sides:
        sides.add("outbound")
    for side, level in (("outbound", Level.FAULT), ("inbound", Level.WARNING), ("ntamx", Level.NOTE)):
        if side not in sides:
            yield Finding(
                level,
                f"no-{side}-listener",
                f"no smtpd service has both nta-milter and milter_macro_defaults=nta_side={side}",
                f"add them to the service for {side} mail, as {SHIPPED}/master.cf has it",
            )


def _side_is_marked(examined: Examined) -> Iterator[Finding]:
    known = {live.SIDE, *(listener.side for listener in examined.settings.listeners)}
    for name in examined.smtpd():
        side = examined.side(name)
        if examined.position(name) is not None and side not in known:
            yield Finding(
                Level.FAULT,
                "side-unmarked",
                f"{name} has nta-milter but nta_side is {side or 'not set'}: its mail is answered with 451",
                "give the service its side: outbound, connector, inbound or ntamx",
                f"postconf -P '{name}/milter_macro_defaults=nta_side=…'",
            )
    if "{nta_side}" not in examined.read.parameters["milter_connect_macros"]:
        yield Finding(
            Level.FAULT,
            "macro-not-sent",
            "milter_connect_macros does not hold {nta_side}: the milter never learns the side",
            "add {nta_side} to milter_connect_macros",
            "postconf -e 'milter_connect_macros = j {client_addr} v _ {nta_side}'",
        )


def _no_oracle(examined: Examined) -> Iterator[Finding]:
    """A listener marked outbound must not accept strangers: it would encrypt and sign for them."""
    yield from ways.shared_networks(examined.settings)
    for name in examined.smtpd():
        side = examined.side(name)
        if examined.position(name) is None or side not in OUTGOING:
            continue
        if side == "connector" and examined.read.effective(name, "smtpd_tls_req_ccert") != "yes":
            yield Finding(
                Level.FAULT,
                "connector-without-certificate",
                f"{name} is marked connector and demands no client certificate: all its mail is refused",
                "demand one",
                f"postconf -P '{name}/smtpd_tls_req_ccert=yes'",
            )
        login = examined.read.effective(name, "smtpd_sasl_auth_enable") == "yes"
        if side == "outbound" and not login and name.endswith("/inet"):
            yield Finding(
                Level.WARNING,
                "outbound-without-login",
                f"{name} is marked outbound and asks for no login: only listed networks are secured",
                "turn on smtpd_sasl_auth_enable, or be sure that strangers cannot reach it",
            )
        restrictions = examined.read.effective(name, "smtpd_relay_restrictions")
        if "reject" not in restrictions.replace(",", " ").split() and "defer" not in restrictions:
            yield Finding(
                Level.FAULT,
                "open-outbound",
                f"{name} is marked outbound and smtpd_relay_restrictions does not end in reject",
                "end it in reject",
                f"postconf -P '{name}/smtpd_relay_restrictions=permit_sasl_authenticated,reject'",
            )
        if "no_address_mappings" not in examined.read.effective(name, "receive_override_options"):
            yield Finding(
                Level.WARNING,
                "recipients-not-final",
                f"{name} expands aliases after the milter: recipients that it sees are not final",
                "add receive_override_options=no_address_mappings, and expand in front of it if you need to",
            )


def _milter_order(examined: Examined) -> Iterator[Finding]:
    """Outbound: ours before the signer, which signs what leaves; inbound: ours after the verifier."""
    for name in examined.smtpd():
        position, milters = examined.position(name), examined.milters(name)
        if position is None or len(milters) < 2:
            continue
        side = examined.side(name)
        if side in OUTGOING and position > 0:
            signs = [each for each in milters[:position] if _SIGNER.search(each)]
            yield Finding(
                Level.FAULT if signs else Level.WARNING,
                "milter-order",
                f"{name}: {(signs or milters)[0]} runs before nta-milter, which changes what it has signed",
                "put nta-milter before the signer in smtpd_milters; a scanner may be first",
            )
        judges = [each for each in milters[(position or 0) + 1 :] if _VERIFIER.search(each)]
        if side in ("inbound", "ntamx") and judges:
            yield Finding(
                Level.WARNING,
                "milter-order",
                f"{name}: nta-milter runs before {judges[0]}, which then judges what we have opened",
                "put the verifier of SPF and DKIM before nta-milter on listeners that arrive",
            )


def _bypasses(examined: Examined) -> Iterator[Finding]:
    """Ways past the milter: sendmail(1), other listeners, switches that turn milters off."""
    cleanup = examined.read.overrides.get(("pickup/unix", "cleanup_service_name"), "cleanup") + "/unix"
    if examined.ours not in examined.read.effective(cleanup, "non_smtpd_milters"):
        yield Finding(
            Level.FAULT,
            "sendmail-past-milter",
            "mail by sendmail(1) passes no milter: cron, PHP and local users send in clear",
            f"give pickup a cleanup with non_smtpd_milters, as {SHIPPED}/master.cf has it",
        )
    if examined.read.parameters["smtpd_milter_maps"]:
        yield Finding(
            Level.WARNING,
            "milter-maps",
            "smtpd_milter_maps can turn milters off for some clients",
            "make sure that no entry is DISABLE for clients that send for you",
        )
    yield from ways.listeners_without_us(examined.read, examined.ours)
    yield from ways.arriving_relays(examined.read, examined.ours)
    yield from ways.probe_listener(examined.read, examined.ours, examined.settings)
    yield from ways.content_filters(examined.read, examined.ours)
    yield from ways.unknown_answers(examined.read, examined.ours)
    yield from ways.outside_aliases(examined.read, examined.settings)


def _limits(examined: Examined) -> Iterator[Finding]:
    parameters = examined.read.parameters
    size = int(parameters["message_size_limit"] or 0)
    needed = int(examined.settings.policy.attachment_limit * GROWTH)
    if 0 < size < needed:
        yield Finding(
            Level.WARNING,
            "message-size-limit",
            f"message_size_limit is {size}: attachments of {examined.settings.policy.attachment_limit} bytes "
            f"need about {needed} as S/MIME, and cleanup refuses for good what a milter makes larger",
            "raise it",
            f"postconf -e message_size_limit={needed}",
        )
    if int(parameters["header_size_limit"] or 0) < MINIMUM_HEADER_SIZE:
        yield Finding(
            Level.WARNING,
            "header-size-limit",
            f"header_size_limit is {parameters['header_size_limit']}: long header fields are cut",
            "leave it at its default",
            f"postconf -e header_size_limit={MINIMUM_HEADER_SIZE}",
        )
    protocol = parameters["milter_protocol"]
    if protocol.isdigit() and int(protocol) < 6:
        yield Finding(
            Level.FAULT,
            "milter-protocol",
            f"milter_protocol is {protocol}: header fields reach us without their leading blanks",
            "use version 6",
            "postconf -e milter_protocol=6",
        )


def _reports(examined: Examined) -> Iterator[Finding]:
    """Bounces pass no milter and quote what they report about."""
    parameters = examined.read.parameters
    if int(parameters["bounce_size_limit"] or 0) > 1:
        yield Finding(
            Level.WARNING,
            "bounces-quote",
            f"bounce_size_limit is {parameters['bounce_size_limit']}: reports about mail that did not come "
            "from us quote its text",
            "quote header fields only",
            "postconf -e bounce_size_limit=1",
        )
    loud = {"bounce", "2bounce", "delay"} & set(parameters["notify_classes"].replace(",", " ").split())
    if loud:
        yield Finding(
            Level.WARNING,
            "postmaster-copies",
            f"notify_classes has {', '.join(sorted(loud))}: the postmaster gets copies of undelivered mail",
            "leave them out",
            "postconf -e 'notify_classes = resource, software'",
        )


def _dnssec(examined: Examined) -> Iterator[Finding]:
    parameters = examined.read.parameters
    if parameters["smtp_dns_support_level"] != "dnssec":
        yield Finding(
            Level.WARNING,
            "no-dnssec",
            "smtp_dns_support_level is not dnssec: ordinary mail is sent without DANE where it could have it",
            "turn it on",
            "postconf -e smtp_dns_support_level=dnssec",
        )
    if "native" in parameters["smtp_host_lookup"]:
        yield Finding(
            Level.WARNING,
            "native-look-up",
            "smtp_host_lookup has native: /etc/hosts answers without DNSSEC",
            "use dns alone",
            "postconf -e smtp_host_lookup=dns",
        )


def _socket(examined: Examined) -> Iterator[Finding]:
    if examined.settings.milter.socket.startswith("inet"):
        yield Finding(
            Level.NOTE,
            "tcp-socket",
            "milter.socket is TCP: about 43 ms more for each message",
            "use a unix socket in Postfix's queue folder",
        )


CHECKS: tuple[Callable[[Examined], Iterator[Finding]], ...] = (
    _milter_is_used,
    _side_is_marked,
    _no_oracle,
    _milter_order,
    _bypasses,
    _limits,
    _reports,
    _dnssec,
    _socket,
)
