"""Asking a validating resolver, and saying PRESENT, ABSENT or UNKNOWN about its answer.

Every question carries RD and AD (RFC 6840 section 5.7) and EDNS with 1232 bytes, never CD. A truncated
answer is asked again over TCP. The AD bit counts only from a server in a trusted network.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from nta_milter.config.key import IPNetwork
from nta_milter.config.model import DnsSettings
from nta_milter.errors import ConfigurationError
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.lookup.association import TYPES, associations
from nta_milter.lookup.exchange import by_tcp, by_udp

PAYLOAD = 1232
SUSPECT_AFTER = 3
"""Time-outs without an answer in between after which a server is asked whether it lives at all."""
PAUSE = 2.0
"""Seconds for which a dead server is not asked."""

_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Server:
    """A resolver's address and port."""

    address: str
    port: int = 53

    @classmethod
    def parse(cls, text: str) -> Server:
        """Read ``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``; raises ConfigurationError."""
        address, port = text, "53"
        if text.startswith("["):
            address, bracket, rest = text[1:].partition("]")
            port = rest[1:] if rest.startswith(":") else "" if rest or not bracket else "53"
        elif text.count(":") == 1:
            address, _, port = text.partition(":")
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ConfigurationError("not an IP address", where=f"resolver {text!r}") from None
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ConfigurationError("the port must be 1-65535", where=f"resolver {text!r}")
        return cls(address, int(port))

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class DnsResolver:
    """Asks its servers in order until one gives an answer; safe to use from many threads.

    ``timeout`` is the patience for one answer, ``lifetime`` for one query with its repeats, in seconds.
    Raises ConfigurationError for a server that cannot be parsed.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        trusted: Sequence[IPNetwork],
        timeout: float,
        lifetime: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not servers:
            raise ConfigurationError("no resolver is named", where="dns.servers")
        self._trusted = tuple(trusted)
        self._timeout = timeout
        self._lifetime = lifetime
        self._clock = clock
        self._peers = tuple(_Peer(Server.parse(text), self._trusted, clock) for text in servers)

    @classmethod
    def from_settings(cls, settings: DnsSettings) -> DnsResolver:
        """Over the servers of ``[dns]``."""
        return cls(
            settings.servers, trusted=settings.trusted, timeout=settings.timeout, lifetime=settings.lifetime
        )

    def each(self) -> tuple[DnsResolver, ...]:
        """One resolver for each server, to judge them one by one."""
        return tuple(
            DnsResolver(
                [str(peer.server)],
                trusted=self._trusted,
                timeout=self._timeout,
                lifetime=self._lifetime,
                clock=self._clock,
            )
            for peer in self._peers
        )

    def __str__(self) -> str:
        return ", ".join(str(peer.server) for peer in self._peers)

    @property
    def trusted(self) -> bool:
        """Whether the word of every server counts."""
        return all(peer.trusted for peer in self._peers)

    def query(self, name: str, rdtype: str) -> Answer:
        """Ask for the records of one type at ``name``; whatever happens becomes an Answer."""
        try:
            stripped = name.removesuffix(".")
            labels = stripped.encode("ascii").split(b".") if stripped else []
            owner = dns.name.Name((*labels, b""))
        except (dns.exception.DNSException, UnicodeError):
            return Answer(Presence.ABSENT, False, 0, reason="no name that DNS can hold")
        ends = self._clock() + self._lifetime
        failed: dict[_Peer, Answer] = {}
        waiting = list(self._peers)
        while waiting:
            for peer in tuple(waiting):
                left = ends - self._clock()
                if left <= 0:
                    waiting.clear()
                    break
                answer = peer.ask(owner, rdtype, min(self._timeout, left))
                if answer is None:
                    failed[peer] = _unknown(f"{peer.server} did not answer in {self._lifetime:g} s")
                elif answer.presence is Presence.UNKNOWN:
                    failed[peer] = answer
                    waiting.remove(peer)
                else:
                    return answer
        last = next(reversed(failed.values()), _unknown("no time was left to ask"))
        return _unknown("; ".join(answer.reason for answer in failed.values()) or last.reason, last.rcode)


class _Peer:
    """One server, with a breaker so that a dead one costs no more than a moment.

    A slow domain must not look like a dead resolver, so after a few time-outs the server is asked for
    the root's SOA, which a live one has at hand; only when that too stays unanswered is it left alone.
    """

    def __init__(self, server: Server, trusted: Sequence[IPNetwork], clock: Callable[[], float]) -> None:
        address = ipaddress.ip_address(server.address)
        self.server = server
        self.trusted = any(address in network for network in trusted)
        self._clock = clock
        self._lock = threading.Lock()
        self._silent = 0
        self._closed_until = 0.0
        self._dead = ""

    def ask(self, owner: dns.name.Name, rdtype: str, timeout: float) -> Answer | None:
        """One question; None = no answer in ``timeout`` seconds, worth a repeat."""
        if self._clock() < self._closed_until:
            return _unknown(self._dead)
        question = _question(owner, rdtype)
        wire = question.to_wire()
        where = (self.server.address, self.server.port)
        try:
            answer = by_udp(*where, wire, timeout)
            self._silent = 0
            if _is_truncated(answer):
                answer = self._by_tcp(wire, timeout)
            return _read(answer, question, rdtype, trusted=self.trusted, server=self.server)
        except TimeoutError:
            self._suspect(timeout)
            return None
        except OSError as error:
            self._close(f"{self.server} cannot be asked: {error.strerror or error}")
            return _unknown(self._dead)
        except _TcpFailed as error:
            return _unknown(f"{self.server} truncated its answer and does not serve TCP: {error}")
        except (dns.exception.DNSException, ValueError) as error:
            return _unknown(f"{self.server} gave a malformed answer ({error or type(error).__name__})")

    def _by_tcp(self, question: bytes, timeout: float) -> bytes:
        try:
            return by_tcp(self.server.address, self.server.port, question, timeout)
        except TimeoutError:
            raise
        except OSError as error:
            # Not a dead server: it answered by UDP, so the breaker stays out of it.
            raise _TcpFailed(error.strerror or str(error)) from error

    def _suspect(self, timeout: float) -> None:
        with self._lock:
            self._silent += 1
            if self._silent < SUSPECT_AFTER:
                return
            self._silent = 0
        try:
            by_udp(self.server.address, self.server.port, _question(dns.name.root, "SOA").to_wire(), timeout)
        except OSError:
            self._close(f"{self.server} does not answer")

    def _close(self, reason: str) -> None:
        with self._lock:
            self._dead = reason
            self._closed_until = self._clock() + PAUSE
            self._silent = SUSPECT_AFTER - 1


class _TcpFailed(Exception):
    """An answer was truncated and could not be had by TCP."""


def _question(owner: dns.name.Name, rdtype: str) -> dns.message.Message:
    flags = dns.flags.RD | dns.flags.AD
    return dns.message.make_query(owner, rdtype, use_edns=0, payload=PAYLOAD, flags=flags)


def _unknown(reason: str, rcode: str = "") -> Answer:
    return Answer(Presence.UNKNOWN, False, 0, reason=reason, rcode=rcode)


def _is_truncated(answer: bytes) -> bool:
    return len(answer) > 3 and bool(int.from_bytes(answer[2:4], "big") & dns.flags.TC)


def _read(
    wire: bytes, question: dns.message.Message, rdtype: str, *, trusted: bool, server: Server
) -> Answer:
    response = dns.message.from_wire(wire, continue_on_error=rdtype in TYPES)
    if not (isinstance(response, dns.message.QueryMessage) and question.is_response(response)):
        raise ValueError("no answer to what was asked")
    rcode = response.rcode()
    name = dns.rcode.to_text(rcode)
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return _unknown(f"{name} from {server}{_extended_errors(response)}", name)
    chain = response.resolve_chaining()
    records: list[Any]
    if rdtype in TYPES:
        every = associations(wire, rdtype)
        sound = sum(len(rrset) for rrset in response.answer if rrset.rdtype == TYPES[rdtype])
        if len(response.errors) > len(every) - sound:
            raise ValueError(str(response.errors[0].exception))
        associated = [each for each in every if each.owner == chain.canonical_name]
        records = [each.values for each in associated]
        ttl = min((each.ttl for each in associated), default=chain.minimum_ttl)
    else:
        plain = _PLAIN.get(rdtype, lambda rdata: rdata.to_text())
        records = [plain(rdata) for rdata in chain.answer or ()]
        ttl = chain.minimum_ttl
    secure = trusted and bool(response.flags & dns.flags.AD)
    canonical = _host(chain.canonical_name)
    ttl = min([ttl, *(alias.ttl for alias in chain.cnames)])
    if records:
        return Answer(Presence.PRESENT, secure, ttl, tuple(sorted(records)), canonical, rcode=name)
    # Without a SOA nothing says how long the absence holds (RFC 2308 section 5).
    stated = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    return Answer(Presence.ABSENT, secure, ttl if stated else 0, canonical=canonical, rcode=name)


def _host(name: dns.name.Name) -> str:
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "TXT": lambda rdata: b"".join(rdata.strings),
    "MX": lambda rdata: (int(rdata.preference), _host(rdata.exchange)),
    "A": lambda rdata: str(rdata.address),
    "AAAA": lambda rdata: str(rdata.address),
    "CNAME": lambda rdata: _host(rdata.target),
}


_CAUSES = {int(code): code.name.replace("_", " ").lower() for code in dns.edns.EDECode}


def _extended_errors(response: dns.message.Message) -> str:
    """What the resolver adds about the cause (RFC 8914), made safe for a log line."""
    said = []
    for option in response.options:
        if isinstance(option, dns.edns.EDEOption):
            number = int(option.code)
            cause = _CAUSES.get(number, "extended error")
            text = f": {option.text}" if option.text else ""
            said.append(f"{cause} ({number}){text}")
    joined = ", ".join(said)
    safe = "".join(letter if letter.isprintable() else "?" for letter in joined)
    return f", {safe[:_LONGEST_REASON]}" if safe else ""
