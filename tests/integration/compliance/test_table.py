"""The reader of records and the table of Postfix agree about every host of the corpus."""

import re
import subprocess
from pathlib import Path

import pytest

from nta_milter.compliance.record import read_records
from nta_milter.lookup.name import is_host_name
from tests.unit.compliance.records import ROWS

TABLE = Path(__file__).resolve().parents[3] / "packaging" / "postfix" / "nta_route"
NAMED = re.compile(r"ntamx[1=: ]*\d+[ \t]+([^;]+)", re.IGNORECASE)


def looked_up(keys, tmp_path):
    """What the real postmap says of each key; a key without a line break only."""
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    done = subprocess.run(
        ["postmap", "-c", tmp_path, "-q", "-", f"regexp:{TABLE}"],
        input="".join(f"{key}\n" for key in keys).encode(),
        capture_output=True,
    )
    assert done.stderr == b""
    found = {}
    for line in done.stdout.decode().splitlines():
        key, _, value = line.partition("\t")
        found[key] = value
    return found


@pytest.fixture(scope="module")
def hosts():
    """Every host that a row of the corpus names, well or badly."""
    named = set()
    for row in ROWS:
        for text in row.texts:
            named |= {each.strip() for each in NAMED.findall(text.decode("utf-8", "replace"))}
    return {each for each in named if each.isprintable() and each}


def test_every_host_of_a_record_passes_the_table(tmp_path):
    believed = set()
    for row in ROWS:
        record = read_records(row.texts).record
        if record is not None and record.ntamx:
            believed.add(", ".join(f"[{host}]" for _, host in record.ntamx))
    found = looked_up([f"X-Nta-Route: {each}" for each in believed], tmp_path)
    assert found == {f"X-Nta-Route: {each}": f"FILTER nta:{each}" for each in believed}
    assert len(believed) > 5


def test_what_the_reader_refuses_the_table_refuses(hosts, tmp_path):
    # The limit of 253 letters is the reader's alone: no regular expression of the table counts them.
    refused = {host for host in hosts if not is_host_name(host.lower()) and len(host) <= 253}
    refused = {host for host in refused if host.isascii()}
    found = looked_up([f"X-Nta-Route: [{host}]" for host in refused], tmp_path)
    assert set(found.values()) == {"REJECT internal routing error"}
    assert len(found) == len(refused) > 20
