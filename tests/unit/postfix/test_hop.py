"""What counts as a protected hop inside: each way that could carry readable mail to a stranger is refused."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.postfix.hop import fault
from nta_milter.postfix.proof import Postfix, prove
from tests.unit.postfix.conftest import cold, edit

PIN = "FILTER nta-inside:"


def said(destination, command="smtp", networks=(), **settings):
    return fault(PIN + destination, command, lambda name: settings.get(name, ""), networks)


@pytest.mark.parametrize(
    ("destination", "command"),
    [
        ("unix:private/dovecot-lmtp", "lmtp"),
        ("inet:127.0.0.1:24", "lmtp"),
        ("inet:[::1]:24", "lmtp"),
        ("[127.0.0.1]:10024", "smtp"),
        ("[127.0.0.1]:10024, [127.0.0.2]:10024", "smtp"),
        ("dovecot", "pipe"),
        ("", "virtual"),
    ],
)
def test_a_hop_on_this_host_is_protected(destination, command):
    assert said(destination, command) == ""


@pytest.mark.parametrize("level", ["secure", "verify", "fingerprint", "dane-only"])
def test_tls_that_proves_the_server_protects(level):
    assert said("[exchange.care.test]", smtp_tls_security_level=level) == ""
    assert said("[exchange.care.test]:24", "lmtp", lmtp_tls_security_level=level) == ""


@pytest.mark.parametrize("level", ["", "none", "may", "encrypt", "dane", "half-dane", "secure-ish"])
def test_tls_that_proves_nobody_protects_nothing(level):
    assert "tls_security_level" in said("[exchange.care.test]", smtp_tls_security_level=level)


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "care.test",
        "[192.0.2.40]",
        "localhost",
        "[127.0.0.1], [192.0.2.40]",
        "[127.0.0.1.care.test]",
        "[::1",
        "192.0.2.40:unix:x",
        "[unix:/x]",
    ],
)
def test_another_host_without_tls_is_refused(destination):
    assert said(destination)


def test_a_listed_network_needs_no_tls_and_a_name_in_it_does():
    listed = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert said("[192.0.2.40]", networks=listed) == ""
    assert said("[IPv6:2001:db8::1]:25", networks=listed) == ""
    assert said("[198.51.100.1]", networks=listed)
    assert said("[exchange.care.test]", networks=listed)


def test_what_could_lead_past_the_hop_is_refused():
    assert "fallback" in said("unix:x", "lmtp", lmtp_fallback_relay="[relay.test]")
    assert "policy_maps" in said(
        "[exchange.care.test]", smtp_tls_security_level="secure", smtp_tls_policy_maps="hash:/x"
    )
    assert "per_site" in said(
        "[exchange.care.test]", smtp_tls_security_level="secure", smtp_tls_per_site="hash:/x"
    )
    assert "MX look-up" in said("care.test", smtp_tls_security_level="verify")
    assert "local(8)" in said("x", "local")
    assert "no transport" in said("unix:x", "")
    assert "do not lead" in fault("", "lmtp", lambda name: "", ())
    assert "do not lead" in fault("REJECT", "lmtp", lambda name: "", ())
    assert "do not lead" in fault("FILTER smtp:[exchange.care.test]", "smtp", lambda name: "secure", ())


@given(st.text(max_size=40))
def test_whatever_a_destination_is_the_answer_is_a_sentence(destination):
    assert isinstance(said(destination), str)


TO_EXCHANGE = r"nta-inside:unix:private/dovecot-lmtp"
SMTP = "nta-inside unix - - y - - smtp\n  -o syslog_name=postfix/nta-inside"


def leading_to_exchange(configuration, *tables, service=SMTP):
    for table in tables:
        edit(configuration / table, TO_EXCHANGE, "nta-inside:[exchange.care.test]")
    edit(configuration / "master.cf", r"^nta-inside unix .*\n  -o syslog_name=.*$", service)
    return prove(Postfix(cold(configuration)), 0.0)


ALL = ("nta_route", "nta_hand", "nta_requeue")


def test_invariant_1_a_plain_hop_to_another_host_is_no_hop_inside(configuration):
    proof = leading_to_exchange(configuration, *ALL)
    assert proof.proven
    assert not proof.inside
    assert "[exchange.care.test]" in proof.inside_fault


def test_a_hop_with_tls_that_proves_the_server_is_one(configuration):
    level = f"{SMTP}\n  -o smtp_tls_security_level=secure -o smtp_tls_policy_maps="
    assert leading_to_exchange(configuration, *ALL, service=level).inside


@pytest.mark.parametrize("forgotten", ALL)
def test_invariant_14_a_table_that_leads_elsewhere_is_seen(configuration, forgotten):
    level = f"{SMTP}\n  -o smtp_tls_security_level=secure"
    proof = leading_to_exchange(configuration, *(set(ALL) - {forgotten}), service=level)
    assert not proof.inside
    assert "different places" in proof.inside_fault


def test_the_networks_of_the_settings_count(configuration):
    for table in ALL:
        edit(configuration / table, TO_EXCHANGE, "nta-inside:[192.0.2.40]")
    edit(configuration / "master.cf", r"^nta-inside unix .*\n  -o syslog_name=.*$", SMTP)
    assert not prove(Postfix(cold(configuration)), 0.0).inside
    assert prove(Postfix(configuration), 0.0, (ip_network("192.0.2.40/32"),)).inside
