"""doctor on a rendered configuration, asked of real postconf: each fault is found, none is invented."""

import pytest

from nta_milter.config.model import InternalSettings, MilterSettings, PolicySettings, Settings
from nta_milter.postfix.configuration import Postfix
from nta_milter.postfix.doctor import examine
from nta_milter.postfix.finding import Level
from tests.unit.postfix.conftest import STOCK_MASTER, cold, edit

SETTINGS = Settings(policy=PolicySettings(mode="content"), internal=InternalSettings(domains=("care.test",)))


def found(folder, settings=SETTINGS):
    return examine(Postfix(cold(folder)), settings)


def test_the_shipped_configuration_has_nothing_wrong(configuration):
    assert found(configuration) == ()


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "code", "level"),
    [
        ("nta_route", r"(?s).*", "", "route-not-proven", Level.FAULT),
        ("nta_route", r"^/\^X-Nta-Route: inside.*$", "", "no-inside", Level.FAULT),
        (
            "main.cf",
            r"^milter_default_action.*$",
            "milter_default_action = accept",
            "route-not-proven",
            Level.FAULT,
        ),
        ("main.cf", r" \{nta_side\}", "", "macro-not-sent", Level.FAULT),
        ("main.cf", r"^bounce_size_limit.*$", "bounce_size_limit = 50000", "bounces-quote", Level.WARNING),
        ("main.cf", r"^smtp_dns_support_level.*$", "", "no-dnssec", Level.WARNING),
        (
            "main.cf",
            r"^message_size_limit.*$",
            "message_size_limit = 10240000",
            "message-size-limit",
            Level.WARNING,
        ),
        ("main.cf", r"\Z", "header_size_limit = 1000\n", "header-size-limit", Level.WARNING),
        ("main.cf", r"\Z", "milter_protocol = 2\n", "milter-protocol", Level.FAULT),
        ("main.cf", r"\Z", "notify_classes = bounce, resource\n", "postmaster-copies", Level.WARNING),
        ("main.cf", r"\Z", "smtp_host_lookup = dns, native\n", "native-look-up", Level.WARNING),
        ("main.cf", r"\Z", "smtpd_milter_maps = cidr:/etc/postfix/x\n", "milter-maps", Level.WARNING),
        ("main.cf", r"\Z", "always_bcc = archive@care.test\n", "", None),
        (
            "master.cf",
            r"nta_side=outbound\n  -o receive",
            "nta_side=outside\n  -o receive",
            "side-unmarked",
            Level.FAULT,
        ),
        ("master.cf", r"nta_side=ntamx", "nta_side=inbound", "no-ntamx-listener", Level.NOTE),
        (
            "master.cf",
            r"smtpd_milters=\$nta_milter,\$nta_signer\n  -o milter_macro",
            "smtpd_milters=$nta_signer,$nta_milter\n  -o milter_macro",
            "milter-order",
            Level.FAULT,
        ),
        (
            "master.cf",
            r"smtpd_milters=\$nta_verifier,\$nta_milter",
            "smtpd_milters=$nta_milter,$nta_verifier",
            "milter-order",
            Level.WARNING,
        ),
        ("master.cf", r"-o smtpd_sasl_auth_enable=yes", "", "outbound-without-login", Level.WARNING),
        (
            "master.cf",
            r"-o smtpd_relay_restrictions=permit_sasl_authenticated,reject",
            "-o smtpd_relay_restrictions=permit",
            "open-outbound",
            Level.FAULT,
        ),
        (
            "master.cf",
            r"-o receive_override_options=no_address_mappings\n",
            "",
            "recipients-not-final",
            Level.WARNING,
        ),
        ("master.cf", r"-o non_smtpd_milters=.*$", "", "sendmail-past-milter", Level.FAULT),
        ("master.cf", r"\Z", "2525 inet n - y - - smtpd\n", "listener-without-milter", Level.WARNING),
        (
            "master.cf",
            r"\Z",
            "2526 inet n - y - - smtpd\n  -o receive_override_options=no_milters\n",
            "no-milters",
            Level.WARNING,
        ),
        (
            "master.cf",
            r"smtpd_milters=\$nta_milter,",
            "smtpd_milters={unix:nta-milter/milter.sock,default_action=accept},",
            "route-not-proven",
            Level.FAULT,
        ),
        (
            "master.cf",
            r"\Z",
            "465 inet n - y - - smtpd\n  -o smtpd_tls_wrappermode=yes\n",
            "submission-without-milter",
            Level.FAULT,
        ),
        (
            "master.cf",
            r"\Z",
            "127.0.0.1:2527 inet n - y - - smtpd\n  -o smtpd_sasl_auth_enable=yes\n",
            "submission-without-milter",
            Level.FAULT,
        ),
        (
            "master.cf",
            r"receive_override_options=no_address_mappings$",
            "receive_override_options=no_address_mappings,no_milters",
            "no-milters",
            Level.FAULT,
        ),
        ("master.cf", r"nta_side=probe", "nta_side=inbound", "no-probe-listener", Level.FAULT),
        (
            "master.cf",
            r"-o smtpd_relay_restrictions=reject_unauth_destination",
            "-o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination",
            "inbound-relays",
            Level.FAULT,
        ),
        ("main.cf", r"\Z", "content_filter = scan:[127.0.0.1]:10024\n", "content-filter", Level.WARNING),
        (
            "main.cf",
            r"\Z",
            "smtpd_sender_restrictions = check_policy_service unix:private/policy\n",
            "answers-unknown",
            Level.NOTE,
        ),
    ],
)
def test_each_fault_is_found_by_its_code(configuration, file, pattern, replacement, code, level):
    edit(configuration / file, pattern, replacement)
    seen = {(finding.code, finding.level) for finding in found(configuration)}
    if level is None:
        assert seen == set()
    else:
        assert (code, level) in seen
        assert all(finding.mend for finding in found(configuration))


@pytest.mark.parametrize("parameter", ["alias_maps", "virtual_alias_maps"])
@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("info: jan@citizen.test\n", "jan@citizen.test outside"),
        ("info@care.test  doctor@care.test, jan@citizen.test\n", "jan@citizen.test outside"),
        ("info: doctor,\n  jan@citizen.test\nmore: piet@citizen.test\n", "and 1 more outside"),
        ("info: doctor@care.test\n# jan@citizen.test\n", ""),
    ],
)
def test_aliases_that_lead_outside_are_named(configuration, parameter, text, named):
    (configuration / "table").write_text(text)
    (configuration / "main.cf").write_text(
        (configuration / "main.cf").read_text() + f"{parameter} = texthash:{configuration}/table\n"
    )
    aliases = [finding for finding in found(configuration) if finding.code == "alias-outside"]
    assert len(aliases) == bool(named)
    assert all(named in finding.text for finding in aliases)


def test_a_parameter_that_weakens_the_route_comes_with_the_command_that_mends_it(configuration):
    edit(configuration / "master.cf", r"dane-only", "may")
    (configuration / "main.cf").write_text(
        (configuration / "main.cf").read_text() + "default_filter_nexthop = mx.care.test\n"
    )
    commands = {finding.command for finding in found(configuration)}
    assert commands == {
        "postconf -P 'nta/unix/smtp_tls_security_level=dane-only'",
        "postconf -e 'default_filter_nexthop='",
    }


def test_a_tcp_socket_is_worth_a_note(configuration):
    settings = Settings(
        policy=PolicySettings(mode="content"), milter=MilterSettings(socket="inet:8890@127.0.0.1")
    )
    edit(configuration / "main.cf", r"^nta_milter =.*$", "nta_milter = inet:127.0.0.1:8890")
    assert {finding.code for finding in found(configuration, settings)} == {"tcp-socket"}


def test_a_postfix_of_before_is_one_fault_that_says_where_to_go_on(configuration):
    (configuration / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = mx.care.test\n")
    (configuration / "master.cf").write_text(STOCK_MASTER)
    (finding,) = examine(Postfix(cold(configuration)), SETTINGS)
    assert (finding.level, finding.code) == (Level.FAULT, "not-joined")
    assert "install.md" in finding.mend


def test_a_configuration_that_cannot_be_read_is_one_fault(tmp_path):
    (finding,) = examine(Postfix(tmp_path / "nowhere"), SETTINGS)
    assert finding.code == "unreadable"
