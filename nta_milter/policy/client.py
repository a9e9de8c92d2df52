"""Who handed a message in, and may this client have mail secured and signed?

A milter on a listener that accepts strangers would encrypt and sign for them. So only an authenticated
client, or one in a listed network, on a listener marked outbound, and only for senders of our own domains.
The hosts of a provider are shared by all its customers: through them each mail must carry our own mark.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from nta_milter.config.model import InternalSettings, ListenerSettings
from nta_milter.message.address import envelope_domain
from nta_milter.message.headers import Headers
from nta_milter.postfix.route import OUTGOING

ORGANISATION_HEADER = "X-OriginatorOrg"
"""In which Exchange Online names the customer whose mail it is, whatever the customer wrote there."""


@dataclass(frozen=True, slots=True)
class Client:
    """The connection as Postfix shows it: side marker, address, login name, TLS, name in HELO.

    ``certificate`` is the common name of a client certificate that Postfix has verified, ``listener`` the
    address and port that was connected to.
    """

    side: str
    address: str = ""
    login: str = ""
    tls_version: str = ""
    cipher: str = ""
    helo: str = ""
    certificate: str = ""
    listener: str = ""

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
    if listener is None or listener.side not in OUTGOING:
        return "the listener does not take outgoing mail"
    if len(senders) != 1:
        return "a sensitive mail needs exactly one address in From"
    ours = _own_domains(internal)
    sender = senders[0]
    if sender.rpartition("@")[2] not in ours:
        return f"the domain of {sender} is not one of our own"
    if listener.side == "connector":
        return ""  # proven for every mail before anything else is looked at
    if client.login:
        if listener.login == "any" or _may_send_as(client.login, sender, internal, ours):
            return ""
        return f"the login {client.login} may not send as {sender}"
    ip = client.ip
    if ip is not None and any(ip in network for network in listener.clients if network.version == ip.version):
        return ""
    return "the client is neither authenticated nor in a listed network"


def connector_fault(
    client: Client,
    listener: ListenerSettings,
    internal: InternalSettings,
    headers: Headers,
    envelope_sender: str,
    senders: tuple[str, ...],
    secret: bytes | None,
) -> str:
    """Why a mail through a provider's hosts is not shown to be our users'; empty when it is.

    What a mark should have been is not told: the answer goes to whoever tries.
    """
    if client.certificate.lower() not in {name.lower() for name in listener.tls_names}:
        shown = client.certificate or "none that is verified"
        return f"the client certificate is not the provider's: {shown}"
    marks = [field.value.decode("ascii", "replace").lower() for field in headers.all(ORGANISATION_HEADER)]
    wanted = {name.lower() for name in listener.organisations}
    if wanted and not (len(marks) == 1 and marks[0] in wanted):
        return f"{ORGANISATION_HEADER} is not there once with a value of ours"
    if listener.secret_header:
        shown_secrets = [field.value for field in headers.all(listener.secret_header)]
        if not (secret and len(shown_secrets) == 1 and hmac.compare_digest(shown_secrets[0], secret)):
            return f"{listener.secret_header} is not there once with its value"
    ours = _own_domains(internal)
    if len(senders) != 1 or senders[0].rpartition("@")[2] not in ours:
        return "From is not one address of our own"
    if envelope_sender and envelope_domain(envelope_sender) not in ours:
        return "the envelope sender is not one of our own"
    return ""


def may_sign_as_person(client: Client, internal: InternalSettings, sender: str) -> bool:
    """Whether a person's own key may sign: only for a login of that person, never by network alone."""
    ours = _own_domains(internal)
    return bool(client.login) and _may_send_as(client.login, sender, internal, ours)


def _own_domains(internal: InternalSettings) -> set[str]:
    return {domain.lower() for domain in internal.sender_domains or internal.domains}


def _may_send_as(login: str, sender: str, internal: InternalSettings, ours: set[str]) -> bool:
    name = login.lower()
    local, _, domain = sender.rpartition("@")
    own = sender == name if "@" in name else local == name and domain in ours
    return own or any(
        holder.lower() == name and sender in map(str.lower, addresses)
        for holder, addresses in internal.delegates.items()
    )
