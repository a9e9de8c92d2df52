"""The line: encrypted out, opened in, never in clear."""

from __future__ import annotations

import email
import re

from tests.laboratory.certificates import openssl
from tests.laboratory.dns import Zone
from tests.laboratory.laboratory import Laboratory
from tests.laboratory.messages import Mail, ordinary, sensitive, sightings
from tests.laboratory.names import zones
from tests.laboratory.scenarios.proof import (
    BROKEN,
    COLLEAGUE,
    DOCTOR,
    JAN,
    NURSE,
    SECRETARY,
    accepted,
    arrived,
    nothing_in_clear,
    opened,
    require,
    submit,
)
from tests.laboratory.store import Delivered

OWN_ID = "nta.mx.care.test"
HOSPITAL_ADDRESS = "127.0.0.21"


def to_the_hospital(laboratory: Laboratory) -> str:
    """Scenario 1."""
    mail = sensitive(DOCTOR, NURSE)
    queue_id = accepted(submit(laboratory, mail, NURSE))
    received = arrived(laboratory, "nta.hospital", NURSE)
    kind = email.message_from_bytes(received.raw)
    require(
        kind.get_content_type() == "application/pkcs7-mime"
        and "enveloped" in str(kind.get_param("smime-type")).lower(),
        f"it arrives as {kind['Content-Type']}",
    )
    seen = sightings(received.headers + b"\r\n", mail.canaries.values())
    require(not seen, f"an outer header shows {seen and seen[0]}")
    hospital = laboratory.certificates.gateway("hospital.test")
    content, signer = opened(received.raw, hospital, laboratory.certificates.authority.certificate)
    require(content.partition(b"\r\n\r\n")[2] == mail.body, "the hospital's openssl finds another body")
    same = (
        email.message_from_bytes(content).get_boundary() == email.message_from_bytes(mail.raw).get_boundary()
    )
    require(same, "the hospital's openssl finds another Content-Type")
    require(signer == DOCTOR, f"the signer is {signer}")
    dkim = re.search(rb"dkim=(\w+) .*?header\.d=([\w.]+)", received.headers)
    require(dkim and dkim.groups() == (b"pass", b"care.test"), "no valid DKIM signature of care.test")
    log = laboratory.log()
    verified = "Verified TLS connection established to nta.hospital.test[127.0.0.21]:25"
    require(verified in log, "Postfix has logged no verified connection")
    relay = f"{queue_id}: to=<{NURSE}>, relay=nta.hospital.test[127.0.0.21]:25"
    require(relay in log, "Postfix has logged another relay")
    require(not laboratory.mailbox("mx.hospital", NURSE), "the ordinary MX has got a copy")
    nothing_in_clear(laboratory, mail.canaries.values())
    return f"{verified}; openssl opens it, signed by {signer}, DKIM passes, no canary outside"


def from_the_hospital(laboratory: Laboratory) -> Mail:
    """A mail of the nurse, signed and encrypted to the doctor by openssl, with a forged result header."""
    mail = sensitive(NURSE, DOCTOR)
    certificates = laboratory.certificates
    nurse, doctor = certificates.person(NURSE, "Verpleegkundige Ali"), certificates.person(DOCTOR, "")
    key = ("-signer", nurse.certificate, "-inkey", nurse.key)
    signed = openssl("cms", "-sign", "-md", "sha256", "-crlfeol", *key, stdin=mail.mime)
    sealed = openssl("cms", "-encrypt", "-aes256", "-crlfeol", doctor.certificate, stdin=signed)
    fields = [
        f"Authentication-Results: {OWN_ID}; smime=pass (forged)",
        f"authentication-results: (comment) {OWN_ID.upper()} ; smime=pass (forged too)",
        f"From: Verpleegkundige <{NURSE}>",
        f"To: {DOCTOR}",
        "Subject: Versleuteld bericht",
        f"Message-ID: {email.message_from_bytes(mail.raw)['Message-ID']}",
        f"Date: {email.message_from_bytes(mail.raw)['Date']}",
        "",
    ]
    lines = sealed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return Mail("\r\n".join(fields).encode() + lines, mail.canaries)


def own_results(received: Delivered) -> list[str]:
    """The Authentication-Results fields in our own name."""
    values = email.message_from_bytes(received.raw).get_all("Authentication-Results", [])
    return [" ".join(value.split()) for value in values if OWN_ID in value.lower()]


def deliver(laboratory: Laboratory, mail: Mail, recipient: str) -> Delivered:
    """Hand a mail to the ntamx listener as the hospital does."""
    with laboratory.session("ntamx", source=HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [recipient], mail.raw))
    return arrived(laboratory, "care", recipient)


def to_the_doctor(laboratory: Laboratory) -> str:
    """Scenario 3."""
    mail = from_the_hospital(laboratory)
    received = deliver(laboratory, mail, DOCTOR)
    read = " ".join(sightings(received.raw, mail.canaries.values()))
    for place in ("text", "html", "attachment", "filename"):
        require(mail.canaries[place] in read, f"the {place} cannot be read")
    results = own_results(received)
    require(len(results) == 1, f"results in our name: {results}")
    require(results[0].startswith(f"{OWN_ID}; smime=pass"), f"the result is {results[0]}")
    require("forged" not in received.raw.decode("utf-8", "replace"), "a forged result has survived")
    return f"readable; {results[0]}; the forged results are gone"


def to_the_colleague(laboratory: Laboratory) -> str:
    """Scenario 3b."""
    mail = from_the_hospital(laboratory)
    received = deliver(laboratory, mail, COLLEAGUE)
    require(received.body == mail.body, "the body was touched")
    require(not sightings(received.raw, mail.canaries.values()), "it was opened")
    results = own_results(received)
    require(len(results) == 1 and "smime=pass" not in results[0], f"results in our name: {results}")
    return f"unopened, byte for byte; {results[0]}"


def untouched(laboratory: Laboratory) -> str:
    """Scenario 4."""
    places = (("mx.hospital", NURSE), ("mx.citizen", JAN), ("care", COLLEAGUE))
    for store, recipient in places:
        mail = ordinary(DOCTOR, recipient)
        accepted(submit(laboratory, mail, recipient))
        received = arrived(laboratory, store, recipient)
        require(
            received.raw.endswith(mail.raw),
            f"{recipient} has got other bytes:\n{received.raw!r}\n{mail.raw!r}",
        )
        added = email.message_from_bytes(received.raw[: -len(mail.raw)])
        strange = set(added) - {"Received", "DKIM-Signature", "Authentication-Results"}
        require(not strange, f"fields were added: {', '.join(strange)}")
    mail = ordinary(DOCTOR, NURSE, JAN, COLLEAGUE)
    accepted(submit(laboratory, mail, NURSE, JAN, COLLEAGUE))
    for store, recipient in places:
        mails = laboratory.wait_for(
            lambda store=store, recipient=recipient: laboratory.mailbox(store, recipient)[1:],  # type: ignore[misc]
            f"the second mail for {recipient}",
        )
        require(mails[0].raw.endswith(mail.raw), f"{recipient} has got other bytes")
    return "byte-identical at the hospital's MX, at the citizen and inside"


def to_a_broken_domain(laboratory: Laboratory) -> str:
    """Scenario 5."""
    mail = sensitive(DOCTOR, BROKEN)
    reply = submit(laboratory, mail, BROKEN)
    require(reply.code == 451, f"the answer is {reply.code} {reply.text}")
    require("dnssec bogus" in reply.text, f"the answer gives another reason: {reply.text}")
    laboratory.settle()
    require(not laboratory.queue() and not laboratory.everything(), "something was queued")
    return f"{reply.code} {reply.text}"


def every_failure_defers(laboratory: Laboratory) -> str:
    """Scenario 7."""
    care = laboratory.postfix["care"]
    mail = sensitive(DOCTOR, NURSE)
    laboratory.stop_milter()
    reply = submit(laboratory, mail, NURSE)
    require(400 <= reply.code < 500, f"milter stopped: {reply.code} {reply.text}")
    laboratory.start_milter()

    care.edit("nta_route", "")
    reply = submit(laboratory, mail, NURSE)
    require(reply.code == 451, f"routing table emptied: {reply.code} {reply.text}")
    require(not laboratory.everything(), "something arrived somewhere")
    care.restore()

    right = next(zone for zone in zones(laboratory.certificates) if zone.name == "hospital.test")
    records = [re.sub(r"(TLSA 3 1 1) \w+", r"\1 " + "00" * 32, line) for line in right.records]
    laboratory.dns.reload(Zone("hospital.test", records))
    accepted(submit(laboratory, mail, NURSE))
    reason = _deferred(laboratory)
    for _ in range(2):
        laboratory.postsuper("-r", "ALL")
        laboratory.settle()
        laboratory.flush()
        laboratory.settle()
        require(_deferred(laboratory), "the message has left the queue")
    require(not laboratory.everything(), "something arrived somewhere")
    laboratory.dns.reload(right)
    care.reload()  # a running smtp(8) remembers TLSA records
    laboratory.flush()
    arrived(laboratory, "nta.hospital", NURSE)
    nothing_in_clear(laboratory, mail.canaries.values())
    return f"deferred each time (at last: {reason}); with the right TLSA it arrives, encrypted"


def _deferred(laboratory: Laboratory) -> str:
    (message,) = laboratory.wait_for(
        lambda: [each for each in laboratory.queue() if each["queue_name"] == "deferred"],
        "a deferred message",
    )
    return str(message["recipients"][0]["delay_reason"])


def no_way_around(laboratory: Laboratory) -> str:
    """Scenario 8."""
    care = laboratory.postfix["care"]
    canaries: list[str] = []

    def letter(sender: str, *recipients: str) -> Mail:
        mail = sensitive(sender, *recipients)
        canaries.extend(mail.canaries.values())
        return mail

    care.set(always_bcc="archief@citizen.test")
    care.edit("aliases", f"colleague {JAN}\n")
    laboratory.forward("secretary", f"{JAN}\n")
    incoming = from_the_hospital(laboratory)
    canaries.extend(incoming.canaries.values())
    deliver(laboratory, incoming, DOCTOR)
    for recipient in (JAN, NURSE):
        laboratory.sendmail(
            "-f", DOCTOR, recipient, message=letter(DOCTOR, recipient).raw.replace(b"\r\n", b"\n")
        )
    arrived(laboratory, "nta.hospital", NURSE)
    laboratory.settle(maildrop=False)
    for recipient in (COLLEAGUE, SECRETARY):
        accepted(submit(laboratory, letter(DOCTOR, recipient), recipient))
        arrived(laboratory, "care", recipient)
    accepted(submit(laboratory, letter(DOCTOR, JAN), JAN))
    laboratory.settle(maildrop=False)
    left = nothing_in_clear(laboratory, canaries)
    waiting = [each for each in laboratory.queue() if each["queue_name"] == "maildrop"]
    reports = laboratory.mailbox("care", DOCTOR)[1:]
    notified = laboratory.mailbox("mx.citizen", JAN)
    require(waiting or reports or notified, "the mail by sendmail(1) to the citizen is lost")
    return f"mails that have left: {left}, readable: none; none is lost"
