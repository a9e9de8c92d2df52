"""Who handed a message in, and may this client have mail secured and signed?

A milter on a listener that accepts strangers would encrypt and sign for them. So only an authenticated
client, or one in a listed network, on a listener marked outbound, and only for senders of our own domains.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from nta_milter.config.model import InternalSettings, ListenerSettings


@dataclass(frozen=True, slots=True)
class Client:
    """The connection as Postfix shows it: side marker, address, login name, TLS, name in HELO."""

    side: str
    address: str = ""
    login: str = ""
    tls_version: str = ""
    cipher: str = ""
    helo: str = ""

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The client's address; None for a unix socket or what is no address."""
        try:
            return ip_address(self.address.removeprefix("IPv6:"))
        except ValueError:
            return None


def fault(
    client: Client, listener: ListenerSettings | None, internal: InternalSettings, senders: tuple[str, ...]
) -> str:
    """Why this client may not have mail secured; empty when it may.

    ``senders`` are the addresses of the From header fields, lower case.
    """
    if listener is None or listener.side != "outbound":
        return "the listener does not take outgoing mail"
    if len(senders) != 1:
        return "a sensitive mail needs exactly one address in From"
    ours = {domain.lower() for domain in internal.sender_domains or internal.domains}
    sender = senders[0]
    if sender.rpartition("@")[2] not in ours:
        return f"the domain of {sender} is not one of our own"
    if client.login:
        if listener.login == "any" or sender in _may_send_as(client.login, internal, ours):
            return ""
        return f"the login {client.login} may not send as {sender}"
    ip = client.ip
    if ip is not None and any(ip in network for network in listener.clients if network.version == ip.version):
        return ""
    return "the client is neither authenticated nor in a listed network"


def may_sign_as_person(client: Client, internal: InternalSettings, sender: str) -> bool:
    """Whether a person's own key may sign: only for a login of that person, never by network alone."""
    ours = {domain.lower() for domain in internal.sender_domains or internal.domains}
    return bool(client.login) and sender in _may_send_as(client.login, internal, ours)


def _may_send_as(login: str, internal: InternalSettings, ours: set[str]) -> set[str]:
    name = login.lower()
    own = {name} if "@" in name else {f"{name}@{domain}" for domain in ours}
    delegated = {
        address.lower()
        for holder, addresses in internal.delegates.items()
        if holder.lower() == name
        for address in addresses
    }
    return own | delegated
