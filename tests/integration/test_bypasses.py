"""Ways around a route that a site's own settings of Postfix open: with each, sensitive mail waits."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.integration.test_fragments import DOCTOR, JAN, NURSE, message
from tests.integration.test_traps import COLLEAGUE, sensitive
from tests.laboratory import Laboratory
from tests.laboratory.postfix import Postfix

Change = Callable[[Postfix], None]

LOGIN = "  -o smtpd_sasl_auth_enable=yes\n"


def parameter(**values: str) -> Change:
    return lambda care: care.set(**values)


def access(stage: str, action: str) -> Change:
    return parameter(
        **{f"smtpd_{stage}_restrictions": f"check_sender_access inline:{{ {{{DOCTOR} = {action}}} }}"}
    )


def service(old: str, new: str, more: str = "") -> Change:
    """Change master.cf once, and add services."""

    def change(care: Postfix) -> None:
        text = (care.home / "etc" / "master.cf").read_text()
        assert old in text
        care.edit("master.cf", text.replace(old, new, 1) + more)

    return change


def in_file(care: Postfix) -> None:
    """A REDIRECT that stands in a table of its own, behind a restriction class."""
    care.edit("own_access", f"{DOCTOR} REDIRECT {JAN}\n")
    care.set(
        smtpd_restriction_classes="own",
        own="check_sender_access texthash:/etc/postfix/own_access",
        smtpd_data_restrictions="own",
    )


WAYS = {
    "redirect by sender": access("sender", f"REDIRECT {JAN}"),
    "redirect at the end": access("end_of_data", f"REDIRECT {JAN}"),
    "redirect in a file": in_file,
    "blind copy by sender": access("sender", f"BCC {JAN}"),
    "filter by a milter's field": parameter(
        milter_header_checks="regexp:/etc/postfix/nta_route, regexp:{ {/^DKIM-/ FILTER smtp:[127.0.0.31]} }"
    ),
    "a cleanup without routes": service(
        LOGIN,
        f"{LOGIN}  -o cleanup_service_name=cleanup-own\n",
        "cleanup-own unix n - y - 0 cleanup\n  -o milter_header_checks=\n",
    ),
    "a listener that does without us": service(LOGIN, f"{LOGIN}  -o milter_default_action=accept\n"),
    "a milter that may be away": service(
        "smtpd_milters=$nta_milter,", "smtpd_milters={unix:nta-milter/milter.sock,default_action=accept},"
    ),
    "TLS per site": service(" -o smtp_tls_per_site=", ""),
    "opportunistic TLS": service("smtp_tls_security_level=dane-only", "smtp_tls_security_level=may"),
    "the wrong next hop": parameter(default_filter_nexthop="mx.citizen.test"),
    "requeue by header": parameter(nta_header_checks="regexp:{ {/^Subject:/ FILTER smtp:[127.0.0.31]} }"),
    "milters by client": service(
        "  -o smtpd_milter_maps=\n", "  -o smtpd_milter_maps=inline:{192.0.2.1=DISABLE}\n"
    ),
    "pickup without milters": service(
        "  -o receive_override_options=\n", "  -o receive_override_options=no_milters\n"
    ),
    "pickup without tables": service(
        "  -o receive_override_options=\n", "  -o receive_override_options=no_header_body_checks\n"
    ),
    "requeue without us": service("-o cleanup_service_name=cleanup-nta-requeue\n", "\n"),
    "hand-in that is not closed": service("-o { content_filter = retry:4.3.5 NTA route missing }\n", "\n"),
}


@pytest.mark.parametrize("way", WAYS)
def test_invariant_1_a_way_around_the_route_stops_sensitive_mail(laboratory: Laboratory, way: str) -> None:
    WAYS[way](laboratory.postfix["care"])
    for recipient in (NURSE, COLLEAGUE):
        reply = laboratory.send(DOCTOR, DOCTOR, [recipient], sensitive(recipient))
        assert reply.code == 451, reply
        assert re.search(r"not shown to keep|no protected next hop is proven", reply.text), reply
    assert laboratory.everything() == []
    status, said = laboratory.nta_milter("doctor", "--config", str(laboratory.configuration))
    assert status == 1
    assert "[route-not-proven]" in said


PROXY = "127.0.0.1:10026 inet n - y - - smtpd\n  -o smtpd_milters=\n  -o smtpd_proxy_filter=\n"
UNSEEN = {
    "proxy filter": service(LOGIN, f"{LOGIN}  -o smtpd_proxy_filter=127.0.0.1:10026\n", PROXY),
    "redirect by header": parameter(header_checks=f"regexp:{{ {{/^Subject:/ REDIRECT {JAN}}} }}"),
    "redirect by body": parameter(body_checks=f"regexp:{{ {{/kanarie/ REDIRECT {JAN}}} }}"),
}
"""Settings with which Postfix never shows us the content."""


@pytest.mark.parametrize("way", UNSEEN)
def test_invariant_1_where_we_would_not_see_the_content_no_mail_is_taken(
    laboratory: Laboratory, way: str
) -> None:
    UNSEEN[way](laboratory.postfix["care"])
    laboratory.restart_milter()
    for recipient in (JAN, NURSE, COLLEAGUE):
        reply = laboratory.send(DOCTOR, DOCTOR, [recipient], sensitive(recipient))
        assert 400 <= reply.code < 500, reply
    assert "smtpd_proxy_filter" in laboratory.milter_log() or "past every milter" in laboratory.milter_log()
    assert laboratory.everything() == []


def test_invariant_1_sendmail_that_would_be_led_past_us_waits(laboratory: Laboratory) -> None:
    laboratory.postfix["care"].set(nta_header_checks=f"regexp:{{ {{/^Subject:/ REDIRECT {JAN}}} }}")
    laboratory.restart_milter()
    laboratory.sendmail("-f", DOCTOR, COLLEAGUE, message=sensitive(COLLEAGUE).replace(b"\r\n", b"\n"))
    laboratory.wait_for(lambda: "milter-reject: CONNECT" in laboratory.log(), "pickup meets the refusal")
    assert [each["queue_name"] for each in laboratory.queue()] == ["maildrop"]
    assert laboratory.everything() == []


def test_invariant_1_the_listeners_for_arriving_mail_relay_nothing(laboratory: Laboratory) -> None:
    with laboratory.session("inbound", source="127.0.0.1") as client:
        reply = client.transmit(DOCTOR, [JAN], sensitive(JAN))
    assert (reply.code, reply.stage) == (554, "rcpt"), reply


def test_invariant_1_what_a_site_relays_there_all_the_same_is_judged(laboratory: Laboratory) -> None:
    care = laboratory.postfix["care"]
    service(
        "  -o smtpd_relay_restrictions=reject_unauth_destination\n",
        "  -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination\n",
    )(care)
    with laboratory.session("inbound", source="127.0.0.1") as client:
        reply = client.transmit(DOCTOR, [JAN], sensitive(JAN))
    assert reply.code == 550, reply
    assert "the listener does not take outgoing mail" in reply.text
    with laboratory.session("inbound", source="127.0.0.1") as client:
        assert client.transmit(DOCTOR, [JAN], message(JAN)).accepted
    laboratory.wait_for(lambda: laboratory.mailbox("mx.citizen", JAN), "other mail")
    status, said = laboratory.nta_milter("doctor", "--config", str(laboratory.configuration))
    assert status == 1
    assert "[inbound-relays]" in said


def test_the_running_postfix_is_probed_and_the_probe_leaves_no_trace(laboratory: Laboratory) -> None:
    laboratory.restart_milter()
    assert "milter-header-reject: header X-Nta-Route: [probe.invalid.]" in laboratory.log()
    assert laboratory.queue() == []
    assert laboratory.everything() == []


def test_the_probes_listener_takes_nothing_else(laboratory: Laboratory) -> None:
    with laboratory.session("127.0.0.1:10587", source="127.0.0.1") as client:
        assert client.transmit(DOCTOR, [JAN], message(JAN)).stage == "rcpt"
        client.rset()
        for address in (f"probe+{'0' * 64}@nta.invalid", "postmaster@nta.invalid"):
            reply = client.transmit(DOCTOR, [address], message(address))
            assert (reply.code, reply.stage) == (550, "end"), reply
            assert "probes of nta-milter alone" in reply.text
    assert laboratory.queue() == []


def test_without_a_probe_nothing_sensitive_is_routed_and_other_mail_goes(laboratory: Laboratory) -> None:
    care = laboratory.postfix["care"]
    service("127.0.0.1:10587 inet", "127.0.0.1:10588 inet")(care)
    laboratory.stop_milter()
    began = len(laboratory.milter_log())
    laboratory.probed = False
    laboratory.start_milter()
    laboratory.probed = True
    laboratory.wait_for(
        lambda: laboratory.milter_log()[began:].count("the probe cannot be sent") >= 2, "the fault in the log"
    )
    for recipient in (NURSE, COLLEAGUE):
        reply = laboratory.send(DOCTOR, DOCTOR, [recipient], sensitive(recipient))
        assert reply.code == 451, reply
        assert "routing.probe 127.0.0.1:10587" in reply.text
    assert laboratory.send(DOCTOR, DOCTOR, [JAN], message(JAN)).accepted
    laboratory.wait_for(lambda: laboratory.mailbox("mx.citizen", JAN), "other mail")
    care.restore()
    laboratory.wait_for(
        lambda: laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive()).accepted,
        "a probe that passes",
        pause=0.2,
    )
