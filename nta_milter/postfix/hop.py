"""The next hop of mail that stays inside: is what travels to it protected?

Opened mail, sensitive mail among our own users and replies from the portal take it readable. So it must end
on this host, or at an address in a listed network, or be TLS to a server that has proven who it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from nta_milter.config.key import LOOPBACK, IPNetwork

TRANSPORT = "nta-inside"

PROVING_LEVELS = ("dane-only", "fingerprint", "secure", "verify")
"""TLS security levels of smtp(8) at which a server that cannot prove its name gets nothing."""

ON_THIS_HOST = ("pipe", "virtual")
"""Delivery agents that write to this host; local(8) is none, since aliases and .forward lead anywhere."""

_DESTINATION = re.compile(
    r"(?:inet:)?(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<bare>[^\[\]:]+))(?::(?P<port>[\w-]+))?"
)


def fault(action: str, command: str, setting: Callable[[str], str], networks: Sequence[IPNetwork]) -> str:
    """Why the hop that a FILTER action names is not protected, in words; empty when it is.

    ``command`` is the program of the transport in master.cf, ``setting`` gives a parameter as that transport
    has it, ``networks`` count as inside without TLS.
    """
    if not action.startswith(f"FILTER {TRANSPORT}:"):
        return f"the routing tables do not lead to {TRANSPORT}"
    if not command:
        return f"master.cf has no transport {TRANSPORT}/unix"
    if command in ON_THIS_HOST:
        return ""
    if command not in ("smtp", "lmtp"):
        return f"{TRANSPORT} is {command}(8), which may lead anywhere"
    if relay := setting(f"{command}_fallback_relay"):
        return f"{TRANSPORT} has {command}_fallback_relay={relay}, which may lead anywhere"
    destinations = action.removeprefix(f"FILTER {TRANSPORT}:").replace(",", " ").split()
    open_ones = [each for each in destinations or [""] if not _near(each, networks)]
    if not open_ones:
        return ""
    where = f"{TRANSPORT} leads to {open_ones[0] or 'the MX of the recipient'}"
    level = setting(f"{command}_tls_security_level")
    if level not in PROVING_LEVELS:
        return (
            f"{where} in another network, and {command}_tls_security_level={level or 'none'} does not demand "
            "that it proves its name (secure, verify, fingerprint or dane-only do)"
        )
    for maps in ("tls_policy_maps", "tls_per_site"):
        if setting(f"{command}_{maps}"):
            return f"{TRANSPORT} has {command}_{maps}, which may lower its security level"
    if level == "verify" and not all(_bracketed(each) for each in open_ones):
        return f"{where} by an MX look-up, whose answer verify believes; write the host in brackets"
    return ""


def _near(destination: str, networks: Sequence[IPNetwork]) -> bool:
    """Whether it is a socket on this host, or an address on it or in a listed network."""
    if destination.startswith("unix:"):
        return True
    found = _DESTINATION.fullmatch(destination)
    if found is None:
        return False
    try:
        address = ip_address((found["bracketed"] or found["bare"]).removeprefix("IPv6:"))
    except ValueError:
        return False  # a name, which DNS may lead anywhere
    return any(address in network for network in (*LOOPBACK, *networks) if network.version == address.version)


def _bracketed(destination: str) -> bool:
    found = _DESTINATION.fullmatch(destination)
    return found is not None and found["bracketed"] is not None
