"""The real milter process on real DNSSEC and real keys, driven as an MTA drives it: what does it do?

Among them every bad input that issue and experience name: each has a defined answer and a log line.
"""

import base64
import os
import re
import socket
import time
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

import pytest

from tests.laboratory.alone import Alone
from tests.laboratory.certificates import openssl
from tests.laboratory.dns import Zone, txt

BSN = "Het BSN van de patiënt is 123456782.".encode()
PLAIN = [(b"From", b" doctor@care.test"), (b"To", b" nurse@hospital.test"), (b"Subject", b" Overleg")]
TEXT = [*PLAIN, (b"MIME-Version", b" 1.0"), (b"Content-Type", b" text/plain; charset=utf-8")]
VALID = "v=NTA7516-1;startdate=2024-01;enddate=2099-12;provider=X"
ODD = [
    Zone("long.test", [f"@ TXT {txt(VALID + ';x=' + 'y' * 4000)}", "@ MX 10 mx.long.test."]),
    Zone("two.test", [f"@ TXT {txt(VALID)}", f"@ TXT {txt(VALID.replace('2024', '2025'))}"]),
    Zone("malformed.test", [f"@ TXT {txt(VALID + ';ntamx=ten mx.malformed.test')}"]),
    Zone("stopper.test", [f"@ TXT {txt(VALID + ';ntamx=10 mx..stopper.test')}"]),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with Alone(tmp_path_factory.mktemp("alone"), 15311, ODD) as running:
        yield running


def doctor(alone, **client):
    return alone.mta(**{"login": "doctor@care.test", **client})


def send(alone, recipients, fields, body, *, sender="doctor@care.test", **client):
    with doctor(alone, **client) as mta:
        return mta.send(sender, recipients, fields, body, queue_id=f"T{time.monotonic_ns():X}")


def decrypted(alone, actions, fields):
    """What the hospital's openssl makes of the message that leaves."""
    gateway = alone.certificates.gateway("hospital.test")
    after = actions.headers(fields)
    mail = b"".join(b"%b:%b\r\n" % pair for pair in after) + b"\r\n" + actions.body
    return after, openssl(
        *("cms", "-decrypt", "-recip", gateway.certificate, "-inkey", gateway.key), stdin=mail
    )


def content(alone, inner):
    """The text inside the signature, when openssl finds that good."""
    trust = alone.certificates.authority.certificate
    return BytesParser(policy=default).parsebytes(openssl("cms", "-verify", "-CAfile", trust, stdin=inner))


def is_smime(actions):
    return actions.body is not None and any(
        name == b"X-Nta-Route" and value.strip() == b"[nta.hospital.test]" for name, value in actions.added
    )


def test_sensitive_mail_becomes_smime_that_openssl_opens(alone):
    actions = send(alone, ["nurse@hospital.test"], TEXT, BSN)
    assert is_smime(actions), (actions, alone.log)
    after, inner = decrypted(alone, actions, TEXT)
    message = content(alone, inner)
    assert message.get_payload(decode=True) == BSN
    assert message["Subject"] == "Overleg"
    names = {name.lower() for name, _ in after}
    assert names <= {
        *(b"from", b"to", b"subject", b"mime-version", b"x-nta-route"),
        *(b"content-type", b"content-transfer-encoding", b"content-disposition"),
    }
    assert all(b"Overleg" not in value for _, value in after)
    assert actions.sender == b"<doctor@care.test> RET=HDRS"


def test_invariant_6_untouched_means_untouched(alone):
    fields = [*TEXT, (b"Received", b" from a\n\tby b"), (b"X-Odd", b"\t tab and  spaces "), (b"X-Empty", b"")]
    actions = send(alone, ["jan@citizen.test"], fields, b"Tot morgen!\r\n")
    assert actions.verdict == "a"
    assert actions.untouched


def test_invariant_6_only_reserved_fields_are_removed(alone):
    fields = [*TEXT, (b"X-Nta-Route", b" [evil.test]"), (b"X-Keep", b" 1"), (b"x-nta-guard", b" on")]
    actions = send(alone, ["jan@citizen.test"], fields, b"Tot morgen!\r\n")
    assert actions.headers(fields) == [*TEXT, (b"X-Keep", b" 1")]
    assert actions.body is None
    assert actions.sender is None


def test_invariant_1_sensitive_mail_to_an_ordinary_domain_is_refused_without_a_portal(alone):
    actions = send(alone, ["jan@citizen.test"], TEXT, BSN)
    assert actions.reply.startswith("550 5.7.1 ")
    assert "secure download is not set up here" in actions.reply
    assert actions.untouched


def test_invariant_7_a_bogus_domain_waits_with_the_reason(alone):
    actions = send(alone, ["someone@broken.test"], TEXT, BSN)
    assert actions.reply.startswith("451 4.7.0 ")
    assert re.search("bogus|DNSSEC|SERVFAIL", actions.reply), actions.reply


def test_mixed_recipients_wait_as_a_whole(alone):
    actions = send(alone, ["nurse@hospital.test", "colleague@care.test"], TEXT, BSN)
    assert actions.reply.startswith("451 4.7.0 ")
    assert actions.untouched


def test_sensitive_mail_inside_is_pinned(alone):
    actions = send(alone, ["colleague@care.test"], TEXT, BSN)
    assert actions.added == [(b"X-Nta-Route", b" inside")]
    assert actions.body is None
    assert actions.sender == b"<doctor@care.test> RET=HDRS"


@pytest.mark.parametrize(
    ("client", "sender_field"),
    [
        ({"login": "colleague@care.test"}, b" doctor@care.test"),
        ({"login": "", "address": "192.0.2.9"}, b" doctor@care.test"),
        ({}, b" jan@citizen.test"),
        ({}, b" doctor@care.test, colleague@care.test"),
    ],
)
def test_invariant_5_no_oracle_for_clients_that_are_not_proven(alone, client, sender_field):
    fields = [(b"From", sender_field), *TEXT[1:]]
    actions = send(alone, ["nurse@hospital.test"], fields, BSN, **client)
    assert actions.reply.startswith("550 5.7.1 ")
    assert actions.untouched


def test_an_unmarked_listener_stops_the_mail_and_says_so(alone):
    actions = send(alone, ["jan@citizen.test"], TEXT, b"hoi", side="")
    assert actions.reply.startswith("451 4.3.5 ")
    assert "event=listener-unmarked" in alone.log


# Bad input, outbound.


def test_a_missing_content_type_is_text_plain(alone):
    actions = send(alone, ["nurse@hospital.test"], PLAIN, BSN)
    assert is_smime(actions)


def test_an_empty_message_passes(alone):
    actions = send(alone, ["jan@citizen.test"], [], b"")
    assert actions.verdict == "a"
    assert actions.untouched


def test_raw_8_bit_and_nul_are_carried_on(alone):
    fields = [(b"From", b" doctor@care.test"), (b"Subject", b" caf\xe9"), (b"X-Raw", b" \xff\xfe")]
    actions = send(alone, ["jan@citizen.test"], fields, b"nul \0 here\xff\r\n")
    assert actions.verdict == "a"
    assert actions.untouched


def test_raw_8_bit_and_nul_survive_the_encryption(alone):
    fields = [*PLAIN[:2], (b"Subject", b" caf\xe9 overleg"), (b"Content-Type", b" text/plain")]
    actions = send(alone, ["nurse@hospital.test"], fields, BSN + b"\0\xff")
    _, inner = decrypted(alone, actions, fields)
    assert content(alone, inner).get_payload(decode=True) == BSN + b"\0\xff"


def test_duplicate_subjects_pass_when_not_sensitive(alone):
    fields = [*TEXT, (b"Subject", b" again"), (b"From", b" colleague@care.test")]
    actions = send(alone, ["jan@citizen.test"], fields, b"hoi\r\n")
    assert actions.untouched
    assert actions.verdict == "a"


def test_duplicate_from_is_refused_when_sensitive(alone):
    fields = [*TEXT, (b"From", b" colleague@care.test")]
    actions = send(alone, ["nurse@hospital.test"], fields, BSN)
    assert actions.reply.startswith("550 5.7.1 ")


def test_duplicate_subjects_are_one_outside(alone):
    fields = [*TEXT, (b"Subject", b" BSN 123456782")]
    actions = send(alone, ["nurse@hospital.test"], fields, b"hoi\r\n")
    after = actions.headers(fields)
    subjects = [value for name, value in after if name.lower() == b"subject"]
    assert subjects == [b" [...]"]


def test_a_60_kb_header_passes(alone):
    fields = [*TEXT, (b"X-Long", b" " + b"x" * 60_000)]
    actions = send(alone, ["jan@citizen.test"], fields, b"hoi\r\n")
    assert actions.untouched
    assert actions.verdict == "a"


def test_too_many_header_bytes_are_refused(alone):
    fields = [*TEXT, *[(b"X-Long", b" " + b"x" * 60_000)] * 18]
    actions = send(alone, ["jan@citizen.test"], fields, b"hoi\r\n")
    assert actions.reply.startswith("554 5.6.0 ")
    alone.wait_for("event=refused")


def test_3000_nested_multiparts_are_refused(alone):
    fields = [*PLAIN, (b"Content-Type", b" multipart/mixed; boundary=b0")]
    body = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (i, i + 1) for i in range(3000)
    )
    actions = send(alone, ["jan@citizen.test"], fields, body)
    assert actions.reply.startswith("554 5.6.0 ")
    assert "nested" in actions.reply or "deep" in actions.reply


def test_100_recipients_of_one_gateway_share_one_ciphertext(alone):
    nurses = [f"nurse{i}@hospital.test" for i in range(100)]
    fields = [TEXT[0], (b"To", b" " + ", ".join(nurses).encode()), *TEXT[2:]]
    assert is_smime(send(alone, nurses, fields, BSN))


def test_invariant_3_a_hidden_recipient_needs_a_copy_of_his_own(alone):
    actions = send(alone, ["nurse@hospital.test", "hidden@hospital.test"], TEXT, BSN)
    assert actions.reply.startswith("451 ")
    assert "apart" in actions.reply


def test_a_null_sender_with_sensitive_content_is_refused(alone):
    actions = send(alone, ["nurse@hospital.test"], TEXT, BSN, sender="")
    assert actions.reply.startswith("550 5.7.1 ")


def test_a_null_sender_without_passes(alone):
    assert send(alone, ["nurse@hospital.test"], TEXT, b"gelezen\r\n", sender="").untouched


def test_smtputf8_addresses_are_carried_on(alone):
    fields = [(b"From", "zuster.renée@care.test".encode()), (b"To", "patiënt@citizen.test".encode())]
    actions = send(alone, ["patiënt@citizen.test"], fields, b"hoi\r\n", sender="zuster.renée@care.test")
    assert actions.untouched
    assert actions.verdict == "a"


def test_an_opaque_signature_that_poses_as_encrypted_is_not_encrypted(alone):
    person = alone.certificates.person("doctor@care.test", "Dokter de Wit")
    signed = openssl(
        *("cms", "-sign", "-nodetach", "-outform", "DER", "-binary"),
        *("-signer", person.certificate, "-inkey", person.key),
        stdin=b"Content-Type: text/plain\r\n\r\n" + BSN,
    )
    fields = [
        *PLAIN,
        (b"Content-Type", b" application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"),
        (b"Content-Transfer-Encoding", b" base64"),
        (b"X-Nta-Sensitive", b" yes"),
    ]
    body = base64.encodebytes(signed).replace(b"\n", b"\r\n")
    actions = send(alone, ["nurse@hospital.test"], fields, body)
    assert is_smime(actions)


@pytest.mark.parametrize(
    ("domain", "word"),
    [("long", ""), ("two", "ambiguous"), ("malformed", "ntamx"), ("stopper", "ntamx")],
)
def test_odd_records_never_lead_to_direct_delivery(alone, domain, word):
    actions = send(alone, [f"nurse@{domain}.test"], [*PLAIN[:1], *TEXT[2:]], BSN)
    assert actions.reply.startswith("550 5.7.1 ")
    assert actions.untouched
    assert word in actions.reply or "different" in actions.reply, actions.reply


# Bad input, inbound.


def enveloped(alone, *, sign=True, fields=b"", body=b"Uitslag: alles goed.\r\n"):
    """What nurse@hospital.test sends to the doctor, by openssl."""
    nurse = alone.certificates.person("nurse@hospital.test", "Verpleegkundige Bos")
    doctor_ = alone.certificates.person("doctor@care.test", "Dokter de Wit")
    content = fields + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body
    if sign:
        content = openssl(*("cms", "-sign", "-signer", nurse.certificate, "-inkey", nurse.key), stdin=content)
    mail = openssl("cms", "-encrypt", "-aes256", doctor_.certificate, stdin=content)
    head, _, tail = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
    headers = [
        (b"From", b" nurse@hospital.test"),
        (b"To", b" doctor@care.test"),
        (b"Subject", b" [...]"),
        *((line.split(b":", 1)[0], line.split(b":", 1)[1]) for line in head.split(b"\n") if line),
    ]
    return headers, tail.replace(b"\n", b"\r\n")


def receive(alone, recipients, fields, body, side="ntamx"):
    return send(
        alone,
        recipients,
        fields,
        body,
        sender="nurse@hospital.test",
        side=side,
        login="",
        address="192.0.2.1",
    )


def results(actions, fields):
    return [v for n, v in actions.headers(fields) if n.lower() == b"authentication-results"]


def test_what_arrives_for_the_doctor_is_opened_verified_and_marked(alone):
    fields, body = enveloped(alone)
    fields = [(b"Authentication-Results", b" nta.mx.care.test; smime=pass"), *fields]
    actions = receive(alone, ["doctor@care.test"], fields, body)
    assert actions.verdict == "a", alone.log
    assert b"alles goed" in actions.body
    after = [(name.lower(), value.strip()) for name, value in actions.headers(fields)]
    assert after.count((b"mime-version", b"1.0")) == 1
    assert (b"content-type", b"text/plain; charset=utf-8") in after
    (result,) = results(actions, fields)
    assert result.startswith(b" nta.mx.care.test; smime=pass ")
    assert b"body.smime-identifier=nurse@hospital.test" in result
    assert (b"X-Nta-Route", b" inside") in actions.added
    assert actions.sender == b"<postmaster@care.test> RET=HDRS"


@pytest.mark.parametrize("recipients", [["colleague@care.test"], ["doctor@care.test", "colleague@care.test"]])
def test_invariant_5_a_key_opens_only_for_whom_it_is_bound(alone, recipients):
    fields, body = enveloped(alone)
    actions = receive(alone, recipients, fields, body)
    assert actions.body is None
    (result,) = results(actions, fields)
    assert result.startswith(b" nta.mx.care.test; smime=neutral (not opened);")


def test_invariant_8_every_failure_to_open_looks_the_same(alone):
    fields, body = enveloped(alone)
    other = alone.certificates.person("piet@citizen.test", "Piet Puk")
    foreign = openssl("cms", "-encrypt", "-aes256", other.certificate, stdin=b"hoi")
    foreign_body = foreign.replace(b"\r\n", b"\n").partition(b"\n\n")[2].replace(b"\n", b"\r\n")
    flipped = bytearray(body)
    flipped[200] = ord("A") if flipped[200] != ord("A") else ord("B")
    answers = set()
    for broken in (body[: len(body) // 2], foreign_body, b"", b"AAAA\r\n", bytes(flipped)):
        actions = receive(alone, ["doctor@care.test"], fields, broken)
        assert actions.body is None
        answers.add((actions.verdict, tuple(actions.added), tuple(actions.changed), actions.sender))
    assert len(answers) == 1, answers
    assert alone.log.count("event=incoming") >= 5


def test_invariant_11_forged_marks_die_on_ordinary_mail_too(alone):
    fields = [
        (b"From", b" jan@citizen.test"),
        (b"X-Nta-Route", b" [evil.test]"),
        (b"Authentication-Results", b" (x) NTA.mx.care.test; smime=pass"),
        (b"Authentication-Results", b" mx.care.test; spf=pass"),
    ]
    actions = receive(alone, ["doctor@care.test"], fields, b"hoi\r\n", side="inbound")
    assert actions.headers(fields) == [fields[0], fields[3]]
    assert actions.body is None


def test_invariant_6_ordinary_mail_arrives_untouched(alone):
    actions = receive(alone, ["doctor@care.test"], TEXT, b"hoi\r\n", side="inbound")
    assert actions.untouched
    assert actions.verdict == "a"


# The process.


def test_postfix_waits_for_an_answer_at_end_of_message_alone(alone):
    no_replies_to = {
        **{"connect": 0x1000, "helo": 0x2000, "mail": 0x4000, "rcpt": 0x8000},
        **{"header": 0x80, "body": 0x80000},
    }
    not_sent = {"unknown": 0x100, "data": 0x200, "end of header": 0x40}
    with doctor(alone) as mta:
        agreed = [name for name, step in (no_replies_to | not_sent).items() if mta.steps & step]
    assert agreed == [*no_replies_to, *not_sent]


def test_a_connection_that_sends_nothing_harms_nobody(alone):
    for _ in range(5):
        probe = socket.socket(socket.AF_UNIX)
        probe.connect(str(alone.socket))
        probe.close()
    with doctor(alone) as mta:
        mta.begin_and_leave("doctor@care.test", "nurse@hospital.test")
    assert send(alone, ["jan@citizen.test"], TEXT, b"hoi\r\n").verdict == "a"


def test_spool_files_leave_nothing_behind(alone):
    body = b"x" * 76 + b"\r\n"
    actions = send(alone, ["jan@citizen.test"], TEXT, body * 30_000)
    assert actions.untouched
    assert list((alone.directory / "milter" / "spool").iterdir()) == []


def test_a_large_sensitive_message_is_encrypted_whole(alone):
    body = BSN + b"\r\n" + (b"x" * 76 + b"\r\n") * 30_000
    actions = send(alone, ["nurse@hospital.test"], TEXT, body)
    _, inner = decrypted(alone, actions, TEXT)
    assert body in inner
    assert content(alone, inner).get_payload(decode=True) == body


def test_every_outcome_of_a_sensitive_message_is_audited(alone):
    send(alone, ["nurse@hospital.test"], TEXT, BSN)
    assert '"event": "sent"' in alone.audit
    assert "123456782" not in alone.audit
    assert "Overleg" not in alone.audit


def test_the_log_holds_no_content(alone):
    send(alone, ["nurse@hospital.test"], TEXT, BSN)
    assert "123456782" not in alone.log
    assert "Overleg" not in alone.log
    assert "Traceback" not in alone.log


def test_invariant_9_reload_is_atomic(alone):
    good = alone.configuration.read_text()
    alone.configuration.write_text(good.replace('mode = "content"', 'mode = "contents"'))
    alone.reload()
    alone.wait_for("event=reload-refused")
    assert is_smime(send(alone, ["nurse@hospital.test"], TEXT, BSN))
    alone.configuration.write_text(good.replace('mode = "content"', 'mode = "always"'))
    alone.reload()
    alone.wait_for("event=reloaded")
    assert is_smime(send(alone, ["nurse@hospital.test"], TEXT, b"hoi\r\n"))
    alone.configuration.write_text(good)
    alone.reload()
    alone.wait_for("event=reloaded", times=2)


def test_invariant_9_a_broken_key_file_keeps_the_old_keys(alone):
    key = alone.directory / "milter" / "keys" / "broken.p12"
    key.write_bytes(b"this is no PKCS#12 file")
    before = alone.log.count("event=reload-refused")
    alone.reload()
    alone.wait_for("event=reload-refused", times=before + 1)
    assert "broken.p12" in alone.log
    key.unlink()
    fields, body = enveloped(alone)
    assert receive(alone, ["doctor@care.test"], fields, body).body is not None


def test_an_emptied_table_stops_routed_mail_at_once(alone):
    table = alone.postfix / "nta_route"
    text = table.read_text()
    table.write_text("")
    try:
        actions = send(alone, ["nurse@hospital.test"], TEXT, BSN)
        assert actions.reply.startswith("451 4.7.0 ")
        assert "milter_header_checks" in actions.reply
        fields, body = enveloped(alone)
        assert receive(alone, ["doctor@care.test"], fields, body).body is None
    finally:
        table.write_text(text)
    assert is_smime(send(alone, ["nurse@hospital.test"], TEXT, BSN))


def test_a_dead_worker_is_replaced(alone):
    pids = [int(pid) for pid in Path(f"/proc/{alone.pid}/task/{alone.pid}/children").read_text().split()]
    os.kill(pids[0], 9)
    alone.wait_for("event=worker-died")
    assert send(alone, ["jan@citizen.test"], TEXT, b"hoi\r\n").verdict == "a"


def test_shadow_mode_changes_nothing_and_logs_what_would_be(tmp_path):
    with Alone(tmp_path, 15312, mode="shadow") as shadow:
        actions = send(shadow, ["nurse@hospital.test"], TEXT, BSN)
        assert actions.untouched
        assert actions.verdict == "a"
        assert "route=smime" in shadow.log
        assert send(shadow, ["jan@citizen.test"], TEXT, BSN).verdict == "a"
        assert "route=reject" in shadow.log
        assert shadow.stop() == 0
        assert not shadow.socket.exists()
