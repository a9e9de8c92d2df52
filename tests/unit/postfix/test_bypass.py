"""Ways around a route, each of which led mail in clear past it on a real Postfix, asked of real postconf."""

import pytest

from nta_milter.postfix.bypass import diversions
from nta_milter.postfix.configuration import Configuration, Postfix
from nta_milter.postfix.proof import RoutingProver, prove
from tests.unit.postfix.conftest import cold, edit

OURS = "nta-milter/milter.sock"
JAN = "jan@citizen.test"


def proof(folder):
    return prove(Postfix(cold(folder)), 0.0, ours=OURS, copies=True)


def add(folder, text):
    with (folder / "main.cf").open("a") as main:
        main.write(text + "\n")


@pytest.mark.parametrize(
    ("added", "named"),
    [
        (
            f"smtpd_sender_restrictions = check_sender_access inline:{{ {{x@care.test = REDIRECT {JAN}}} }}",
            "smtpd_sender_restrictions: REDIRECT jan@citizen.test",
        ),
        (
            f"smtpd_data_restrictions = check_sender_access inline:{{ {{x@care.test = bcc {JAN}}} }}",
            "smtpd_data_restrictions: BCC",
        ),
        (
            "smtpd_restriction_classes = own\n"
            f"own = check_client_access inline:{{ {{192.0.2.1 = REDIRECT {JAN}}} }}\n"
            "smtpd_end_of_data_restrictions = own",
            "smtpd_end_of_data_restrictions: REDIRECT",
        ),
        (f"header_checks = regexp:{{ {{/^Subject:/ REDIRECT {JAN}}} }}", "header_checks: REDIRECT"),
        (f"body_checks = regexp:{{ {{/x/ REDIRECT {JAN}}} }}", "body_checks: REDIRECT"),
        ("nta_header_checks = regexp:{ {/^X-A:/ FILTER smtp:[192.0.2.1]} }", "FILTER smtp:[192.0.2.1]"),
        ("nta_header_checks = regexp:{ {/^X-A:/ FILTER smtp.slow:} }", "FILTER smtp.slow:"),
        ("nta_header_checks = regexp:{ {/^X-A: (.*)/ FILTER $$1} }", "FILTER $1"),
        ("header_checks = regexp:{ {/^X-A: (.*)/ REDIRECT $${1}} }", "REDIRECT ${1"),
    ],
)
def test_invariant_1_an_action_that_leads_mail_elsewhere_is_a_fault(configuration, added, named):
    add(configuration, added)
    assert any(named in fault for fault in proof(configuration).faults)


def test_invariant_1_an_action_in_a_file_is_seen_and_its_change_too(configuration):
    (configuration / "table").write_text("x@care.test OK\n")
    add(configuration, f"smtpd_sender_restrictions = check_sender_access texthash:{configuration}/table")
    prover = RoutingProver(cold(configuration), 3600, ours=OURS, copies=True)
    assert prover.current().proven
    (configuration / "table").write_text(f"x@care.test REDIRECT {JAN}\n")
    assert "REDIRECT" in prover.current().faults[0]


@pytest.mark.parametrize(
    "harmless",
    [
        "smtpd_sender_restrictions = check_sender_access inline:{ {x@y.test = REJECT REDIRECT is no word} }",
        "header_checks = regexp:{ {/^Subject: FILTER me/ WARN} }",
        "header_checks = regexp:{ {/^Subject:/ FILTER scan:[127.0.0.1]:10024} }",
    ],
)
def test_other_actions_are_none(configuration, harmless):
    add(configuration, harmless)
    assert proof(configuration).faults == ()


def test_a_filter_of_a_milters_field_takes_the_place_of_the_route(configuration):
    edit(configuration / "nta_route", r"\A", "/^DKIM-Signature:/ FILTER smtp:[192.0.2.1]\n")
    assert any("milter_header_checks: FILTER smtp:" in fault for fault in proof(configuration).faults)


@pytest.mark.parametrize(
    ("pattern", "replacement", "named"),
    [
        (
            r"-o milter_macro_defaults=nta_side=outbound\n  -o receive",
            "-o milter_macro_defaults=nta_side=outbound\n  -o milter_default_action=accept\n  -o receive",
            "submission/inet: milter_default_action is 'accept'",
        ),
        (
            r"smtpd_milters=\$nta_milter,",
            "smtpd_milters={unix:nta-milter/milter.sock,default_action=accept},",
            "lets mail pass without nta-milter",
        ),
        (
            r"non_smtpd_milters=.*$",
            "{ non_smtpd_milters = { unix:nta-milter/milter.sock, default_action=accept } }",
            "lets mail pass without nta-milter",
        ),
        (
            r"-o smtpd_milter_maps=$",
            "-o smtpd_milter_maps=inline:{192.0.2.1=DISABLE}",
            "submission/inet: smtpd_milter_maps is 'inline:{192.0.2.1=DISABLE}'",
        ),
        (
            r"-o receive_override_options=$",
            "-o receive_override_options=no_header_body_checks",
            "pickup/unix: receive_override_options is 'no_header_body_checks'",
        ),
        (
            r"-o receive_override_options=$",
            "-o receive_override_options=no_milters",
            "pickup/unix: receive_override_options is 'no_milters'",
        ),
        (
            r"no_unknown_recipient_checks\n  -o \{ content_filter",
            "no_header_body_checks\n  -o { content_filter",
            "nta-hand/unix: receive_override_options is",
        ),
        (
            r"-o smtpd_sasl_auth_enable=yes",
            "-o smtpd_sasl_auth_enable=yes\n  -o cleanup_service_name=cleanup-nta",
            "cleanup-nta/unix: milter_header_checks is ''",
        ),
    ],
)
def test_invariant_1_a_listeners_own_setting_cannot_undo_the_proof(
    configuration, pattern, replacement, named
):
    edit(configuration / "master.cf", pattern, replacement)
    assert any(named in fault for fault in proof(configuration).faults)


@pytest.mark.parametrize("option", ["no_milters", "no_header_body_checks"])
def test_an_option_of_main_cf_reaches_neither_pickup_nor_hand_in(configuration, option):
    add(configuration, f"receive_override_options = {option}")
    assert proof(configuration).faults == ()


def test_invariant_1_a_listener_whose_content_we_never_see_takes_no_mail(configuration):
    edit(
        configuration / "master.cf",
        r"-o smtpd_sasl_auth_enable=yes",
        "-o smtpd_sasl_auth_enable=yes\n  -o smtpd_proxy_filter=127.0.0.1:10025",
    )
    found = proof(configuration)
    assert "smtpd_proxy_filter" in found.unasked
    assert found.unasked in found.faults


@pytest.mark.parametrize(
    "parameter", ["header_checks", "body_checks", "mime_header_checks", "nta_header_checks"]
)
def test_invariant_1_a_redirect_by_content_asks_no_milter(configuration, parameter):
    assert proof(configuration).unasked == ""
    add(configuration, f"{parameter} = regexp:{{ {{/x/ REDIRECT {JAN}}} }}")
    assert f"REDIRECT {JAN} leads mail past its route and past every milter" in proof(configuration).unasked


def test_the_last_probe_is_part_of_every_proof(configuration):
    prover = RoutingProver(cold(configuration), 3600, ours=OURS, copies=True)
    assert prover.current().proven
    prover.watch(lambda: None, "nobody has asked yet")
    assert prover.current().faults == ("nobody has asked yet",)
    assert not prover.current().inside
    assert prover.current() is prover.current()
    prover.looked(prover.current(), "")
    assert prover.current().proven


def test_a_table_that_is_not_there_says_nothing():
    read = Configuration({}, {}, {})
    assert list(diversions(read, "hash:/nowhere/at-all", "here", ("REDIRECT",))) == []
