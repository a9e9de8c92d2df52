"""The real milter as a process: its protocol, its threads and files, its reload and its end."""

import os
import socket
from pathlib import Path

import pytest

from tests.integration.line.driving import (
    BSN,
    TEXT,
    content,
    decrypted,
    doctor,
    enveloped,
    is_smime,
    receive,
    send,
)
from tests.laboratory.alone import Alone


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


def test_a_postfix_that_dies_while_a_long_body_is_sent_holds_nobody_up(alone):
    body = BSN + b"\r\n" + (b"x" * 76 + b"\r\n") * 130_000
    before = alone.log.count("Postfix takes no more of the message")
    leaving = 10  # more than there are threads
    for _ in range(leaving):
        doctor(alone).send_and_leave("doctor@care.test", ["nurse@hospital.test"], TEXT, body)
    alone.wait_for("Postfix takes no more of the message", times=before + leaving)
    assert send(alone, ["nurse@hospital.test"], TEXT, BSN).verdict == "a"


@pytest.mark.parametrize("lines", [1, 130_000])
def test_invariant_2_a_message_that_cannot_be_recorded_does_not_go(tmp_path, lines):
    with Alone(tmp_path, 15316, audit={"file": "/dev/full"}) as full:
        actions = send(full, ["nurse@hospital.test"], TEXT, BSN + b"\r\n" + (b"x" * 76 + b"\r\n") * lines)
        assert actions.reply.startswith("451 ")
        assert "event=outgoing" not in full.log


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
