"""What it costs to know whether a domain is compliant: warm, beside a locked dict; cold, beside dnspython.

The limit of a cold look-up is what a bare loop over dnspython's resolver reaches with the same questions at
the same unbound. A "message" of these cases is one question, or one message with its recipients.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import dns.flags
import dns.resolver

from nta_milter.compliance.domain import ComplianceLookup
from nta_milter.config.load import load
from nta_milter.config.model import LOOPBACK, DnsSettings
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.lookup.cache import Cache, Loaded
from nta_milter.lookup.proof import Proof
from nta_milter.lookup.resolver import DnsResolver
from nta_milter.message.headers import Headers
from nta_milter.message.model import Message, Recipient
from nta_milter.outbound.inspect import inspect
from nta_milter.outbound.plan import plan
from nta_milter.policy.client import Client
from nta_milter.policy.route import Facts, decide
from nta_milter.policy.snapshot import Snapshot, build
from nta_milter.postfix.proof import RoutingProof
from tests.bench.measure import Case, Comparison, Sample
from tests.laboratory.certificates import Certificates
from tests.laboratory.dns import Dns, Zone
from tests.laboratory.names import milter_settings
from tests.laboratory.ports import free_port

DOMAINS = [f"d{number}.bench.test" for number in range(100)]
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
RECORD = '"v=NTA7516-1;startdate=2026-01;enddate=2028-12;provider=x;ntamx=10 {}"'


@contextlib.contextmanager
def cases(folder: Path, scale: int) -> Iterator[list[Case]]:
    """Every case; ``scale`` multiplies the work of a measurement."""
    lines = []
    for domain in DOMAINS:
        name = domain.removesuffix(".bench.test")
        lines += [
            f"{name} TXT {RECORD.format(f'mx.{domain}')}",
            f"mx.{name} A 192.0.2.1",
            f"_25._tcp.mx.{name} TLSA 3 1 1 {'ab' * 32}",
        ]
    with Dns(folder, [Zone("bench.test", lines, ttl=3600)], port=free_port()) as server:
        found = [_hit(scale), _warm(server, scale), _question(server, scale)]
        found += [_cold(server, count) for count in (1, 10, 100)]
        found += [_decided(server, count, scale) for count in (1, 10, 100)]
        snapshot = _snapshot(folder, server)
        found += [_explained(snapshot, count, scale) for count in (1, 10, 100)]
        found.append(_distinct(scale))
        yield found


def _hit(scale: int) -> Case:
    cache: Cache[str, int] = Cache(1000)
    plain, lock = {}, threading.Lock()
    for number, domain in enumerate(DOMAINS):
        cache.get(domain, lambda key, least, number=number: Loaded(number, 1e9))
        plain[domain] = number

    def load(key: str, least: float) -> Loaded[int]:
        raise LookupError(key)

    def hit() -> None:
        for domain in DOMAINS:
            cache.find(domain, load)

    def locked() -> None:
        for domain in DOMAINS:
            with lock:
                plain[domain]

    parties = {"cache": _timed(hit, 100 * scale, 100), "dict": _timed(locked, 100 * scale, 100)}
    return Case("hit, against a locked dict", parties, (Comparison("cache", "dict", 0.25),))


def _warm(server: Dns, scale: int) -> Case:
    lookup = _lookup(server)
    lookup.reports(DOMAINS, AT, 60)
    plain, lock = dict.fromkeys(DOMAINS), threading.Lock()

    def report() -> None:
        for domain in DOMAINS:
            lookup.report(domain, AT)

    def locked() -> None:
        for domain in DOMAINS:
            with lock:
                plain[domain]

    parties = {"report": _timed(report, 50 * scale, 100), "dict": _timed(locked, 50 * scale, 100)}
    return Case("warm report, against a locked dict", parties, (Comparison("report", "dict"),))


def _question(server: Dns, scale: int) -> Case:
    resolver = DnsResolver(server.servers, trusted=LOOPBACK, timeout=1, lifetime=3)
    bare = _bare(server)

    def ours() -> None:
        for domain in DOMAINS:
            resolver.query(domain, "TXT")

    def theirs() -> None:
        for domain in DOMAINS:
            bare.resolve(domain, "TXT", search=False)

    parties = {"ours": _timed(ours, scale, 100), "bare": _timed(theirs, scale, 100)}
    return Case("one question, against dnspython", parties, (Comparison("ours", "bare", 0.8),))


def _cold(server: Dns, recipients: int) -> Case:
    """A message whose recipients' domains are all unknown, against asking the same one after another."""
    lookup = _lookup(server)
    bare = _bare(server)
    domains = DOMAINS[:recipients]

    def ours() -> None:
        for domain in domains:
            lookup.flush(domain)
        lookup.reports(domains, AT, 60)

    def theirs() -> None:
        for domain in domains:
            for name, rdtype in ((domain, "TXT"), (f"mx.{domain}", "A"), (f"_25._tcp.mx.{domain}", "TLSA")):
                bare.resolve(name, rdtype, search=False)

    count = max(1, 20 // recipients)
    parties = {"ours": _timed(ours, count), "bare": _timed(theirs, count)}
    return Case(
        f"message to {recipients} cold domains", parties, (Comparison("ours", "bare"),), each=recipients
    )


def _decided(server: Dns, recipients: int, scale: int) -> Case:
    """Reports and routes for a message whose recipients' domains are all known, against the routes alone."""
    lookup = _lookup(server)
    domains = DOMAINS[:recipients]
    known = lookup.reports(domains, AT, 60)

    def routes_of(reports: object) -> None:
        for domain in domains:
            decide(f"nurse@{domain}", Facts(sensitive=True, compliance=known[domain], outbox=True))

    def both() -> None:
        routes_of(lookup.reports(domains, AT, 60))

    count = max(1, 500 // recipients) * scale
    parties = {"both": _timed(both, count), "routes": _timed(lambda: routes_of(known), count)}
    return Case(
        f"reports and routes, {recipients} warm domains",
        parties,
        (Comparison("both", "routes"),),
        each=recipients,
    )


def _snapshot(folder: Path, server: Dns) -> Snapshot:
    """What a milter of care.test has in hand, its look-ups at this resolver."""
    certificates = Certificates(folder / "certificates")
    paths = {name: str(folder / "milter" / name) for name in ("keys", "certificates", "trust")}
    file = milter_settings(
        folder / "milter",
        certificates,
        {
            "dns": {"servers": list(server.servers)},
            "smime": paths,
            "secrets": {"keys_password": str(folder / "milter" / "keys-password")},
        },
    )
    return build(load(file).settings)


def _explained(snapshot: Snapshot, recipients: int, scale: int) -> Case:
    """A sensitive message inspected, looked up and decided whole, as explain does, against the look at it."""
    addresses = tuple(Recipient(f"nurse@{domain}") for domain in DOMAINS[:recipients])
    to = ", ".join(recipient.address for recipient in addresses)
    headers = Headers().add("From", "doctor@care.test").add("To", to).add("Subject", "Overleg")
    headers = headers.add("Content-Type", "text/plain; charset=utf-8")
    body = memoryview(b"De diagnose is bekend.\r\n" * 40)
    message = Message("doctor@care.test", (), addresses, headers, body)
    client = Client("outbound", login="doctor@care.test")
    proven = RoutingProof((), True, 0, (), 0.0)
    snapshot.compliance.reports(DOMAINS, AT, 60)

    def looked_at() -> None:
        inspect(message, client, snapshot)

    def explained() -> None:
        seen = inspect(message, client, snapshot)
        reports = snapshot.compliance.at_hand(seen.domains, AT)
        assert reports is not None
        plan(seen, reports, client, snapshot, proven, AT)

    count = max(1, 200 // recipients) * scale
    parties = {"whole": _timed(explained, count), "look": _timed(looked_at, count)}
    return Case(
        f"explain and decide, {recipients} warm recipients",
        parties,
        (Comparison("whole", "look"),),
        each=recipients,
    )


class _Everywhere:
    """A resolver that knows every domain at once, so that the cache alone is measured."""

    def query(self, name: str, rdtype: str) -> Answer:
        if rdtype == "TXT":
            record = RECORD.format(f"mx.{name}").strip('"').encode()
            return Answer(Presence.PRESENT, True, 3600, (record,), name)
        if rdtype == "A":
            return Answer(Presence.PRESENT, True, 3600, ("192.0.2.1",), name)
        if rdtype == "TLSA":
            return Answer(Presence.PRESENT, True, 3600, ((3, 1, 1, bytes(32)),), name)
        return Answer(Presence.ABSENT, True, 900, (), name)


def _distinct(scale: int) -> Case:
    """Domains that nobody has asked for before, in a full cache, against those that are in it."""
    entries, domains = 20_000, 100_000 if scale == 1 else 1_000_000
    threads = ThreadPoolExecutor(1)
    lookup = ComplianceLookup(
        _Everywhere(),
        DnsSettings(cache_entries=entries),
        prover=lambda: Proof(True, ""),
        executor=threads,
        hosts=threads,
    )
    begun = _resident()
    numbers = itertools.count()
    for _ in range(2 * entries):
        lookup.report(f"d{next(numbers)}.test", AT)
    full = _resident()
    for _ in range(domains - 2 * entries):
        lookup.report(f"d{next(numbers)}.test", AT)
    held = lookup.counters()["domains"].entries
    note = (
        f"{domains:,} domains: {held:,} kept in {(full - begun) / 1e6:.0f} MB, "
        f"{(_resident() - full) / 1e6:+.1f} MB after it was full"
    )

    def fresh() -> None:
        for _ in range(1000):
            lookup.report(f"d{next(numbers)}.test", AT)

    def known() -> None:
        for _ in range(1000):
            lookup.report("known.test", AT)

    parties = {"fresh": _timed(fresh, scale, 1000), "known": _timed(known, scale, 1000)}
    return Case("distinct domains, cache full", parties, (Comparison("fresh", "known"),), note)


def _resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _lookup(server: Dns) -> ComplianceLookup:
    return ComplianceLookup.from_settings(DnsSettings(servers=server.servers))


def _bare(server: Dns) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [server.address]
    resolver.port = server.port
    resolver.flags = dns.flags.RD | dns.flags.AD
    resolver.use_edns(0, 0, 1232)
    return resolver


def _timed(work: Callable[[], None], count: int, size: int = 1) -> Callable[[], Sample]:
    """Do ``work``, which counts as ``size``, ``count`` times."""

    def take() -> Sample:
        processor, begun = time.process_time(), time.perf_counter()
        for _ in range(count):
            work()
        return Sample(count * size, time.perf_counter() - begun, time.process_time() - processor)

    return take
