"""The decision over the full cross product of facts, and the combination for a whole message."""

from itertools import product

import pytest

from nta_milter.compliance.report import Compliance, ComplianceReport, Reason
from nta_milter.policy.route import BUILT, Certificate, Decision, Facts, Route, combine, decide

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
        compliance, certificate, fault, routing_fault,
    ) in product(
        BOOLEANS, BOOLEANS, BOOLEANS, BOOLEANS, BOOLEANS, BOOLEANS, ("", "too big"), WANTED, ("", "stranger"),
        REPORTS, Certificate, ("", "expired"), ("", "table is empty"),
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
        )


def test_invariant_1_never_in_clear_over_the_cross_product():
    seen = set()
    for facts in every_facts():
        decision = decide("nurse@hospital.test", facts)
        seen.add(decision.route)
        assert decision.route in BUILT
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
    assert seen == BUILT


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


def test_a_route_that_is_not_built_waits_and_says_which_it_needs():
    report = ComplianceReport("citizen.test", Compliance.NOT_COMPLIANT, False, None, (), (), 60)
    decision = decide("jan@citizen.test", Facts(sensitive=True, compliance=report))
    assert decision.route is Route.TEMPFAIL
    assert [reason.code for reason in decision.reasons] == ["not-compliant", "route-not-built"]
    assert "portal" in decision.text


def decision(route, pinned=False):
    return Decision("a@b.test", route, (Reason(route.value, route.value),), pinned)


@pytest.mark.parametrize(
    ("decisions", "together", "route"),
    [
        ([], True, Route.PASS),
        ([decision(Route.PASS)], True, Route.PASS),
        ([decision(Route.SMIME), decision(Route.SMIME)], True, Route.SMIME),
        ([decision(Route.SMIME), decision(Route.SMIME)], False, Route.TEMPFAIL),
        ([decision(Route.REJECT), decision(Route.REJECT)], True, Route.REJECT),
        ([decision(Route.REJECT), decision(Route.SMIME)], True, Route.TEMPFAIL),
        ([decision(Route.PASS), decision(Route.SMIME)], True, Route.TEMPFAIL),
        ([decision(Route.PASS), decision(Route.PASS, pinned=True)], True, Route.TEMPFAIL),
        ([decision(Route.TEMPFAIL), decision(Route.REJECT)], True, Route.TEMPFAIL),
    ],
)
def test_one_reply_for_all_recipients(decisions, together, route):
    combined = combine(decisions, together)
    assert combined.route is route


def test_a_pinned_pass_stays_pinned():
    combined = combine([decision(Route.PASS, pinned=True)] * 2, True)
    assert combined.pinned


def test_mixed_waiting_names_only_what_it_waits_for():
    waiting = Decision("x@y.test", Route.TEMPFAIL, (Reason("compliance-unknown", "time-out"),))
    combined = combine([decision(Route.PASS), waiting], True)
    assert combined.text == "time-out"
