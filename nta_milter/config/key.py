"""How a key of the configuration is declared: meaning, default, unit and range in one place."""

from __future__ import annotations

from dataclasses import field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

IPNetwork = IPv4Network | IPv6Network
LOOPBACK: tuple[IPNetwork, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def key(
    text: str,
    *,
    default: Any = ...,
    unit: str | None = None,
    example: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare a key: its meaning, its default (``...`` = it must be given), its unit and its range.

    ``example`` is a value in TOML, for keys whose default shows nothing.
    """
    metadata = {"text": text, "unit": unit, "example": example, "minimum": minimum, "maximum": maximum}
    if default is ...:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def table(factory: Any, text: str, *, example: str | None = None) -> Any:
    """Declare a table (or array of tables) with its defaults."""
    return field(default_factory=factory, metadata={"text": text, "example": example})
