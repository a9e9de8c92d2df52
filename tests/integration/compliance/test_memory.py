"""A million distinct domains stay within the bound of the cache."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from nta_milter.compliance.domain import ComplianceLookup
from nta_milter.config.model import DnsSettings
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.lookup.proof import Proof

ENTRIES, DOMAINS = 20_000, int(sys.argv[1])
RECORD = "v=NTA7516-1;startdate=2026-01;enddate=2028-12;provider=Example;ntamx=10 nta.{}"


class Everywhere:
    '''Every other domain has a record and a host, the others have none.'''

    def query(self, name, rdtype):
        if rdtype == "TXT" and name.startswith("d") and int(name[1:].partition(".")[0]) % 2:
            return Answer(Presence.PRESENT, True, 3600, (RECORD.format(name).encode(),), name)
        if rdtype == "A":
            return Answer(Presence.PRESENT, True, 3600, ("192.0.2.1",), name)
        if rdtype == "TLSA":
            return Answer(Presence.PRESENT, True, 3600, ((3, 1, 1, bytes(32)),), name)
        return Answer(Presence.ABSENT, True, 900, (), name)


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


settings = DnsSettings(cache_entries=ENTRIES)
threads = ThreadPoolExecutor(1)
lookup = ComplianceLookup(
    Everywhere(), settings, prover=lambda: Proof(True, ""), executor=threads, hosts=threads
)
at = datetime(2026, 11, 24, tzinfo=UTC)
begun = resident()
for number in range(DOMAINS):
    lookup.report(f"d{number}.test", at)
    if number == 2 * ENTRIES:
        full = resident()
counters = lookup.counters()
entries, hosts = counters["domains"].entries, counters["hosts"].entries
print(entries, hosts, full - begun, resident() - full, counters["domains"].evictions)
"""


@pytest.mark.slow
def test_distinct_domains():
    count = 1_000_000 if os.environ.get("NTA_MILTER_TESTS") == "all" else 150_000
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(count)], capture_output=True, text=True, check=True
    )
    entries, hosts, filled, grown, evictions = map(int, done.stdout.split())
    assert (entries, hosts, evictions) == (20_000, 20_000, count - 20_000)
    assert filled < 100_000_000, "5 kB for a domain and its host is plenty"
    assert grown < filled / 4, "once it is full it does not grow"
