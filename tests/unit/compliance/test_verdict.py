"""The answer at one moment: the months, and the cross product of what may be known."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.compliance.codes import Code, Kind
from nta_milter.compliance.reasons import explanation, reason
from nta_milter.compliance.report import Compliance, HostReport, NtaRecord
from nta_milter.compliance.verdict import Facts, judge, unknown

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
MIDDLE = datetime(2026, 11, 24, 12, tzinfo=UTC)
GOOD = HostReport("good.test", True, True, (), ())
BAD = HostReport("bad.test", False, False, (), (reason(Code.TLSA_ABSENT),))
OPEN = HostReport("open.test", False, None, (), (reason(Code.TLSA_UNKNOWN),))


def facts(start="2026-01", end="2028-12", hosts=(GOOD,), reasons=(), ttl=300, record=True):
    read = NtaRecord("NTA7516-1", start, end, "x", ()) if record else None
    return Facts("care.test", True, read, tuple(hosts), tuple(reasons), ttl)


def codes(verdict):
    return [each.code for each in verdict.report.reasons]


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("2025-12-31T22:59:59Z", "record-not-started"),
        ("2025-12-31T23:00:00Z", None),
        ("2026-06-15T00:00:00Z", None),
        ("2026-08-31T21:59:59Z", None),
        ("2026-08-31T22:00:00Z", "record-expired"),
        ("2027-01-01T00:00:00Z", "record-expired"),
        ("2020-01-01T00:00:00Z", "record-not-started"),
    ],
)
def test_months_begin_and_end_in_the_time_zone_of_the_norm(at, code):
    verdict = judge(facts("2026-01", "2026-08"), datetime.fromisoformat(at), AMSTERDAM)
    assert codes(verdict) == ([code] if code else [])
    assert verdict.report.status is (Compliance.NOT_COMPLIANT if code else Compliance.COMPLIANT)


def test_another_time_zone_has_other_months():
    at = datetime(2026, 8, 31, 22, 30, tzinfo=UTC)
    assert judge(facts("2026-01", "2026-08"), at, UTC).report.status is Compliance.COMPLIANT


def test_the_end_of_december_is_the_begin_of_january():
    verdict = judge(facts(end="2026-12"), MIDDLE, UTC)
    assert verdict.until == datetime(2027, 1, 1, tzinfo=UTC)


def test_no_report_outlives_the_month_of_the_enddate():
    at = datetime(2026, 11, 30, 22, 59, 30, tzinfo=UTC)
    assert judge(facts(end="2026-11", ttl=300), at, AMSTERDAM).report.ttl == 30


def test_nor_the_moment_at_which_a_record_begins_to_count():
    at = datetime(2026, 11, 30, 22, 59, 50, tzinfo=UTC)
    assert judge(facts("2026-12", ttl=300), at, AMSTERDAM).report.ttl == 10


@pytest.mark.parametrize("end", ["9999-12", "9999-11", "9998-12"])
@pytest.mark.parametrize("start", ["0001-01", "0001-12", "0002-01"])
@pytest.mark.parametrize("zone", [AMSTERDAM, UTC, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12")])
def test_the_ends_of_time(start, end, zone):
    assert judge(facts(start, end), MIDDLE, zone).report.status is Compliance.COMPLIANT


years = st.integers(1, 9999)
months = st.builds("{:04}-{:02}".format, years, st.integers(1, 12))


@given(months, months, st.datetimes(timezones=st.just(UTC)), st.sampled_from([UTC, AMSTERDAM]))
def test_a_verdict_holds_in_its_own_time_and_not_outside(start, end, at, zone):
    known = facts(min(start, end), max(start, end))
    verdict = judge(known, at, zone)
    assert verdict.since <= at < verdict.until or verdict.until == datetime.max.replace(tzinfo=UTC)
    assert judge(known, verdict.since, zone).report.status is verdict.report.status
    if verdict.since > datetime.min.replace(tzinfo=UTC):
        before = judge(known, verdict.since - timedelta(microseconds=1), zone)
        assert before.report.status is not verdict.report.status
    assert 0 <= verdict.report.ttl <= known.ttl


REASONS = {
    "nothing": (),
    "remark": (reason(Code.PROVIDER_MISSING),),
    "refusal": (reason(Code.RECORD_INSECURE),),
    "unknown": (reason(Code.MX_UNKNOWN),),
    "both": (reason(Code.MX_UNKNOWN), reason(Code.RECORD_INSECURE)),
}
HOSTS = [hosts for count in range(4) for hosts in itertools.combinations((GOOD, BAD, OPEN), count)]


@pytest.mark.parametrize(
    ("known", "hosts", "end"), list(itertools.product(REASONS, HOSTS, ["2026-10", "2028-12"]))
)
def test_the_cross_product_of_what_may_be_known(known, hosts, end):
    verdict = judge(facts(end=end, hosts=hosts, reasons=REASONS[known]), MIDDLE, AMSTERDAM)
    none_usable = GOOD not in hosts and OPEN not in hosts
    if known in ("refusal", "both") or end == "2026-10" or (none_usable and (hosts or known != "unknown")):
        expected = Compliance.NOT_COMPLIANT
    elif known == "unknown" or GOOD not in hosts:
        expected = Compliance.UNKNOWN
    else:
        expected = Compliance.COMPLIANT
    assert verdict.report.status is expected
    kinds = [explanation(each).kind for each in verdict.report.reasons]
    assert kinds == sorted(kinds, key=list(Kind).index), "what matters most is said first"
    if expected is not Compliance.COMPLIANT:
        assert kinds[0] is (Kind.REFUSAL if expected is Compliance.NOT_COMPLIANT else Kind.UNKNOWN)


def test_without_a_record_the_date_does_not_matter():
    known = facts(record=False, reasons=(reason(Code.RECORD_ABSENT),), hosts=())
    verdict = judge(known, MIDDLE, AMSTERDAM)
    assert (verdict.report.status, verdict.report.ttl) == (Compliance.NOT_COMPLIANT, 300)
    assert verdict.since < datetime(1000, 1, 1, tzinfo=UTC) < datetime(9000, 1, 1, tzinfo=UTC) < verdict.until


@pytest.mark.parametrize(
    ("hosts", "reasons", "settled"),
    [
        ((GOOD, OPEN), (), True),
        ((BAD, OPEN), (), False),
        ((BAD,), (), True),
        ((), (), True),
        ((), (reason(Code.RECORD_UNKNOWN),), False),
        ((GOOD,), (reason(Code.MX_UNKNOWN),), False),
        ((GOOD,), (reason(Code.PROVIDER_MISSING),), True),
    ],
)
def test_facts_are_settled_when_no_answer_is_missing_that_matters(hosts, reasons, settled):
    assert facts(hosts=hosts, reasons=reasons).settled is settled


def test_nothing_known_is_unknown():
    report = unknown("care.test", reason(Code.DEADLINE))
    assert (report.status, report.secure, report.record, report.ttl) == (Compliance.UNKNOWN, None, None, 0)
