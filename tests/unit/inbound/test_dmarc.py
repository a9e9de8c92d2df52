"""DMARC over the whole product of what SPF and DKIM can say."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.inbound.dmarc import Author, Policy, author, find_policy, judge
from nta_milter.inbound.organisation import organisational_domain
from nta_milter.inbound.questions import QUESTION_LIMIT, Questions
from nta_milter.inbound.result import Result
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.message.headers import Headers

ABSENT = Answer(Presence.ABSENT, True, 60)


class Zone:
    """A resolver over a dictionary of TXT records; what is None there is not known."""

    def __init__(self, **records):
        self.records = records
        self.asked = []

    def query(self, name, rdtype):
        self.asked.append(name)
        found = self.records.get(name.replace(".", "_"), ())
        if found is None:
            return Answer(Presence.UNKNOWN, False, 0, reason="SERVFAIL")
        return Answer(Presence.PRESENT, True, 60, tuple(sorted(found))) if found else ABSENT


def policy(domain, zone):
    return find_policy(domain, organisational_domain(domain), Questions(zone, 10))


@pytest.mark.parametrize(
    ("records", "asked"),
    [
        ([b"v=DMARC1; p=reject"], "reject"),
        ([b"v=DMARC1 ;p = REJECT ;"], "reject"),
        ([b"v=spf1 -all", b"v=DMARC1; p=quarantine"], "quarantine"),
        ([b"v=DMARC1; p=reject", b"v=DMARC1; p=none"], ""),
        ([b"v=DMARC1"], ""),
        ([b"v=DMARC1; rua=mailto:a@care.test"], "none"),
        ([b"v=DMARC1; p=nonsense; rua=mailto:a@care.test"], "none"),
        ([b"v=dmarc1; p=reject"], ""),
        ([b"p=reject; v=DMARC1"], ""),
        ([b"v=DMARC10; p=reject"], ""),
        ([b"v=DMARC1; p=reject; p=none"], "reject"),
        ([b"v=DMARC1; p=reject" + b" " * 5000], ""),
        ([b"\xff\xfe"], ""),
        ([], ""),
    ],
)
def test_a_policy_is_one_record_that_begins_with_the_version(records, asked):
    assert policy("care.test", Zone(_dmarc_care_test=records)).request == asked


def test_a_sub_domain_has_the_policy_of_its_organisation():
    zone = Zone(_dmarc_care_test=[b"v=DMARC1; p=none; sp=reject; adkim=s"])
    assert policy("a.b.care.test", zone) == Policy("reject", strict_dkim=True)
    assert zone.asked == ["_dmarc.a.b.care.test", "_dmarc.care.test"]
    assert policy("care.test", zone).request == "none"


@pytest.mark.parametrize("unknown", ["_dmarc_a_care_test", "_dmarc_care_test"])
def test_what_dns_does_not_tell_is_unknown_not_none(unknown):
    zone = Zone(**{"_dmarc_care_test": [b"v=DMARC1; p=reject"], unknown: None})
    assert policy("a.care.test", zone).unknown == "SERVFAIL"


@pytest.mark.parametrize(
    ("domain", "organisation"),
    [
        ("care.test", "care.test"),
        ("a.b.care.test", "care.test"),
        ("test", "test"),
        ("a.ziekenhuis.nl", "ziekenhuis.nl"),
        ("a.b.co.uk", "b.co.uk"),
        ("co.uk", "co.uk"),
        ("x.www.ck", "www.ck"),
    ],
)
def test_an_organisation_is_one_label_below_the_public_suffix(domain, organisation):
    assert organisational_domain(domain) == organisation


RESULTS = [
    (value, domain)
    for value, domain in itertools.product(
        ("pass", "fail", "none", "temperror"), ("care.test", "mail.care.test", "evil.test", "")
    )
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("spf", RESULTS)
@pytest.mark.parametrize("dkim", RESULTS)
def test_one_aligned_pass_suffices_and_nothing_else_does(spf, dkim, strict):
    verdict = judge(
        Author("care.test"),
        Policy("reject", strict, strict),
        Result("spf", spf[0], "", (), spf[1]),
        [Result("dkim", "fail", "", (), "care.test"), Result("dkim", dkim[0], "", (), dkim[1])],
        organisational_domain,
    )
    good = {"care.test"} if strict else {"care.test", "mail.care.test"}
    values = {value for value, domain in (spf, dkim) if domain in good}
    wanted = "pass" if "pass" in values else "temperror" if "temperror" in values else "fail"
    assert verdict.value == wanted


@pytest.mark.parametrize(
    ("fields", "domain"),
    [
        (b"From: jan@care.test\r\n", "care.test"),
        (b"From: Jan <jan@CARE.test>\r\n", "care.test"),
        (b"From: a@care.test, b@care.test\r\n", "care.test"),
        ("From: jan@zörg.test\r\n".encode(), "xn--zrg-sna.test"),
        (b"From: a@care.test, b@evil.test\r\n", ""),
        (b"From: a@care.test\r\nFrom: a@care.test\r\n", ""),
        (b'From: "a@care.test" <b@evil.test\r\n', ""),
        (b"From: jan\r\n", ""),
        (b"To: jan@care.test\r\n", ""),
        (b"From: jan@[192.0.2.1]\r\n", ""),
    ],
)
def test_the_author_is_one_domain(fields, domain):
    found = author(Headers.parse(fields))
    assert found.domain == domain
    assert bool(found.fault) != bool(domain)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_record_and_no_from_stops_it(record, field):
    zone = Zone(_dmarc_care_test=[b"v=DMARC1;" + record])
    found = author(Headers.parse(b"From: " + field + b"\r\n"))
    verdict = judge(found, policy("care.test", zone), Result("spf", "none"), (), organisational_domain)
    assert verdict.value in ("none", "fail", "permerror")


def test_questions_are_asked_once_and_not_without_end():
    zone, now = Zone(), [0.0]
    questions = Questions(zone, 10, clock=lambda: now[0])
    for _ in range(3):
        questions.ask("A.test", "TXT")
        questions.ask("a.test", "TXT")
    assert zone.asked == ["a.test"]
    for number in range(QUESTION_LIMIT + 50):
        last = questions.ask(f"n{number}.test", "A")
    assert len(zone.asked) == QUESTION_LIMIT
    assert (last.presence, last.reason) == (Presence.UNKNOWN, f"more than {QUESTION_LIMIT} questions")
    late = Questions(zone, 10, clock=lambda: now[0])
    now[0] = 10.0
    assert late.ask("a.test", "TXT").reason == "no time was left to ask"
