"""The shipped Postfix fragments on a real Postfix, with a milter that does only what it is told."""

from __future__ import annotations

import pytest

from tests.integration.conftest import Plumbing

DOCTOR = "doctor@care.test"
NURSE = "nurse@hospital.test"
JAN = "jan@citizen.test"
CANARY = "kanarie-7481"
COMMIT = "commit+00112233445566778899aabbccddeeff@nta.invalid"


def message(recipient: str = NURSE) -> bytes:
    lines = [
        f"From: {DOCTOR}",
        f"To: {recipient}",
        "Subject: proef",
        "Message-ID: <proef@care.test>",
        "Date: Mon, 2 Mar 2026 09:00:00 +0100",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        f"Patiënt {CANARY}",
        ".een punt",
        "",
    ]
    return "\r\n".join(lines).encode()


def submit(plumbing: Plumbing, recipient: str = NURSE) -> str:
    reply = plumbing.send(DOCTOR, DOCTOR, [recipient], message(recipient))
    assert reply.accepted, reply
    return reply.queue_id


def deferral(plumbing: Plumbing) -> str:
    """Why the one message in the queue waits."""
    (message,) = plumbing.wait_for(
        # A message is listed twice for a moment while Postfix moves it.
        lambda: [m for m in plumbing.queue() if m["queue_name"] == "deferred"],
        "a deferral",
    )
    return str(message["recipients"][0]["delay_reason"])


def nothing_in_clear_outside(plumbing: Plumbing) -> None:
    for store, mail in plumbing.everything():
        assert store == "care" or CANARY.encode() not in mail.raw, (store, mail)


def test_routed_mail_goes_over_dane_to_the_ntamx_host_signed_and_without_our_header(
    plumbing: Plumbing,
) -> None:
    plumbing.order(route="[nta.hospital.test]")
    queue_id = submit(plumbing)
    (mail,) = plumbing.wait_for(lambda: plumbing.mailbox("nta.hospital", NURSE), "the mail")
    assert b"X-Nta" not in mail.headers
    assert b"dkim=pass" in mail.headers
    assert mail.body == message().partition(b"\r\n\r\n")[2]
    log = plumbing.log()
    assert "postfix/nta/smtp" in log
    assert "Verified TLS connection established to nta.hospital.test[127.0.0.21]:25: TLSv1.3" in log
    assert f"{queue_id}: to=<{NURSE}>, relay=nta.hospital.test[127.0.0.21]:25" in log
    assert plumbing.mailbox("mx.hospital", NURSE) == []


def test_mail_without_a_route_goes_to_the_ordinary_mx_byte_for_byte(plumbing: Plumbing) -> None:
    submit(plumbing)
    (mail,) = plumbing.wait_for(lambda: plumbing.mailbox("mx.hospital", NURSE), "the mail")
    assert mail.raw.endswith(message())


def test_a_host_without_tlsa_gets_nothing_and_the_next_one_is_used(plumbing: Plumbing) -> None:
    plumbing.order(route="[mx.hospital.test], [nta.hospital.test]")
    submit(plumbing)
    plumbing.wait_for(lambda: plumbing.mailbox("nta.hospital", NURSE), "the mail")
    assert plumbing.mailbox("mx.hospital", NURSE) == []


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        ("mx", "no TLSA records found"),
        ("[mx.hospital.test]", "no TLSA records found"),
        ("[mx.broken.test]", "Host not found, try again"),
    ],
)
def test_a_route_that_dane_does_not_prove_is_deferred(plumbing: Plumbing, route: str, reason: str) -> None:
    plumbing.order(route=route)
    submit(plumbing)
    assert reason in deferral(plumbing)
    assert plumbing.everything() == []


@pytest.mark.parametrize(
    "route", ["[nta.hospital.test.]", "nta.hospital.test", "[127.0.0.21]", "", " ", "[a_b.test]"]
)
def test_a_route_that_the_table_does_not_know_is_refused(plumbing: Plumbing, route: str) -> None:
    plumbing.order(route=route or "x")
    reply = plumbing.send(DOCTOR, DOCTOR, [NURSE], message())
    assert reply.code == 550, reply
    assert plumbing.everything() == []


def test_requeued_mail_keeps_its_route(plumbing: Plumbing) -> None:
    plumbing.order(route="[mx.hospital.test]")
    submit(plumbing)
    reason = deferral(plumbing)
    for _ in range(2):
        plumbing.postsuper("-r", "ALL")
        plumbing.settle()
        plumbing.flush()
        plumbing.settle()
        assert deferral(plumbing) == reason
    plumbing.postsuper("-h", "ALL")
    plumbing.postsuper("-H", "ALL")
    plumbing.flush()
    plumbing.settle()
    assert deferral(plumbing) == reason
    assert plumbing.everything() == []


def test_requeued_mail_meets_no_milter_again(plumbing: Plumbing) -> None:
    plumbing.order(route="[mx.hospital.test]")
    submit(plumbing)
    deferral(plumbing)
    seen = len(plumbing.seen())
    plumbing.postsuper("-r", "ALL")
    plumbing.settle()
    assert len(plumbing.seen()) == seen


@pytest.mark.parametrize("way", ["alias", "forward"])
def test_mail_that_stays_inside_passes_by_aliases_and_forward_files(plumbing: Plumbing, way: str) -> None:
    if way == "alias":
        plumbing.postfix["care"].edit("aliases", f"colleague {JAN}\n")
    else:
        plumbing.forward("colleague", f"{JAN}\n")
        plumbing.postfix["care"].reload()
    submit(plumbing, "colleague@care.test")
    plumbing.wait_for(lambda: plumbing.mailbox("mx.citizen", JAN), "ordinary mail turned outside")
    plumbing.order(route="inside")
    submit(plumbing, "colleague@care.test")
    (mail,) = plumbing.wait_for(lambda: plumbing.mailbox("care", "colleague@care.test"), "the mail inside")
    assert b"X-Nta" not in mail.headers
    plumbing.settle()
    assert len(plumbing.mailbox("mx.citizen", JAN)) == 1


def test_mail_that_stays_inside_cannot_reach_somebody_outside(plumbing: Plumbing) -> None:
    plumbing.order(route="inside")
    submit(plumbing, JAN)
    (report,) = plumbing.wait_for(lambda: plumbing.mailbox("care", DOCTOR), "the report")
    assert b"no such mailbox here" in report.raw
    assert CANARY.encode() not in report.raw
    assert plumbing.mailbox("mx.citizen", JAN) == []


@pytest.mark.parametrize("way", ["submission", "inbound", "ntamx", "sendmail"])
def test_mail_that_stays_inside_is_not_turned_outside_by_virtual_aliases(
    plumbing: Plumbing, way: str
) -> None:
    table = f"inline:{{ {{ {DOCTOR} = {JAN} }} }}"
    plumbing.postfix["care"].set(virtual_alias_maps=f"regexp:/etc/postfix/nta_keep, {table}")
    plumbing.order(route="inside")
    if way == "sendmail":
        plumbing.sendmail("-f", "secretary@care.test", DOCTOR, message=message(DOCTOR))
    else:
        login = DOCTOR if way == "submission" else None
        assert plumbing.send(login, "secretary@care.test", [DOCTOR], message(DOCTOR), listener=way).accepted
    plumbing.wait_for(lambda: plumbing.everything(), "a mail or a report")
    plumbing.settle()
    assert [store for store, _ in plumbing.everything()] == ["care"]
    nothing_in_clear_outside(plumbing)


@pytest.mark.parametrize("parameter", ["always_bcc", "sender_bcc_maps", "recipient_bcc_maps"])
@pytest.mark.parametrize("way", ["submission", "inbound", "ntamx", "sendmail", "requeue"])
def test_nobody_is_added_by_blind_copies(plumbing: Plumbing, parameter: str, way: str) -> None:
    care = plumbing.postfix["care"]
    care.set(**{parameter: JAN if parameter == "always_bcc" else f"inline:{{ {{ {DOCTOR} = {JAN} }} }}"})
    if way == "sendmail":
        plumbing.sendmail("-f", DOCTOR, DOCTOR, message=message(DOCTOR))
    elif way == "submission":
        submit(plumbing, DOCTOR)
    elif way == "requeue":
        plumbing.order(route="[mx.hospital.test]")
        submit(plumbing)
        deferral(plumbing)
        plumbing.postsuper("-r", "ALL")
        plumbing.settle()
        (queued,) = plumbing.queue()
        assert [each["address"] for each in queued["recipients"]] == [NURSE]
        return
    else:
        reply = plumbing.send(None, DOCTOR, [DOCTOR], message(DOCTOR), listener=way)
        assert reply.accepted, reply
    plumbing.wait_for(lambda: plumbing.mailbox("care", DOCTOR), "the mail")
    plumbing.settle()
    assert [store for store, _ in plumbing.everything()] == ["care"]


def test_the_milter_knows_the_side_the_login_and_the_connection(plumbing: Plumbing) -> None:
    submit(plumbing, DOCTOR)
    plumbing.send(None, NURSE, [DOCTOR], message(DOCTOR), listener="inbound")
    plumbing.send(None, NURSE, [DOCTOR], message(DOCTOR), listener="ntamx")
    plumbing.sendmail("-f", DOCTOR, DOCTOR, message=message(DOCTOR))
    plumbing.wait_for(lambda: len(plumbing.mailbox("care", DOCTOR)) == 4, "four mails")
    submission, inbound, ntamx, sendmail = (seen["macros"] for seen in plumbing.seen()[-4:])
    for stage in ("connect", "mail", "eom"):
        sides = [seen[stage]["{nta_side}"] for seen in (submission, inbound, ntamx, sendmail)]
        assert sides == ["outbound", "inbound", "ntamx", "outbound"]
    assert submission["mail"]["{auth_authen}"] == submission["eom"]["{auth_authen}"] == DOCTOR
    assert inbound["mail"]["{auth_authen}"] is sendmail["mail"]["{auth_authen}"] is None
    assert ntamx["mail"]["{tls_version}"] == "TLSv1.3"
    assert ntamx["mail"]["{cipher_bits}"] == "256"
    assert sendmail["mail"]["{tls_version}"] is None
    assert sendmail["connect"]["{client_addr}"] == "127.0.0.1"
    assert submission["connect"]["{client_addr}"] == "127.0.0.90"
    assert all(seen["eom"]["i"] for seen in (submission, inbound, ntamx, sendmail))


def test_the_ntamx_listener_takes_nothing_without_tls(plumbing: Plumbing) -> None:
    with plumbing.session("ntamx", tls=False) as client:
        assert client.transmit(NURSE, [DOCTOR], message(DOCTOR)).code == 530


@pytest.mark.parametrize("listener", ["submission", "inbound", "ntamx"])
def test_without_the_milter_no_mail_is_taken(plumbing: Plumbing, listener: str) -> None:
    plumbing.stop_milter(kill=True)
    login = DOCTOR if listener == "submission" else None
    reply = plumbing.send(login, DOCTOR, [DOCTOR], message(DOCTOR), listener=listener)
    assert reply.code in (451, 454), reply
    assert plumbing.queue() == []


def test_sendmail_waits_while_the_milter_is_away_or_says_later(plumbing: Plumbing) -> None:
    plumbing.stop_milter(kill=True)
    plumbing.sendmail("-f", DOCTOR, NURSE, message=message())
    plumbing.wait_for(lambda: "milter-reject: CONNECT" in plumbing.log(), "the milter is missed")
    assert [each["queue_name"] for each in plumbing.queue()] == ["maildrop"]
    plumbing.order(reply="tempfail")
    plumbing.start_milter()
    before = len(plumbing.seen())
    plumbing.sendmail("-f", DOCTOR, NURSE, message=message())
    plumbing.wait_for(lambda: len(plumbing.seen()) > before, "the milter is asked")
    plumbing.wait_for(lambda: [m["queue_name"] for m in plumbing.queue()] == ["maildrop"] * 2, "both wait")
    assert plumbing.everything() == []
    plumbing.order(route="[nta.hospital.test]")
    plumbing.wait_for(
        lambda: plumbing.pick_up() or len(plumbing.mailbox("nta.hospital", NURSE)) == 2,
        "both arrive",
        pause=0.3,
    )


def test_sendmail_that_is_refused_comes_back_without_its_text(plumbing: Plumbing) -> None:
    plumbing.order(reply="reject")
    plumbing.sendmail("-f", DOCTOR, NURSE, message=message())
    (report,) = plumbing.wait_for(lambda: plumbing.mailbox("care", DOCTOR), "the report")
    assert b"text/rfc822-headers" in report.raw
    assert CANARY.encode() not in report.raw
    nothing_in_clear_outside(plumbing)


def test_a_copy_handed_in_without_a_route_waits(plumbing: Plumbing) -> None:
    with plumbing.hand_in() as client:
        client.sendmail(DOCTOR, [NURSE], message())
    assert "NTA route missing" in deferral(plumbing)
    plumbing.postsuper("-r", "ALL")
    plumbing.settle()
    assert "NTA route missing" in deferral(plumbing)
    assert plumbing.everything() == []


def test_a_copy_handed_in_with_a_route_is_signed_and_delivered_over_dane(plumbing: Plumbing) -> None:
    with plumbing.hand_in() as client:
        client.sendmail(DOCTOR, [NURSE], b"X-Nta-Route: [nta.hospital.test]\r\n" + message())
    (mail,) = plumbing.wait_for(lambda: plumbing.mailbox("nta.hospital", NURSE), "the mail")
    assert b"X-Nta" not in mail.headers
    assert b"dkim=pass" in mail.headers


def test_a_route_inside_an_attachment_changes_nothing(plumbing: Plumbing) -> None:
    nested = (
        message()
        .replace(b"text/plain; charset=utf-8", b"multipart/mixed; boundary=x")
        .replace(
            b"Pati", b"--x\r\nContent-Type: message/rfc822\r\n\r\nX-Nta-Route: mx\r\nSubject: y\r\n\r\nPati"
        )
    )
    with plumbing.hand_in() as client:
        client.sendmail(DOCTOR, [NURSE], nested)
    assert "NTA route missing" in deferral(plumbing)


def test_the_commit_recipient_waits_for_the_worker_and_cannot_be_written_to(plumbing: Plumbing) -> None:
    plumbing.order(recipient=COMMIT)
    submit(plumbing, DOCTOR)
    assert "nta-worker/commit.sock" in deferral(plumbing)
    for listener, login in (("submission", DOCTOR), ("inbound", None), ("ntamx", None)):
        reply = plumbing.send(login, DOCTOR, [COMMIT], message(), listener=listener)
        assert reply.code == 554, reply


def test_catch_alls_do_not_take_the_commit_recipient(plumbing: Plumbing) -> None:
    plumbing.postfix["care"].set(
        virtual_alias_maps=f"regexp:/etc/postfix/nta_keep, inline:{{ {{ @nta.invalid = {JAN} }} }}",
        transport_maps="regexp:/etc/postfix/nta_transport, inline:{ {*=smtp:[127.0.0.31]} }",
    )
    plumbing.order(recipient=COMMIT)
    submit(plumbing, JAN)
    plumbing.wait_for(lambda: plumbing.mailbox("mx.citizen", JAN), "the mail")
    assert "nta-worker/commit.sock" in deferral(plumbing)
    assert len(plumbing.mailbox("mx.citizen", JAN)) == 1


def test_the_hospital_refuses_mail_without_a_dkim_signature(plumbing: Plumbing) -> None:
    reply = plumbing.send(None, DOCTOR, [NURSE], message(), listener="127.0.0.21:25")
    assert reply.code == 550, reply
