"""What others do to our mail: a later milter, a client, the peer, a mailbox. It leaves once or not at all."""

from __future__ import annotations

import email
import re
import socket
import struct
from email.message import Message

from tests.laboratory.certificates import openssl
from tests.laboratory.laboratory import Laboratory
from tests.laboratory.later import Later
from tests.laboratory.messages import Mail, sensitive, sightings
from tests.laboratory.names import PORTAL_URL
from tests.laboratory.scenarios.apart import come_to_rest, give_up_what_has_no_end
from tests.laboratory.scenarios.download import CODE, notified
from tests.laboratory.scenarios.line import HOSPITAL_ADDRESS
from tests.laboratory.scenarios.proof import (
    CLINIC,
    DOCTOR,
    JAN,
    NURSE,
    accepted,
    arrived,
    nothing_in_clear,
    require,
    submit,
)

BOTH = (NURSE, JAN)
ARRIVED = [("mx.citizen", JAN), ("nta.hospital", NURSE)]
ORDERS = {"reject": 550, "tempfail": 451, "discard": 250}
"""What a later milter can do, and how Postfix then answers the client."""


def queued_or_not(laboratory: Laboratory) -> str:
    """Scenario 6b."""
    laboratory.agree(JAN, CODE)
    _refused_by_a_later_milter(laboratory)
    left = _reset_after_the_dot(laboratory)
    _waiting(laboratory)
    return (
        f"a later milter refused, put off, discarded: nothing left, shredded; reset after the dot: {left}; "
        "worker away, message requeued twice: each once"
    )


def _refused_by_a_later_milter(laboratory: Laboratory) -> None:
    mails = []
    with Later(laboratory) as later:
        for order, code in ORDERS.items():
            later.order(order)
            for recipients in (BOTH, (JAN,)):  # copies apart, and a deposit in place
                mails.append(sensitive(DOCTOR, *recipients))
                reply = submit(laboratory, mails[-1], *recipients)
                require(reply.code == code, f"after {order} the answer is {reply.code} {reply.text}")
    laboratory.settle()
    prepared = laboratory.stored.rows("SELECT state FROM messages")
    require(prepared == [("prepared",)] * 2 * len(ORDERS), f"stored are {prepared}")
    laboratory.stored.change("UPDATE messages SET expires_at = 0")  # of which nobody must be told
    give_up_what_has_no_end(laboratory)
    shredded(laboratory)
    require(not laboratory.everything() and not laboratory.queue(), "something has left")


def shredded(laboratory: Laboratory) -> None:
    """That the worker has destroyed every stored message; it does so when it starts, and now and then."""
    laboratory.stop_service("worker")
    laboratory.start_service("worker")
    laboratory.wait_for(
        lambda: {state for (state,) in laboratory.stored.rows("SELECT state FROM messages")} == {"shredded"},
        "the end of what was stored",
    )
    laboratory.wait_for(lambda: not laboratory.stored.contents(), "the end of the contents")
    kept = laboratory.stored.rows("SELECT worker_wrap FROM messages WHERE worker_wrap IS NOT NULL")
    require(not kept, "a key was kept")


def _reset_after_the_dot(laboratory: Laboratory) -> str:
    """The client sends the final dot and is gone: what Postfix has queued goes, and nothing else."""
    laboratory.reset()
    laboratory.agree(JAN, CODE)
    mail = sensitive(DOCTOR, *BOTH)
    before = len(_queued_from_the_doctor(laboratory))
    with laboratory.session("submission", DOCTOR) as client:
        client.mail(DOCTOR)
        for recipient in BOTH:
            client.rcpt(recipient)
        client.docmd("DATA")
        client.send(re.sub(rb"(?m)^\.", b"..", mail.raw) + b".\r\n")
        assert client.sock is not None
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()
    laboratory.wait_for(lambda: laboratory.stored.rows("SELECT id FROM messages"), "the prepared rows")
    gone = r"(disconnect|lost connection after [A-Z-]+) from \S*\[127\.0\.0\.90\]"
    laboratory.wait_for(lambda: re.search(gone, laboratory.log()), "the end of the session")
    laboratory.settle()
    times = len(_queued_from_the_doctor(laboratory)) - before
    if times:
        come_to_rest(laboratory)
    found = sorted((store, received.recipient) for store, received in laboratory.everything())
    require(found == sorted(ARRIVED * times), f"Postfix has queued it {times} times, and {found} arrived")
    nothing_in_clear(laboratory, mail.canaries.values())
    return "delivered once" if times else "never left"


def _queued_from_the_doctor(laboratory: Laboratory) -> set[str]:
    return set(re.findall(rf"qmgr\[\d+\]: (\w+): from=<{DOCTOR}>", laboratory.log()))


def _waiting(laboratory: Laboratory) -> None:
    """The worker is away for longer than Postfix's patience, and the message is requeued meanwhile."""
    laboratory.reset()
    laboratory.agree(JAN, CODE)
    seconds = dict.fromkeys(("queue_run_delay", "minimal_backoff_time", "maximal_backoff_time"), "1s")
    laboratory.postfix["care"].set(**seconds)
    laboratory.stop_service("worker")
    mail = sensitive(DOCTOR, *BOTH)
    accepted(submit(laboratory, mail, *BOTH))
    for _ in range(2):
        laboratory.wait_for(
            lambda: [each for each in laboratory.queue() if each["queue_name"] == "deferred"],
            "the message that waits for the worker",
        )
        laboratory.postsuper("-r", "ALL")
    laboratory.settle(maildrop=False)
    require(not laboratory.everything(), "something has left though nobody heard that Postfix has it")
    laboratory.start_service("worker")
    laboratory.wait_for(laboratory.everything, "the first copy")
    come_to_rest(laboratory)
    found = sorted((store, received.recipient) for store, received in laboratory.everything())
    require(found == ARRIVED, f"{found} arrived")
    notified(laboratory, "mx.citizen", JAN, mail)
    nothing_in_clear(laboratory, mail.canaries.values())


def reports_are_silent(laboratory: Laboratory) -> str:
    """Scenario 9."""
    refuses = {"smtpd_recipient_restrictions": "reject", "smtpd_relay_restrictions": "reject"}
    laboratory.postfix["hospital"].set(**refuses)
    dane = sensitive(DOCTOR, CLINIC)
    accepted(submit(laboratory, dane, CLINIC))
    _reported(laboratory, dane, "care", DOCTOR, CLINIC)

    laboratory.reset()
    laboratory.postfix["citizen"].set(**refuses)
    laboratory.agree(JAN, CODE)
    notification = sensitive(DOCTOR, JAN)
    accepted(submit(laboratory, notification, JAN))
    _reported(laboratory, notification, "care", DOCTOR, JAN)

    laboratory.reset()
    refused = laboratory.directory / "mailboxes" / "care" / DOCTOR / "refused"
    refused.parent.mkdir(parents=True)
    refused.touch()
    letter = with_hidden_subject(laboratory)
    with laboratory.session("ntamx", source=HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [DOCTOR], letter.raw))
    _reported(laboratory, letter, "mx.hospital", NURSE, DOCTOR)
    return "DANE mail, notification and opened mail refused: each sender has a report, which quotes nothing"


def _reported(laboratory: Laboratory, mail: Mail, store: str, sender: str, recipient: str) -> None:
    """That a sender has one report about a recipient, and nobody anything else."""
    received = arrived(laboratory, store, sender)
    report = email.message_from_bytes(received.raw)
    require(report.get_content_type() == "multipart/report", f"{sender} gets a {report['Content-Type']}")
    seen = sightings(received.raw, mail.canaries.values())
    require(not seen, f"the report about {recipient} quotes {seen and seen[0]}")
    require(PORTAL_URL not in received.raw.decode(), "the report shows the recipient's link")
    texts = [part for part in report.walk() if part.get_content_maintype() == "text"]
    words = " ".join(_text(part) for part in texts)
    require(recipient in words, f"the report does not say for whom: {words}")
    status = re.search(rf"Final-Recipient: rfc822; ?{recipient}\s+Action: failed\s+Status: 5\.", str(report))
    require(status, f"the report has no status of {recipient}:\n{report}")
    come_to_rest(laboratory)
    require(len(laboratory.everything()) == 1, "there is more than one mail")


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    return content.decode() if isinstance(content, bytes) else ""


def with_hidden_subject(laboratory: Laboratory) -> Mail:
    """A mail of the nurse to the doctor whose Subject and names stand inside the ciphertext (RFC 9788)."""
    mail = sensitive(NURSE, DOCTOR)
    certificates = laboratory.certificates
    nurse, doctor = certificates.person(NURSE, "Verpleegkundige Ali"), certificates.person(DOCTOR, "")
    inner = re.sub(rb'(boundary="buiten-\w+")', rb'\1; hp="cipher"', mail.raw, count=1)
    key = ("-signer", nurse.certificate, "-inkey", nurse.key)
    signed = openssl("cms", "-sign", "-md", "sha256", "-crlfeol", *key, stdin=inner)
    sealed = openssl("cms", "-encrypt", "-aes256", "-crlfeol", doctor.certificate, stdin=signed)
    fields = (
        f"From: {NURSE}",
        f"To: {DOCTOR}",
        "Subject: [...]",
        "Message-ID: <verborgen@hospital.test>",
        "",
    )
    lines = sealed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return Mail("\r\n".join(fields).encode() + lines, mail.canaries)
