"""The decision over the full cross product of facts, and the combination for a whole message."""

from dataclasses import replace
from itertools import product

import pytest

from nta_milter.compliance.report import Compliance, ComplianceReport, Reason
from nta_milter.policy.route import IN_PLACE, Certificate, Decision, Facts, Route, combine, decide, passed

REPORTS = (
    None,
    *(
        ComplianceReport("hospital.test", status, True, None, (), (Reason("x", "because"),), 60)
        for status in Compliance
    ),
)
WANTED = (None, Route.SMIME, Route.DANE, Route.PORTAL, Route.REJECT)
BOOLEANS = (False, True)


def every_facts():
    for (
        sensitive, internal, inside, null_sender, ciphertext, personal, over_limit, wanted, client,
        compliance, certificate, fault, routing_fault, outbox, portal, factor,
    ) in product(
        BOOLEANS, BOOLEANS, BOOLEANS, BOOLEANS, BOOLEANS, BOOLEANS, ("", "too big"), WANTED, ("", "stranger"),
        REPORTS, Certificate, ("", "expired"), ("", "table is empty"), BOOLEANS, BOOLEANS, BOOLEANS,
    ):  # fmt: skip
        yield Facts(
            sensitive=sensitive,
            internal=internal,
            inside=inside,
            null_sender=null_sender,
            ciphertext=ciphertext,
            personal=personal,
            over_limit=over_limit,
            wanted=wanted,
            rule="r" if wanted else "",
            client=client,
            compliance=compliance,
            certificate=certificate,
            certificate_fault=fault,
            routing_fault=routing_fault,
            outbox=outbox,
            portal=portal,
            factor=factor,
        )


def test_invariant_1_never_in_clear_over_the_cross_product():
    seen = set()
    for facts in every_facts():
        decision = decide("nurse@hospital.test", facts)
        seen.add(decision.route)
        assert decision.reasons
        assert decision.text
        if not facts.sensitive:
            assert decision.route is Route.PASS
            assert not decision.pinned
        elif decision.route is Route.PASS:
            assert (facts.internal and facts.inside and decision.pinned) or (
                facts.ciphertext and not decision.pinned
            )
        elif decision.route is Route.SMIME:
            assert facts.compliance is not None
            assert facts.compliance.status is Compliance.COMPLIANT
            assert not facts.routing_fault
            assert not facts.client
            assert not facts.null_sender
            assert facts.certificate is not Certificate.NONE
            assert facts.certificate is not Certificate.PERSONAL or facts.personal
            assert not facts.over_limit
        elif decision.route is Route.DANE:
            assert facts.outbox
            assert facts.compliance is not None
            assert facts.compliance.status is Compliance.COMPLIANT
            assert not facts.routing_fault
            assert not facts.client
            assert not facts.null_sender
        elif decision.route in (Route.PORTAL, Route.HOLD):
            assert facts.portal
            assert facts.factor is (decision.route is Route.PORTAL)
            assert not facts.client
            assert not facts.null_sender
    assert seen == set(Route)


def test_invariant_7_unknown_is_not_absent():
    for facts in every_facts():
        report = facts.compliance
        if report is not None and report.status is Compliance.UNKNOWN:
            decision = decide("nurse@hospital.test", facts)
            codes = {reason.code for reason in decision.reasons}
            assert "not-compliant" not in codes
            assert decision.route is not Route.SMIME


def test_an_exempted_message_passes_and_says_by_which_rule():
    decision = decide("a@b.test", Facts(sensitive=False, exempted="newsletters"))
    assert decision.route is Route.PASS
    assert "newsletters" in decision.text


NOT_COMPLIANT = ComplianceReport("citizen.test", Compliance.NOT_COMPLIANT, False, None, (), (), 60)
ABSENT = replace(NOT_COMPLIANT, reasons=(Reason("domain-absent", "the domain does not exist"),))


@pytest.mark.parametrize(
    ("facts", "route", "code"),
    [
        (Facts(sensitive=True, compliance=NOT_COMPLIANT), Route.REJECT, "no-portal"),
        (Facts(sensitive=True, compliance=NOT_COMPLIANT, portal=True), Route.HOLD, "no-factor"),
        (
            Facts(sensitive=True, compliance=NOT_COMPLIANT, portal=True, factor=True),
            Route.PORTAL,
            "not-compliant",
        ),
        (
            Facts(sensitive=True, compliance=ABSENT, portal=True, factor=True, over_limit="too big"),
            Route.REJECT,
            "domain-absent",
        ),
    ],
)
def test_what_a_site_has_decides_between_portal_hold_and_reject(facts, route, code):
    decision = decide("jan@citizen.test", facts)
    assert decision.route is route
    assert decision.reasons[-1].code == code


def decision(route, pinned=False):
    return Decision("a@b.test", route, (Reason(route.value, route.value),), pinned)


PASS, PINNED = decision(Route.PASS), decision(Route.PASS, pinned=True)
SMIME, DANE, PORTAL, HOLD = map(decision, (Route.SMIME, Route.DANE, Route.PORTAL, Route.HOLD))
REJECT, TEMPFAIL = decision(Route.REJECT), decision(Route.TEMPFAIL)


@pytest.mark.parametrize(
    ("decisions", "one_copy", "route", "apart"),
    [
        ([], True, Route.PASS, False),
        ([PASS], True, Route.PASS, False),
        ([PASS, PASS], False, Route.PASS, False),
        ([PINNED, PINNED], False, Route.PASS, False),
        ([PASS, PINNED], False, Route.PASS, True),
        ([SMIME, SMIME], True, Route.SMIME, False),
        ([SMIME, SMIME], False, Route.SMIME, True),
        ([PORTAL], True, Route.PORTAL, False),
        ([PORTAL, PORTAL], False, Route.PORTAL, True),
        ([PORTAL, PORTAL], True, Route.PORTAL, True),
        ([DANE], True, Route.DANE, True),
        ([HOLD], True, Route.HOLD, True),
        ([REJECT, REJECT], False, Route.REJECT, False),
        ([TEMPFAIL, TEMPFAIL], False, Route.TEMPFAIL, False),
        ([TEMPFAIL, REJECT], False, Route.TEMPFAIL, False),
        ([REJECT, SMIME], False, Route.REJECT, True),
        ([PASS, SMIME], False, Route.SMIME, True),
        ([PASS, TEMPFAIL], False, Route.TEMPFAIL, True),
    ],
)
def test_one_reply_for_all_recipients(decisions, one_copy, route, apart):
    combined = combine(decisions, one_copy=one_copy, outbox=True)
    assert (combined.route, combined.apart) == (route, apart)
    without = combine(decisions, one_copy=one_copy, outbox=False)
    assert not without.apart
    assert without.route is (Route.TEMPFAIL if apart else route)
    assert without.route in IN_PLACE


def test_a_pinned_pass_stays_pinned():
    assert combine([PINNED] * 2, one_copy=False, outbox=True).pinned


def test_mixed_waiting_names_only_what_it_waits_for():
    waiting = Decision("x@y.test", Route.TEMPFAIL, (Reason("compliance-unknown", "time-out"),))
    assert combine([PASS, waiting], one_copy=False, outbox=False).text == "time-out"


def test_what_is_not_sensitive_goes_over_dane_only_where_all_mail_shall_and_can():
    for all_mail, internal, report, fault, exempted in product(
        BOOLEANS, BOOLEANS, REPORTS, ("", "table is empty"), ("", "newsletters")
    ):
        facts = Facts(
            sensitive=False,
            exempted=exempted,
            internal=internal,
            compliance=report,
            routing_fault=fault,
            all_mail=all_mail,
        )
        decision = decide("nurse@hospital.test", facts)
        compliant = report is not None and report.status is Compliance.COMPLIANT
        wanted = Route.DANE if all_mail and compliant and not internal and not fault else Route.PASS
        assert decision.route is wanted
        assert decision.reasons[0].code == ("exempt" if exempted else "not-sensitive")
        assert passed(decision).route is Route.PASS
        assert not decision.pinned
