"""Invariants that show on a real Postfix with the real milter: nothing leaves twice, nothing is quoted."""

from __future__ import annotations

import os
import sys

from tests.laboratory import Laboratory
from tests.laboratory.store import Delivered

DOCTOR = "doctor@care.test"
NURSE = "nurse@hospital.test"
CANARY = "kanarie-5502"
LATER = """
import Milter
class Later(Milter.Base):
    def eom(self):
        return Milter.TEMPFAIL
Milter.factory = Later
Milter.runmilter("later", "unix:/var/spool/postfix/nta-milter/later.sock", 300)
"""
"""A milter behind ours that takes no message now."""


def message(words: str = "de diagnose") -> bytes:
    lines = (
        *(f"From: {DOCTOR}", f"To: {NURSE}", "Subject: proef", "Date: Mon, 2 Mar 2026 09:00:00 +0100"),
        *("Message-ID: <proef@care.test>", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8"),
        *("", f"Over {words}: {CANARY}", ""),
    )
    return "\r\n".join(lines).encode()


def arrived(laboratory: Laboratory) -> list[Delivered]:
    return [mail for store, mail in laboratory.everything() if store != "care"]


def test_invariant_4_a_failed_transaction_sends_nothing_and_its_retry_one(laboratory: Laboratory) -> None:
    later = laboratory.namespace.popen(
        *(sys.executable, "-c", LATER),
        log=laboratory.directory / "later.log",
        environment=dict(os.environ),
        umask=0o007,
    )
    socket = laboratory.directory / "care" / "queue" / "nta-milter" / "later.sock"
    laboratory.wait_for(socket.exists, "the other milter")
    laboratory.postfix["care"].set(nta_signer="unix:nta-milter/later.sock")
    before = laboratory.milter_log().count("route=smime")
    reply = laboratory.send(DOCTOR, DOCTOR, [NURSE], message())
    assert (reply.code, reply.stage) == (451, "end")
    assert laboratory.milter_log().count("route=smime") == before + 1
    laboratory.settle()
    assert laboratory.queue() == []
    assert arrived(laboratory) == []
    laboratory.postfix["care"].set(nta_signer="unix:opendkim/opendkim.sock")
    later.end(kill=True)
    assert laboratory.send(DOCTOR, DOCTOR, [NURSE], message()).accepted
    (mail,) = laboratory.wait_for(lambda: arrived(laboratory), "the mail")
    laboratory.settle()
    assert len(arrived(laboratory)) == 1
    assert b"application/pkcs7-mime" in mail.headers
    assert CANARY.encode() not in mail.raw


def test_invariant_13_a_report_quotes_nothing_of_a_sensitive_message(laboratory: Laboratory) -> None:
    laboratory.postfix["hospital"].set(
        smtpd_recipient_restrictions="reject", smtpd_relay_restrictions="reject"
    )
    reply = laboratory.send(DOCTOR, DOCTOR, [NURSE], message())
    assert reply.accepted, reply
    (report,) = laboratory.wait_for(lambda: laboratory.mailbox("care", DOCTOR), "the report")
    assert b"Undelivered Mail Returned to Sender" in report.headers
    assert b"554 5.7.1" in report.body
    assert b"pkcs7-mime" in report.body
    assert CANARY.encode() not in report.raw
    assert b"\r\nMII" not in report.body
    assert arrived(laboratory) == []
