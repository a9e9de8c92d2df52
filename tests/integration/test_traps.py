"""What a Postfix does with routes that nobody would guess: seventeen traps, each tried on a real one.

``plumbing`` has a milter that adds the route it is told, ``laboratory`` has nta-milter.
"""

from __future__ import annotations

import base64
import re
import sys

import pytest

from nta_milter.lookup.name import is_host_name
from tests.integration.conftest import Plumbing
from tests.integration.test_fragments import (
    CANARY,
    DOCTOR,
    JAN,
    NURSE,
    deferral,
    message,
    submit,
)
from tests.laboratory import Laboratory
from tests.laboratory.dns import Zone
from tests.laboratory.laboratory import CHECKOUT
from tests.unit.compliance.records import ROWS

COLLEAGUE = "colleague@care.test"
ELSEWHERE = "[127.0.0.31]"
"""The citizen's Postfix, which takes mail for citizen.test alone and never by DANE."""

NAMED = re.compile(r"ntamx[1=: ]*\d+[ \t]+([^;]+)", re.IGNORECASE)
CONFIGURATION = "/etc/postfix"


def sensitive(recipient: str = NURSE, size: int = 0) -> bytes:
    """A mail with a word that makes it sensitive, and an attachment of ``size`` bytes."""
    attachment = base64.encodebytes(b"\x00" * size).replace(b"\n", b"\r\n")
    return (
        f"From: {DOCTOR}\r\nTo: {recipient}\r\nSubject: proef\r\nDate: Mon, 2 Mar 2026 09:00:00 +0100\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/plain\r\n\r\nDe diagnose: {CANARY}\r\n"
        "--b\r\nContent-Type: text/plain; name=bijlage.txt\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + (attachment + b"\r\n--b--\r\n")


def routed(mail: bytes) -> bytes:
    """A copy as the worker hands it in: the route is the last field of its header."""
    head, _, body = mail.partition(b"\r\n\r\n")
    return head + b"\r\nX-Nta-Route: [mx.hospital.test]\r\n\r\n" + body


def nested(*, attached: bool) -> bytes:
    """A mail with the internal header in a part, or in an attached message."""
    inner = b"Content-Type: text/plain\r\nX-Nta-Route: mx\r\n\r\n"
    if attached:
        inner = b"Content-Type: message/rfc822\r\n\r\nX-Nta-Route: mx\r\nSubject: y\r\n\r\n"
    plain = message().replace(b"text/plain; charset=utf-8", b"multipart/mixed; boundary=x")
    return plain.replace(b"Pati", b"--x\r\n" + inner + b"Pati") + b"--x--\r\n"


@pytest.mark.parametrize("how", ["empty", "missing", "unmatched", "unset"])
def test_trap_1_a_table_that_makes_no_route_stops_sensitive_mail(laboratory: Laboratory, how: str) -> None:
    care = laboratory.postfix["care"]
    if how == "unset":
        care.set(milter_header_checks="")
    elif how == "missing":
        (care.home / "etc" / "nta_route").rename(care.home / "etc" / "gone")
    else:
        care.edit("nta_route", "" if how == "empty" else "/^X-Other:/ REJECT\n")
    try:
        reply = laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive())
        assert reply.code == 451, reply
        assert how == "missing" or "milter_header_checks" in reply.text
        assert laboratory.everything() == []
    finally:
        if how == "missing":
            (care.home / "etc" / "gone").rename(care.home / "etc" / "nta_route")


def test_trap_2_a_hostile_host_name_reaches_neither_smtp_nor_the_next_message(plumbing: Plumbing) -> None:
    hostile = {
        name.strip()
        for row in ROWS
        for text in row.texts
        for name in NAMED.findall(text.decode("latin-1"))
        if len(name) <= 253 and not is_host_name(name.strip().lower())
    }
    hostile = {name for name in hostile if name.isascii() and name.isprintable()}
    assert len(hostile) > 15
    for host in (
        *sorted(hostile),
        "nta.hospital.test.",
        "nta.hospital.test:26",
        "unix:/x",
        "127.0.0.31",
        "$1",
    ):
        plumbing.order(route=f"[{host}]")
        reply = plumbing.send(DOCTOR, DOCTOR, [NURSE], message())
        assert reply.code == 550, (host, reply)
    plumbing.order(route="[nta.hospital.test]")
    submit(plumbing)
    plumbing.wait_for(lambda: plumbing.mailbox("nta.hospital", NURSE), "the mail after them")
    assert [store for store, _ in plumbing.everything()] == ["nta.hospital"]
    assert "throttling" not in plumbing.log()


@pytest.mark.parametrize("attached", [False, True], ids=["part", "attached message"])
@pytest.mark.parametrize("way", ["submission", "sendmail", "hand-in", "requeue"])
def test_trap_3_a_header_inside_the_body_makes_no_route(plumbing: Plumbing, way: str, attached: bool) -> None:
    mail = nested(attached=attached)
    if way == "hand-in":
        with plumbing.hand_in() as client:
            client.sendmail(DOCTOR, [NURSE], mail)
        assert "NTA route missing" in deferral(plumbing)
        return
    if way == "requeue":
        plumbing.order(route="[mx.hospital.test]")
        assert plumbing.send(DOCTOR, DOCTOR, [NURSE], mail).accepted
        deferral(plumbing)
        plumbing.postsuper("-r", "ALL")
        plumbing.settle()
        assert "no TLSA records found" in deferral(plumbing)
        (queued,) = plumbing.queue()
        assert "mx.hospital.test" in plumbing.log().rpartition(queued["queue_id"])[0]
        return
    if way == "sendmail":
        plumbing.sendmail("-f", DOCTOR, NURSE, message=mail.replace(b"\r\n", b"\n"))
    else:
        assert plumbing.send(DOCTOR, DOCTOR, [NURSE], mail).accepted
    (arrived,) = plumbing.wait_for(lambda: plumbing.mailbox("mx.hospital", NURSE), "mail by the ordinary way")
    assert b"X-Nta-Route: mx" in arrived.body


@pytest.mark.parametrize(
    "parameter",
    [
        "content_filter=smtp:[127.0.0.31]",
        "smtpd_sender_restrictions="
        "check_sender_access inline:{ {doctor@care.test = FILTER smtp:[127.0.0.31]} }",
        "smtpd_end_of_data_restrictions="
        "check_sender_access inline:{ {doctor@care.test = FILTER smtp:[127.0.0.31]} }",
        "header_checks=regexp:{ {/^Subject:/ FILTER smtp:[127.0.0.31]} }",
        "body_checks=regexp:{ {/kanarie/ FILTER smtp:[127.0.0.31]} }",
    ],
)
def test_trap_4_a_route_takes_the_place_of_a_content_filter(plumbing: Plumbing, parameter: str) -> None:
    name, _, value = parameter.partition("=")
    plumbing.postfix["care"].set(**{name: value})
    submit(plumbing, JAN)
    plumbing.wait_for(lambda: plumbing.mailbox("mx.citizen", JAN), "other mail by the filter")
    plumbing.order(route="[nta.hospital.test]")
    submit(plumbing)
    plumbing.wait_for(lambda: plumbing.mailbox("nta.hospital", NURSE), "routed mail past it")
    plumbing.settle()
    assert len(plumbing.everything()) == 2


def test_trap_5_ordinary_mail_waits_for_no_server_of_ours(plumbing: Plumbing) -> None:
    care = plumbing.postfix["care"]
    assert not (care.home / "queue" / "nta-worker" / "commit.sock").exists()
    tables = care.command("postconf", "-n") + care.command("postconf", "-P")
    assert re.findall(r"\b(?:socketmap|tcp|unix:nta-worker)\b", tables) == []
    submit(plumbing, JAN)
    plumbing.wait_for(lambda: plumbing.mailbox("mx.citizen", JAN), "the mail")


@pytest.mark.parametrize(
    "parameter",
    ["smtp_tls_policy_maps", "smtp_tls_per_site", "smtp_tls_security_level", "smtp_tls_wrappermode"],
)
def test_trap_6_no_setting_of_the_site_weakens_the_transport(plumbing: Plumbing, parameter: str) -> None:
    hosts = ("mx.hospital.test", "[mx.hospital.test]", "hospital.test")
    values = {
        "smtp_tls_policy_maps": "inline:{ " + " ".join(f"{{{host} = none}}" for host in hosts) + " }",
        "smtp_tls_per_site": "inline:{ " + " ".join(f"{{{host} = NONE}}" for host in hosts) + " }",
        "smtp_tls_security_level": "none",
        "smtp_tls_wrappermode": "no",
    }
    plumbing.postfix["care"].set(**{parameter: values[parameter]})
    plumbing.order(route="[mx.hospital.test]")
    submit(plumbing)
    assert "no TLSA records found" in deferral(plumbing)
    assert plumbing.everything() == []


def test_trap_6_an_mx_that_dnssec_does_not_prove_gets_nothing(plumbing: Plumbing) -> None:
    plumbing.dns.reload(Zone("loose.test", ["@ MX 10 nta.hospital.test."], signed=False))
    plumbing.order(route="mx")
    assert plumbing.send(DOCTOR, DOCTOR, ["nurse@loose.test"], message("nurse@loose.test")).accepted
    assert "non DNSSEC destination" in deferral(plumbing)
    assert plumbing.everything() == []


@pytest.mark.parametrize("way", ["in place", "handed in", "inside"])
@pytest.mark.parametrize(
    "site",
    [
        {},
        {"body_checks": "regexp:{ {/kanarie/ FILTER smtp:[127.0.0.31]} }"},
        {"receive_override_options": "no_header_body_checks"},
        {"nta_header_checks": "regexp:{ {/^(Received|Subject|X-Nta-Route):/ FILTER smtp:[127.0.0.31]} }"},
    ],
    ids=["as shipped", "body checks", "no checks", "header checks"],
)
def test_invariant_14_trap_7_a_requeued_message_keeps_its_route(
    plumbing: Plumbing, way: str, site: dict[str, str]
) -> None:
    recipient = COLLEAGUE if way == "inside" else NURSE
    waits = {"defer_transports": "nta-inside"} if way == "inside" else {}
    if site or waits:
        plumbing.postfix["care"].set(**site, **waits)
    if way == "handed in":
        with plumbing.hand_in() as client:
            client.sendmail(DOCTOR, [recipient], routed(message()))
    else:
        plumbing.order(route="inside" if way == "inside" else "[mx.hospital.test]")
        submit(plumbing, recipient)
    reason = deferral(plumbing)
    for again in (("-r", "ALL"), ("-h", "ALL"), ("-H", "ALL"), ("-r", "ALL")):
        plumbing.postsuper(*again)
        plumbing.settle()
    if way == "inside":
        plumbing.postfix["care"].set(defer_transports="")
        plumbing.wait_for(
            lambda: plumbing.flush() or plumbing.mailbox("care", recipient), "the mail inside", pause=0.3
        )
    else:
        plumbing.flush()
        plumbing.settle()
        assert deferral(plumbing) == reason
    assert {store for store, _ in plumbing.everything()} <= {"care"}


@pytest.mark.parametrize("way", ["alias", "virtual", "canonical", "forward"])
def test_trap_8_sensitive_mail_inside_follows_no_alias_outside(laboratory: Laboratory, way: str) -> None:
    care = laboratory.postfix["care"]
    if way == "alias":
        care.edit("aliases", f"colleague: {JAN}\n")
    elif way == "forward":
        laboratory.forward("colleague", f"{JAN}\n")
        care.reload()
    else:
        maps = f"inline:{{ {{ {COLLEAGUE} = {JAN} }} }}"
        parameter = "virtual_alias_maps" if way == "virtual" else "recipient_canonical_maps"
        care.set(**{parameter: f"regexp:{CONFIGURATION}/nta_keep, {maps}"})
    assert laboratory.send(DOCTOR, DOCTOR, [COLLEAGUE], sensitive(COLLEAGUE)).accepted
    laboratory.wait_for(lambda: laboratory.mailbox("care", COLLEAGUE), "the mail inside")
    laboratory.settle()
    assert [store for store, _ in laboratory.everything()] == ["care"]


def test_trap_9_a_report_and_the_postmasters_copy_quote_nothing(laboratory: Laboratory) -> None:
    laboratory.postfix["care"].set(notify_classes="bounce, delay, resource, software")
    laboratory.postfix["hospital"].set(smtpd_relay_restrictions="reject")
    assert laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive()).accepted
    laboratory.wait_for(lambda: laboratory.mailbox("care", DOCTOR), "the report")
    laboratory.settle()
    reports = [mail for _, mail in laboratory.everything()]
    assert reports
    for report in reports:
        assert b"554 5.7.1" in report.raw
        assert CANARY.encode() not in report.raw
        assert b"\nMII" not in report.raw
        assert b"X-Nta-Route" not in report.headers


@pytest.mark.parametrize("parameter", ["always_bcc", "sender_bcc_maps", "recipient_bcc_maps"])
def test_trap_10_a_blind_copy_that_no_milter_sees_stops_sensitive_mail(
    laboratory: Laboratory, parameter: str
) -> None:
    care = laboratory.postfix["care"]
    master = (care.home / "etc" / "master.cf").read_text()
    value = JAN if parameter == "always_bcc" else f"inline:{{ {{ {DOCTOR} = {JAN} }} {{ {NURSE} = {JAN} }} }}"
    care.set(**{parameter: value})
    reply = laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive())
    assert reply.accepted, reply
    laboratory.wait_for(lambda: laboratory.mailbox("nta.hospital", NURSE), "the mail")
    care.edit("master.cf", re.sub(rf"-o {parameter}=(?=\s)", "", master))
    reply = laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive())
    assert reply.code == 451, reply
    assert parameter in reply.text
    assert laboratory.mailbox("mx.citizen", JAN) == []


@pytest.mark.parametrize(
    "site",
    [
        {"smtp_fallback_relay": ELSEWHERE},
        {"relayhost": ELSEWHERE, "default_transport": f"smtp:{ELSEWHERE}"},
        {"sender_dependent_relayhost_maps": f"inline:{{ {{{DOCTOR} = {ELSEWHERE}}} }}"},
        {"sender_dependent_default_transport_maps": f"inline:{{ {{{DOCTOR} = smtp:{ELSEWHERE}}} }}"},
        {"transport_maps": f"regexp:{CONFIGURATION}/nta_transport, inline:{{ {{* = smtp:{ELSEWHERE}}} }}"},
        {"smtp_host_lookup": "native, dns"},
        {"fallback_transport": f"smtp:{ELSEWHERE}", "luser_relay": JAN, "mailbox_command": "/bin/false"},
    ],
    ids=lambda site: next(iter(site)),
)
@pytest.mark.parametrize("route", ["mx", "[mx.hospital.test]"])
def test_trap_11_no_relay_of_the_site_takes_routed_mail(
    plumbing: Plumbing, site: dict[str, str], route: str
) -> None:
    plumbing.postfix["care"].set(**site)
    plumbing.order(route=route)
    submit(plumbing)
    assert "no TLSA records found" in deferral(plumbing)
    assert plumbing.everything() == []


def test_trap_12_a_message_that_would_grow_too_large_is_refused_in_words(laboratory: Laboratory) -> None:
    laboratory.postfix["care"].set(message_size_limit="400000")
    reply = laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive(size=250_000))
    assert reply.code == 550, reply
    assert "our Postfix takes (message_size_limit): 400000" in reply.text
    assert laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive(size=100_000)).accepted
    laboratory.wait_for(lambda: laboratory.mailbox("nta.hospital", NURSE), "a smaller one")


@pytest.mark.parametrize("way", [("-f", DOCTOR, NURSE), ("-t", "-f", DOCTOR), ("-bs",)], ids=" ".join)
@pytest.mark.parametrize(
    "site", [{}, {"receive_override_options": "no_milters"}], ids=["as shipped", "no milters"]
)
def test_trap_13_sendmail_is_no_way_past_the_milter(
    laboratory: Laboratory, site: dict[str, str], way: tuple[str, ...]
) -> None:
    if site:
        laboratory.postfix["care"].set(**site)
    mail = sensitive()
    if way == ("-bs",):
        dialogue = f"EHLO x\r\nMAIL FROM:<{DOCTOR}>\r\nRCPT TO:<{NURSE}>\r\nDATA\r\n".encode()
        laboratory.namespace.run("/usr/sbin/sendmail", "-bs", stdin=dialogue + mail + b".\r\nQUIT\r\n")
    else:
        laboratory.sendmail(*way, message=mail.replace(b"\r\n", b"\n"))
    laboratory.wait_for(lambda: laboratory.mailbox("nta.hospital", NURSE), "the mail")
    laboratory.settle()
    assert [store for store, _ in laboratory.everything()] == ["nta.hospital"]
    assert all(CANARY.encode() not in mail.raw for _, mail in laboratory.everything())


def test_trap_14_hosts_are_pinned_for_the_life_of_a_queue_file(plumbing: Plumbing) -> None:
    plumbing.order(route="[mx.hospital.test]")
    submit(plumbing)
    assert "no TLSA records found" in deferral(plumbing)
    plumbing.order(route="[nta.hospital.test]")
    plumbing.postsuper("-r", "ALL")
    plumbing.settle()
    assert "no TLSA records found" in deferral(plumbing)
    submit(plumbing)
    plumbing.wait_for(lambda: plumbing.mailbox("nta.hospital", NURSE), "a message handed in anew")


@pytest.mark.parametrize(("groups", "seen"), [("--clear-groups", False), ("--groups=postdrop", True)])
def test_trap_15_a_queue_that_cannot_be_read_is_no_empty_queue(
    plumbing: Plumbing, groups: str, seen: bool
) -> None:
    plumbing.order(route="[mx.hospital.test]")
    submit(plumbing)
    deferral(plumbing)
    look = (
        "from pathlib import Path\n"
        "from nta_milter.errors import TemporaryError\n"
        "from nta_milter.worker.postqueue import Postqueue\n"
        "try:\n"
        f"    print(len(Postqueue(Path('{CONFIGURATION}')).look()), 'seen')\n"
        "except TemporaryError as error:\n"
        "    print('alarm:', error)\n"
    )
    done = plumbing.namespace.run(
        *("env", f"PYTHONPATH={CHECKOUT}", "setpriv", "--reuid=nobody", "--regid=nogroup"),
        *(groups, "--no-new-privs", sys.executable, "-c", look),
    )
    said = done.stdout.decode()
    assert said == "1 seen\n" if seen else said.startswith("alarm: postqueue")


def test_trap_16_what_leaves_is_signed_as_it_leaves(laboratory: Laboratory) -> None:
    assert laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive()).accepted
    (mail,) = laboratory.wait_for(lambda: laboratory.mailbox("nta.hospital", NURSE), "the mail")
    assert b"dkim=pass" in mail.headers
    assert b"pkcs7-mime" in mail.headers
    assert b"X-Nta" not in mail.headers


@pytest.mark.parametrize("listener", ["submission", "inbound", "ntamx"])
def test_a_client_that_writes_our_header_routes_nothing(laboratory: Laboratory, listener: str) -> None:
    forged = b"X-Nta-Route: [mx.citizen.test]\r\nX-NTA-ROUTE: mx\r\nX-Nta-Guard: on\r\n"
    login = DOCTOR if listener == "submission" else None
    recipient = JAN if listener == "submission" else DOCTOR
    reply = laboratory.send(login, DOCTOR, [recipient], forged + message(recipient), listener=listener)
    assert reply.accepted, reply
    store = "mx.citizen" if listener == "submission" else "care"
    (mail,) = laboratory.wait_for(
        lambda: laboratory.mailbox(store, recipient), "the mail, by the ordinary way"
    )
    assert b"X-Nta" not in mail.headers
    assert b"X-NTA" not in mail.headers
    assert "postfix/nta/smtp" not in laboratory.log().rpartition(reply.queue_id)[2]
