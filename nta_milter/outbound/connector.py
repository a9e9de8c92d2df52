"""Whether a mail that comes through a provider's shared hosts is one of our users'."""

from __future__ import annotations

from nta_milter.message.address import addresses
from nta_milter.message.model import Message
from nta_milter.policy.client import Client, connector_fault
from nta_milter.policy.snapshot import Snapshot


def refusal(message: Message, client: Client, snapshot: Snapshot) -> str:
    """Why it is not; empty when it is, and on every listener that is not marked connector."""
    listener = snapshot.listener(client.side)
    if listener is None or listener.side != "connector":
        return ""
    return connector_fault(
        client,
        listener,
        snapshot.settings.internal,
        message.headers,
        message.sender,
        addresses(message.headers, "From"),
        snapshot.connector_secret,
    )
