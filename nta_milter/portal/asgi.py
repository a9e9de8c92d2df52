"""Around every answer: header fields that keep a page to itself, and who is asking.

Pure ASGI, so that a download is never collected in memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from nta_milter.config.key import IPNetwork

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of our pages: everything from here, nothing inline, in nobody's frame."""

FIELDS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
    ),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-robots-tag", b"noindex, nofollow, noarchive"),
)
"""Fields of every answer, unless a page has a stricter one of its own."""


class Protected:
    """Adds FIELDS to each answer of an application and finds the client behind our own proxy."""

    def __init__(self, application: Application, proxies: tuple[IPNetwork, ...]) -> None:
        self.application = application
        self.proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI wants it."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        scope = {**scope, "client": (client_address(scope, self.proxies), 0)}

        async def protected(event: Event) -> None:
            if event["type"] == "http.response.start":
                own = list(event.get("headers", []))
                present = {name.lower() for name, _ in own}
                event = {**event, "headers": own + [field for field in FIELDS if field[0] not in present]}
            await send(event)

        await self.application(scope, receive, protected)


def client_address(scope: Scope, proxies: tuple[IPNetwork, ...]) -> str:
    """The address of who asks.

    On a unix socket only our web server can connect, and elsewhere it must be one of ``proxies``: then the
    last address of X-Forwarded-For counts, which that web server wrote.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    if peer and not _within(peer, proxies):
        return str(peer)
    for name, value in reversed(scope["headers"]):
        if name == b"x-forwarded-for":
            last = value.decode("ascii", "replace").rpartition(",")[2].strip()
            return last if _is_address(last) else str(peer)
    return str(peer)


def client_network(address: str) -> str:
    """The network that limits count for: /24 of IPv4, /56 of IPv6; ``local`` where there is no address."""
    if not _is_address(address):
        return "local"
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return str(ip_network((int(parsed), 24 if parsed.version == 4 else 56), strict=False))


def _within(address: str, networks: tuple[IPNetwork, ...]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
