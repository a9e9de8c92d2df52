"""A real validating resolver with zones in every state, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from nta_milter.compliance.domain import ComplianceLookup
from nta_milter.config.model import LOOPBACK, DnsSettings
from nta_milter.lookup.resolver import DnsResolver
from tests.laboratory.dns import Dns, Zone, txt
from tests.laboratory.ports import free_port
from tests.unit.compliance.records import ROWS, START

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
DIGEST = "ab" * 32


def published(*hosts: str) -> str:
    return txt(START + "".join(f";ntamx={(n + 1) * 10} {host}" for n, host in enumerate(hosts)))


def rows() -> list[str]:
    """Each row of the corpus at a name of its own, cut in the middle of words."""
    lines = []
    for number, row in enumerate(ROWS):
        lines.append(f"row{number} A 192.0.2.9")
        piece = (255, 1, 7, 40)[number % 4]
        for text in row.texts:
            lines.append(f"row{number} TXT {txt(text, piece=255 if len(text) > 5000 else piece)}")
    return lines


ZONES = (
    Zone(
        "hospital.test",
        [
            f"@ TXT {published('nta.hospital.test')}",
            "@ TXT " + txt("v=spf1 -all"),
            "@ MX 10 mx.hospital.test.",
            "nta A 192.0.2.1",
            "nta AAAA 2001:db8::1",
            f"_25._tcp.nta TLSA 3 1 1 {DIGEST}",
            "mx A 192.0.2.2",
            f"_25._tcp.mx TLSA 2 0 1 {DIGEST}",
            "six AAAA 2001:db8::6",
            f"_25._tcp.six TLSA 3 1 1 {DIGEST}",
            "bare A 192.0.2.3",
            "pkix A 192.0.2.4",
            f"_25._tcp.pkix TLSA 1 1 1 {DIGEST}",
            "short A 192.0.2.5",
            "_25._tcp.short TLSA 3 1 1 abcd",
            "mixed A 192.0.2.6",
            f"_25._tcp.mixed TLSA 3 1 1 {DIGEST}",
            "_25._tcp.mixed TLSA 3 1 1 abcd",
            "text TXT only",
            "alias CNAME nta",
            f"_25._tcp.alias TLSA 3 1 1 {'cd' * 32}",
            "alias2 CNAME alias.hospital.test.",
            "away CNAME bare",
            f"_25._tcp.away TLSA 3 1 1 {'cd' * 32}",
            "toinsecure CNAME host.citizen.test.",
            "dangling CNAME nothing",
            "loop1 CNAME loop2",
            "loop2 CNAME loop1",
            "tobogus CNAME host.broken.test.",
            "deadtlsa A 192.0.2.7",
            "many A 192.0.2.8",
            *(f"_25._tcp.many TLSA 3 1 1 {n:064x}" for n in range(200)),
        ],
    ),
    Zone("_tcp.deadtlsa.hospital.test", dead=True),
    Zone(
        "care.test",
        [
            f"@ TXT {published()}",
            "@ MX 20 mx.hospital.test.",
            "@ MX 10 bare.hospital.test.",
            f"implicit TXT {published()}",
            "implicit A 192.0.2.1",
            f"_25._tcp.implicit TLSA 3 1 1 {DIGEST}",
            f"null TXT {published()}",
            "null MX 0 .",
            f"manymx TXT {published()}",
            *(f"manymx MX {n} h{n}.hospital.test." for n in range(30)),
            f"oddmx TXT {published()}",
            "oddmx MX 10 under_score.hospital.test.",
            "oddmx MX 20 nta.hospital.test.",
            *(
                f"{name} TXT {published(*(f'{host}.hospital.test' for host in hosts))}"
                for name, hosts in {
                    "first": ("nta", "bare"),
                    "second": ("bare", "nta"),
                    "unknownfirst": ("tobogus", "nta"),
                    "onlyunknown": ("tobogus", "bare"),
                    "deadtlsa": ("deadtlsa",),
                    "none": ("bare", "pkix", "nothing"),
                    "six": ("six",),
                }.items()
            ),
            f"expired TXT {txt(START.replace('2028-12', '2026-10') + ';ntamx=1 nta.hospital.test')}",
            f"later TXT {txt(START.replace('2026-01', '2027-01') + ';ntamx=1 nta.hospital.test')}",
            "bookmark CNAME care.test.",
            "tocitizen CNAME citizen.test.",
            "xn--bcher-kva TXT " + published("nta.hospital.test"),
        ],
    ),
    Zone("rows.test", rows()),
    Zone(
        "citizen.test",
        [
            f"@ TXT {published('nta.hospital.test')}",
            "host A 192.0.2.20",
            f"_25._tcp.host TLSA 3 1 1 {DIGEST}",
            "back CNAME nta.hospital.test.",
            f"plain TXT {txt('v=spf1 -all')}",
        ],
        signed=False,
    ),
    Zone(
        "broken.test",
        [f"@ TXT {published('nta.hospital.test')}", "host A 192.0.2.30", "seen A 192.0.2.31"],
        bogus=True,
    ),
    Zone("late.test", [f"@ TXT {published('nta.hospital.test')}", "seen A 192.0.2.40"], expired=True),
    Zone("dead.test", dead=True),
)


@pytest.fixture(scope="session")
def dns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dns]:
    with Dns(tmp_path_factory.mktemp("dns"), ZONES, port=free_port()) as running:
        yield running


@pytest.fixture
def own_dns(tmp_path) -> Iterator[Dns]:
    """A resolver for one test alone, to change or to stop."""
    zone = Zone("care.test", [f"@ TXT {published('nta.care.test')}", "nta A 192.0.2.1",
                              f"_25._tcp.nta TLSA 3 1 1 {DIGEST}"], ttl=60)  # fmt: skip
    with Dns(tmp_path, [zone], port=free_port()) as running:
        yield running


@pytest.fixture
def resolver(dns: Dns) -> DnsResolver:
    return DnsResolver(dns.servers, trusted=LOOPBACK, timeout=1, lifetime=3)


@pytest.fixture
def lookup(dns: Dns) -> ComplianceLookup:
    return ComplianceLookup.from_settings(DnsSettings(servers=dns.servers))
