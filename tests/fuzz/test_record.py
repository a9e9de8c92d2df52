"""Records: whatever a TXT record holds, it is read or refused with a reason, and names hosts only."""

import re

from hypothesis import given
from hypothesis import strategies as st

from nta_milter.compliance.record import read_records
from nta_milter.postfix.route import to_hosts
from tests.fuzz.mutation import many, mutated

VALID = b"v=NTA7516-1;startdate=2024-01;enddate=2099-12;provider=Care;ntamx=10 nta.hospital.test"
SEEDS = (VALID, VALID + b";ntamx=20 nta2.hospital.test", VALID.replace(b";", b" ; "), b"v=spf1 -all")
HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def checked(texts):
    reading = read_records(texts)
    assert reading.record is not None or reading.reasons
    assert all(reason.code and reason.text.isprintable() for reason in reading.reasons)
    if reading.record is not None:
        assert re.fullmatch(r"\d{4}-\d{2}", reading.record.startdate)
        hosts = [host for _, host in reading.record.ntamx]
        assert all(HOST.fullmatch(host) for host in hosts)
        assert "\n" not in to_hosts(hosts)


def test_the_seed_is_a_record():
    assert read_records([VALID]).record.ntamx == ((10, "nta.hospital.test"),)


@many
@given(st.lists(mutated(SEEDS), max_size=3))
def test_damaged_records_are_read_or_refused_with_a_reason(texts):
    checked(texts)


@given(st.lists(st.one_of(st.binary(max_size=300), st.just(VALID)), max_size=3))
def test_any_texts_are_read_or_refused_with_a_reason(texts):
    checked(texts)
