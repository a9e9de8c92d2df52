"""Fetch a small file by plain HTTP (RFC 9110) from a place that somebody else has named.

Bounded in size, time and redirects, and only from public addresses or listed networks: the address that was
looked at is the one that is connected to, so that DNS cannot change its mind in between.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urljoin, urlsplit

from nta_milter.config.key import IPNetwork
from nta_milter.errors import FetchFailed

SIZE_LIMIT = 10_000_000
"""Longest answer, in bytes."""

SECONDS = 30.0
"""Longest time for one file, redirects included; only the system's own look-up of names is not counted."""

SILENCE = 10.0
"""Seconds of silence after which a server is given up."""

REDIRECTS = 3
PORT = 80
_PIECE = 65_536
_MOVED = (301, 302, 303, 307, 308)
_NOT_MODIFIED = 304
_EMBEDDING = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""IPv6 networks whose addresses stand for IPv4 ones: NAT64, 6to4 and Teredo."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came, with the field Last-Modified; ``data`` is None where nothing has changed since then."""

    data: bytes | None
    modified: str = ""


def fetch(
    url: str,
    *,
    networks: Sequence[IPNetwork] = (),
    modified: str = "",
    seconds: float = SECONDS,
    size_limit: int = SIZE_LIMIT,
) -> Fetched:
    """What is at ``url``.

    ``networks`` may be connected to though they are not public, and on any port. ``modified`` is the
    Last-Modified of what is here already.

    Raises:
        FetchFailed: another scheme, an address or port that is not allowed, no answer in time, another
            status, or an answer that is too long.
    """
    with _Deadline(seconds) as deadline:
        for _ in range(REDIRECTS + 1):
            try:
                answer = _get(url, networks, modified, size_limit, deadline)
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = f"takes more than {seconds:g} s" if deadline.over else _words(error)
                raise FetchFailed(f"cannot be fetched: {reason}", where=url) from error
            if isinstance(answer, Fetched):
                return answer
            url = answer
    raise FetchFailed(f"more than {REDIRECTS} redirects", where=url)


def allowed(address: str, port: int, networks: Sequence[IPNetwork] = ()) -> bool:
    """Whether we connect to an address: a public one on port 80, or one of ``networks``."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if any(found in network for network in networks):
        return True
    embedded = any(found in network for network in _EMBEDDING)
    return port == PORT and found.is_global and not found.is_multicast and not embedded


class _Deadline:
    """Ends the connection of the moment when the time is over, however slowly the other side goes on."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @contextlib.contextmanager
    def watching(self, connected: socket.socket) -> Iterator[None]:
        """Watch one connection, and close it afterwards."""
        self._socket = connected
        with connected:
            if not self.over:
                yield
            if self.over:  # what was read until then may look whole
                raise TimeoutError

    def _end(self) -> None:
        self.over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _get(
    url: str, networks: Sequence[IPNetwork], modified: str, size_limit: int, deadline: _Deadline
) -> Fetched | str:
    """The answer, or where it has moved to. Raises OSError, HTTPException or ValueError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORT
    if parts.scheme != "http" or not host or "@" in parts.netloc:
        raise ValueError("it is no address for plain HTTP")
    connected = _connected(host, port, networks, deadline)
    with deadline.watching(connected):
        connection = http.client.HTTPConnection(host, port, timeout=SILENCE)
        connection.sock = connected
        fields = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "nta-milter"}
        if modified:
            fields["If-Modified-Since"] = modified
        connection.request("GET", _target(parts), headers=fields)
        answer = connection.getresponse()
        if answer.status in _MOVED:
            return urljoin(url, str(answer.headers["Location"] or ""))
        if answer.status == _NOT_MODIFIED and modified:
            return Fetched(None, modified)
        if answer.status != http.client.OK:
            raise ValueError(f"status {answer.status}")
        if (answer.headers["Content-Encoding"] or "identity").lower() != "identity":
            raise ValueError("the answer is packed")
        return Fetched(_body(answer, size_limit), answer.headers["Last-Modified"] or "")


def _body(answer: http.client.HTTPResponse, size_limit: int) -> bytes:
    if (answer.length or 0) > size_limit:
        raise ValueError(f"more than {size_limit} bytes")
    data = bytearray()
    while piece := answer.read(_PIECE):
        data += piece
        if len(data) > size_limit:
            raise ValueError(f"more than {size_limit} bytes")
    if answer.length:
        raise ValueError("the answer is cut off")
    return bytes(data)


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _connected(host: str, port: int, networks: Sequence[IPNetwork], deadline: _Deadline) -> socket.socket:
    """A connection to the first address of a host that is allowed and answers in time."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    usable = [address for address in addresses if allowed(address, port, networks)]
    if not usable:
        raise ValueError(f"{', '.join(addresses)} port {port} is not public, and no network that is listed")
    for address in usable[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), SILENCE)
        if deadline.over:  # a host may have thousands of addresses that say nothing
            raise TimeoutError
    return socket.create_connection((usable[-1], port), SILENCE)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
