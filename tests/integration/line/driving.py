"""How a message is given to the milter as an MTA gives it, and what comes of it."""

import time
from email.parser import BytesParser
from email.policy import default

from tests.laboratory.certificates import openssl

BSN = "Het BSN van de patiënt is 123456782.".encode()
PLAIN = [(b"From", b" doctor@care.test"), (b"To", b" nurse@hospital.test"), (b"Subject", b" Overleg")]
TEXT = [*PLAIN, (b"MIME-Version", b" 1.0"), (b"Content-Type", b" text/plain; charset=utf-8")]


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


def enveloped(alone, *, sign=True, fields=b"", body=b"Uitslag: alles goed.\r\n"):
    """What nurse@hospital.test sends to the doctor, by openssl."""
    nurse = alone.certificates.person("nurse@hospital.test", "Verpleegkundige Bos")
    doctor_ = alone.certificates.person("doctor@care.test", "Dokter de Wit")
    content = fields + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body
    if sign:
        form = ("-nodetach",) if sign == "opaque" else ()
        content = openssl(
            *("cms", "-sign", "-signer", nurse.certificate, "-inkey", nurse.key, *form), stdin=content
        )
    return _fields_and_body(openssl("cms", "-encrypt", "-aes256", doctor_.certificate, stdin=content))


def opaque(alone, form="-nodetach"):
    """What nurse@hospital.test signs, by openssl."""
    nurse = alone.certificates.person("nurse@hospital.test", "Verpleegkundige Bos")
    content = b"Content-Type: text/plain; charset=utf-8\r\n\r\nUitslag: alles goed.\r\n"
    words = ("cms", "-sign", "-signer", nurse.certificate, "-inkey", nurse.key, form)
    return _fields_and_body(openssl(*words, stdin=content))


def _fields_and_body(mail):
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
