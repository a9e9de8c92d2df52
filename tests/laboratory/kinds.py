"""Kinds of mail that mean more than their text, each as a mail program or server writes it, and sensitive."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

SENTENCE = "De diagnose van Kanarie-tekst is besproken."
CANARY = "Kanarie"
MARK = "nta-secure.0123456789abcdef0123456789abcdef@care.test"
"""The identifier that a secure thread carries in References."""


ROUTES = ("S/MIME", "DANE", "secure download", "among our users", "arriving, opened")
"""The columns of the table."""


@dataclass(frozen=True)
class Kind:
    """One kind: its name, how it is written to a recipient, and what is seen of it by each route.

    ``sender`` is the envelope's (None: the login's).
    """

    name: str
    write: Callable[[str], bytes]
    seen: tuple[str, str, str, str, str]
    sender: str | None = None
    login: str = "doctor@care.test"


def table() -> list[str]:
    """The table of packaging/doc/message-kinds.md, line by line."""
    head = f"| kind | {' | '.join(ROUTES)} |"
    return [
        head,
        "|---" * (len(ROUTES) + 1) + "|",
        *(f"| {kind.name} | {' | '.join(kind.seen)} |" for kind in KINDS),
    ]


def _mail(recipient: str, *fields: str, content: str, author: str = "doctor@care.test") -> bytes:
    lines = [
        f"From: {author}",
        f"To: {recipient}",
        "Subject: Kanarie-onderwerp",
        f"Date: {formatdate(localtime=True)}",
        "Message-ID: <kind@care.test>",
        *fields,
        "MIME-Version: 1.0",
    ]
    return ("\n".join(lines) + "\n" + content).replace("\n", "\r\n").encode()


def _text(text: str = SENTENCE) -> str:
    return f"Content-Type: text/plain; charset=utf-8\n\n{text}\n"


def _parts(kind: str, *parts: str) -> str:
    middle = "".join(f"--deel\n{part}" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="deel"\n\n{middle}--deel--\n'


def _file(kind: str, name: str, content: bytes) -> str:
    encoded = base64.encodebytes(content).decode()
    head = f'Content-Type: {kind}; name="{name}"\nContent-Disposition: attachment; filename="{name}"\n'
    return f"{head}Content-Transfer-Encoding: base64\n\n{encoded}"


_CALENDAR = (
    "Content-Type: text/calendar; method=REQUEST; charset=utf-8\n\n"
    "BEGIN:VCALENDAR\nMETHOD:REQUEST\nVERSION:2.0\nPRODID:-//test//NL\nBEGIN:VEVENT\nUID:kanarie@care.test\n"
    "DTSTAMP:20261124T100000Z\nDTSTART:20261201T100000Z\n"
    "SUMMARY:Kanarie-afspraak\nORGANIZER:mailto:doctor@care.test\n"
    "END:VEVENT\nEND:VCALENDAR\n"
)
_DISPOSITION = (
    "Content-Type: message/disposition-notification\n\n"
    "Reporting-UA: mail.care.test; Mail 1.0\nFinal-Recipient: rfc822; doctor@care.test\n"
    "Original-Message-ID: <question@hospital.test>\n"
    "Disposition: manual-action/MDN-sent-manually; displayed\n"
)
_STATUS = (
    "Content-Type: message/delivery-status\n\n"
    "Reporting-MTA: dns; mail.care.test\n\n"
    "Final-Recipient: rfc822; doctor@care.test\nAction: failed\nStatus: 5.2.2\n"
)
_ORIGINAL = (
    "Content-Type: text/rfc822-headers\n\nFrom: nurse@hospital.test\nSubject: Kanarie-vraag\n"
    f"References: <{MARK}>\n"
)


def _encrypted_zip() -> bytes:
    """A zip archive whose one member says that it is encrypted."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("uitslag.txt", "Kanarie-archief")
    data = bytearray(made.getvalue())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + at] |= 1
    return bytes(data)


_TNEF = b"\x78\x9f\x3e\x22\x01\x00" + b"Kanarie-tnef"
_ENVELOPED = (
    "Content-Type: message/rfc822\n\n"
    "From: nurse@hospital.test\nTo: doctor@care.test\nSubject: ...\nMIME-Version: 1.0\n"
    'Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\n'
    "Content-Transfer-Encoding: base64\n\nMIAGCSqGSIb3DQEHA6CAMIACAQAxgDCABgkqhkiG9w0BBwEwAAAA\n"
)

KINDS = (
    Kind(
        "invitation",
        lambda to: _mail(to, content=_parts("alternative", _text(), _CALENDAR)),
        (
            "inside: text/calendar",
            "readable: text/calendar",
            "notification; in the portal: text, invite.ics",
            "as it is: text/calendar",
            "text/calendar",
        ),
    ),
    Kind(
        "mail that asks for a receipt",
        lambda to: _mail(to, "Disposition-Notification-To: doctor@care.test", content=_text()),
        (
            "inside: Disposition-Notification-To",
            "readable: Disposition-Notification-To",
            "notification; in the portal: text",
            "as it is: Disposition-Notification-To",
            "Disposition-Notification-To",
        ),
    ),
    Kind(
        "receipt (MDN)",
        lambda to: _mail(
            to,
            f"References: <{MARK}>",
            content=_parts("report; report-type=disposition-notification", _text(), _DISPOSITION, _ORIGINAL),
        ),
        (
            *["without what it quotes: message/disposition-notification, Auto-Submitted"] * 3,
            "as it is: message/disposition-notification",
            "message/disposition-notification",
        ),
        sender="",
    ),
    Kind(
        "delivery report (DSN)",
        lambda to: _mail(
            to,
            "Auto-Submitted: auto-replied",
            content=_parts("report; report-type=delivery-status", _text(), _STATUS, _ORIGINAL),
        ),
        (
            *["without what it quotes: message/delivery-status, Auto-Submitted"] * 3,
            "as it is: message/delivery-status, Auto-Submitted",
            "message/delivery-status, Auto-Submitted",
        ),
        sender="",
    ),
    Kind(
        "auto-reply, null sender",
        lambda to: _mail(
            to, "Auto-Submitted: auto-replied", f"References: <{MARK}>", content=_text("Afwezig.")
        ),
        (*["refused (5.7.1)"] * 3, "as it is: Auto-Submitted", "Auto-Submitted"),
        sender="",
    ),
    Kind(
        "auto-reply, from a mailbox",
        lambda to: _mail(to, "Auto-Submitted: auto-replied", "Precedence: bulk", content=_text()),
        (
            "inside: Auto-Submitted, Precedence; outside: Auto-Submitted: auto-replied, Precedence: bulk",
            "readable: Auto-Submitted, Precedence",
            "notification; in the portal: text",
            "as it is: Auto-Submitted, Precedence",
            "Auto-Submitted, Precedence",
        ),
    ),
    Kind(
        "list mail",
        lambda to: _mail(to, "List-Id: <overleg.care.test>", "Precedence: list", content=_text()),
        (
            "inside: Precedence, List-Id; outside: Precedence: list",
            "readable: Precedence, List-Id",
            "notification; in the portal: text",
            "as it is: Precedence, List-Id",
            "Precedence, List-Id",
        ),
        sender="overleg-bounces@care.test",
    ),
    Kind(
        "delegate (Sender is not From)",
        lambda to: _mail(to, "Sender: secretary@care.test", content=_text()),
        (
            "inside: Sender",
            "readable: Sender",
            "notification; in the portal: text",
            "as it is: Sender",
            "Sender",
        ),
        login="secretary@care.test",
    ),
    Kind(
        "shared mailbox",
        lambda to: _mail(to, content=_text(), author="poli@care.test"),
        (
            "inside: text",
            "readable: text",
            "notification; in the portal: text",
            "as it is: text",
            "text",
        ),
        sender="poli@care.test",
        login="secretary@care.test",
    ),
    Kind(
        "winmail.dat",
        lambda to: _mail(
            to,
            content=_parts(
                "mixed", _text("Zie bijlage."), _file("application/ms-tnef", "winmail.dat", _TNEF)
            ),
        ),
        (
            "inside: application/ms-tnef",
            "readable: application/ms-tnef",
            "notification; in the portal: text, winmail.dat",
            "as it is: application/ms-tnef",
            "application/ms-tnef",
        ),
    ),
    Kind(
        "encrypted zip",
        lambda to: _mail(
            to,
            content=_parts(
                "mixed", _text("Zie bijlage."), _file("application/zip", "uitslag.zip", _encrypted_zip())
            ),
        ),
        (
            "inside: application/zip",
            "readable: application/zip",
            "notification; in the portal: text, uitslag.zip",
            "as it is: application/zip",
            "application/zip",
        ),
    ),
    Kind(
        "forwarded secure mail",
        lambda to: _mail(to, content=_parts("mixed", _text("Ter informatie."), _ENVELOPED)),
        (
            *["as it is: message/rfc822, application/pkcs7-mime"] * 3,
            "as it is: message/rfc822, application/pkcs7-mime",
            "message/rfc822, application/pkcs7-mime",
        ),
    ),
)
