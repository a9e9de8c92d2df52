"""The grammar of the record, rule by rule and row by row."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.compliance.codes import Code, Kind
from nta_milter.compliance.explanations import EXPLANATIONS
from nta_milter.compliance.reasons import explanation
from nta_milter.compliance.record import LENGTH_LIMIT, PREFIX, read_records
from nta_milter.compliance.report import NtaRecord
from nta_milter.compliance.versions import VERSIONS
from nta_milter.compliance.versions.nta7516_1 import HOST_LIMIT, REASON_LIMIT
from nta_milter.lookup.name import is_host_name
from tests.unit.compliance.records import GOOD, ROWS, START, ntamx

TABLE_HOST = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""What the shipped Postfix table nta_route lets through as a host."""


def codes(reading):
    return tuple(reason.code for reason in reading.reasons)


def refusals(reading):
    return [reason for reason in reading.reasons if explanation(reason).kind is Kind.REFUSAL]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_row(row):
    reading = read_records(row.texts)
    assert sorted(codes(reading)) == sorted(row.codes)
    assert (reading.record is not None) is row.believed


def test_the_corpus_is_large_and_its_names_differ():
    assert len({row.name for row in ROWS}) == len(ROWS) >= 80


def test_the_corpus_meets_every_reason_about_a_record():
    about_records = {
        code.value
        for code in Code
        if code.value.split("-")[0]
        in ("record", "startdate", "enddate", "dates", "provider", "field", "ntamx")
    }
    need_more_than_text = {
        "record-unknown",
        "record-insecure",
        "record-not-started",
        "record-expired",
        "record-ends-soon",
    }
    met = {code for row in ROWS for code in row.codes}
    assert met == about_records - need_more_than_text


def test_every_value_is_read():
    assert read_records([GOOD.encode()]).record == NtaRecord(
        "NTA7516-1", "2026-01", "2028-12", "Example", ((10, "nta.hospital.test"),)
    )


def test_the_lowest_preference_comes_first_and_equal_ones_stay_in_order():
    text = f"{START};ntamx=20 d.test;ntamx=10 c.test;ntamx=10 B.test;ntamx=5 a.test"
    assert read_records([text.encode()]).record.ntamx == (
        (5, "a.test"),
        (10, "c.test"),
        (10, "b.test"),
        (20, "d.test"),
    )


def test_of_a_host_named_twice_the_lowest_preference_counts():
    record = read_records([f"{START};ntamx=20 a.test;ntamx=15 b.test;ntamx=10 A.TEST".encode()]).record
    assert record.ntamx == ((10, "a.test"), (15, "b.test"))


def test_a_provider_may_hold_separators():
    text = GOOD.replace("Example", "a=b: c")
    assert read_records([text.encode()]).record.provider == "a=b: c"


def test_a_missing_provider_is_none():
    assert read_records([GOOD.replace("Example", "").encode()]).record.provider is None


def test_every_fault_is_named_with_what_was_written():
    reading = read_records([b"v=NTA7516-1;startdate=soon;ntamx=10 host.;ntamx=x"])
    text = " / ".join(reason.text for reason in reading.reasons)
    for said in ("soon", "host.", "ntamx=x", "there is no enddate"):
        assert said in text


def test_a_record_of_faults_names_only_some():
    text = START + "".join(f";ntamx={letter}" for letter in string.ascii_letters)
    assert len(read_records([text.encode()]).reasons) == REASON_LIMIT


def test_a_record_of_unknown_fields_names_only_some():
    text = START + "".join(f";x{n}=" for n in range(200))
    assert len(read_records([text.encode()]).reasons) == REASON_LIMIT


def test_the_order_of_records_does_not_matter():
    texts = [GOOD.encode(), b"v=spf1 -all", b"v=NTA7516", b"v=NTA7516-7", START.encode()]
    assert read_records(texts) == read_records(reversed(texts))


def test_this_version_is_known_and_each_has_its_own_place():
    assert list(VERSIONS) == ["-1"]


PARTS = (
    "startdate=2026-01",
    "startdate",
    "enddate:2028-12",
    "enddate=",
    "provider=x",
    "ntamx=10 a.test",
    "ntamx=10 a.test.",
    "ntamx=1 -a.test",
    "ntamx=99999 a.test",
    "ntamx=",
    " ",
    "=",
    ":",
    "\0",
    "é",
)
field_text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
anything = st.one_of(
    st.binary(max_size=300),
    st.lists(field_text, max_size=8).map(lambda parts: ("v=NTA7516-1;" + ";".join(parts)).encode()),
    st.lists(
        st.sampled_from(PARTS),
        max_size=12,
    ).map(lambda parts: ("v=NTA7516-1;" + ";".join(parts)).encode()),
)


@given(st.lists(anything, max_size=4))
def test_whatever_is_published_is_a_record_or_a_reason(texts):
    reading = read_records(texts)
    assert (reading.record is None) is bool(refusals(reading))
    assert len(reading.reasons) <= 2 * REASON_LIMIT + len(texts)
    assert all(reason.text.isprintable() and len(reason.text) < 400 for reason in reading.reasons)
    if reading.record is not None:
        assert reading.record.startdate <= reading.record.enddate
        assert len(reading.record.ntamx) <= HOST_LIMIT
        assert all(TABLE_HOST.fullmatch(host) for _, host in reading.record.ntamx)
        assert all(0 <= preference <= 65535 for preference, _ in reading.record.ntamx)


@given(st.binary(max_size=60))
def test_no_host_is_believed_that_the_table_of_postfix_would_refuse(host):
    record = read_records([ntamx("10 ").encode() + host]).record
    assert record is None or TABLE_HOST.fullmatch(record.ntamx[0][1])


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
hosts = st.builds(
    lambda parts, top: ".".join([*parts, top]), st.lists(labels, min_size=1, max_size=4), st.just("test")
)
months = st.builds(lambda year, month: f"{year:04}-{month:02}", st.integers(1, 9999), st.integers(1, 12))
records = st.builds(
    lambda a, b, provider, ntamx: NtaRecord(
        "NTA7516-1",
        min(a, b),
        max(a, b),
        provider.strip() or None,
        tuple(sorted({host: n for n, host in ntamx}.items(), key=lambda each: each[1])),
    ),
    months,
    months,
    st.text(st.characters(min_codepoint=33, max_codepoint=126, blacklist_characters=';"'), max_size=30),
    st.lists(st.tuples(st.integers(0, 65535), hosts), max_size=10),
)


@given(records, st.sampled_from("=:"), st.sampled_from(["", " ", "\t", "  "]), st.booleans())
def test_what_is_written_by_the_rules_is_read_back(record, separator, blank, upper):
    between = f"{blank};{blank}"
    fields = [f"startdate{separator}{record.startdate}", f"enddate{blank}{separator}{record.enddate}"]
    if record.provider:
        fields.append(f"provider{separator}{record.provider}")
    fields += [
        f"ntamx{separator}{preference} {host.upper() if upper else host}" for host, preference in record.ntamx
    ]
    text = between.join(["v=NTA7516-1", *fields])
    if len(text) > LENGTH_LIMIT:
        return
    found = read_records([text.encode()]).record
    expected = tuple((preference, host) for host, preference in record.ntamx)
    assert found == NtaRecord("NTA7516-1", record.startdate, record.enddate, record.provider, expected)


@given(st.text(max_size=80))
def test_a_host_name_is_what_the_table_lets_through(text):
    assert is_host_name(text) is bool(len(text) <= 253 and TABLE_HOST.fullmatch(text))


def test_the_prefix_is_recognised_in_any_case():
    assert all(
        codes(read_records([prefix.encode() + b"-9"])) == ("record-version-unsupported",)
        for prefix in ("v=NTA7516", "V=nta7516", "v=NtA7516")
    )
    assert PREFIX.islower()
    assert EXPLANATIONS[Code.RECORD_DRAFT].kind is Kind.REFUSAL
