"""doctor on a real Postfix: it finds what was spoilt, changes nothing, and prints what mends it."""

from __future__ import annotations

import json

from tests.integration.test_bypasses import service
from tests.laboratory import Laboratory

SPOILT = {
    "milter_default_action": "accept",
    "default_filter_nexthop": "mx.citizen.test",
    "bounce_size_limit": "50000",
    "notify_classes": "bounce, resource",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native, dns",
    "milter_protocol": "2",
    "header_size_limit": "1000",
    "milter_connect_macros": "j {client_addr}",
    "message_size_limit": "10240000",
}
CODES = {
    "route-not-proven",
    "bounces-quote",
    "postmaster-copies",
    "no-dnssec",
    "native-look-up",
    "milter-protocol",
    "header-size-limit",
    "macro-not-sent",
    "message-size-limit",
    "inbound-relays",
}


def found(laboratory: Laboratory) -> tuple[int, set[str]]:
    status, said = laboratory.nta_milter("doctor", "--json", "--config", str(laboratory.configuration))
    return status, {each["code"] for each in json.loads(said)} - {"clock-not-kept"}


def test_the_shipped_site_has_nothing_wrong(laboratory: Laboratory) -> None:
    assert found(laboratory) == (0, set())


def test_the_printed_commands_mend_what_was_spoilt(laboratory: Laboratory) -> None:
    care = laboratory.postfix["care"]
    care.set(**SPOILT)
    service("smtp_tls_security_level=dane-only", "smtp_tls_security_level=may")(care)
    service(
        "  -o smtpd_relay_restrictions=reject_unauth_destination\n",
        "  -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination\n",
    )(care)
    before = [(care.home / "etc" / name).read_text() for name in ("main.cf", "master.cf")]
    status, codes = found(laboratory)
    assert (status, CODES - codes) == (1, set())
    status, printed = laboratory.nta_milter(
        "doctor", "--fix-print", "--config", str(laboratory.configuration)
    )
    assert status == 1
    assert [(care.home / "etc" / name).read_text() for name in ("main.cf", "master.cf")] == before
    commands = printed.splitlines()
    assert all(command.startswith(("postconf -e ", "postconf -P ")) for command in commands), printed
    laboratory.namespace.run("sh", "-e", stdin=printed.encode())
    care.reload()
    assert found(laboratory) == (0, set())
    assert laboratory.nta_milter("doctor", "--fix-print", "--config", str(laboratory.configuration)) == (
        0,
        "",
    )
