"""Mails as people send them, for the tests of this folder."""

from __future__ import annotations

import base64

from nta_milter.message.headers import Headers, split
from nta_milter.message.model import Entity

ATTACHMENT = bytes(range(256)) * 20

MAIL = (
    "From: Dokter Zorg <{sender}>\r\n"
    "To: Anna Burger <anna@citizen.test>\r\n"
    "Subject: =?utf-8?q?Pati=C3=ABnt?= 42\r\n"
    "Date: Tue, 24 Nov 2026 13:00:00 +0100\r\n"
    "Message-ID: <1@care.test>\r\n"
    "Comments: niet voor buiten\r\n"
    "MIME-Version: 1.0\r\n"
    'Content-Type: multipart/mixed; boundary="grens"\r\n'
    "\r\n"
    "--grens\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n"
    "\r\n"
    "Beste Anna, uw patiëntnummer is 42. \r\n"
    "From vandaag af: {long}\r\n"
    "-- \r\n"
    "Zorg\r\n"
    "--grens\r\n"
    'Content-Type: application/octet-stream; name="uitslag.bin"\r\n'
    "Content-Transfer-Encoding: base64\r\n"
    "\r\n"
    "{attachment}"
    "--grens--\r\n"
)


def mail(sender: str = "rsa@care.test") -> Entity:
    """A multipart mail with 8-bit text, a long line, trailing blanks and an attachment."""
    attachment = base64.encodebytes(ATTACHMENT).decode().replace("\n", "\r\n")
    text = MAIL.format(sender=sender, long="lang " * 300, attachment=attachment)
    return parse(text.encode())


def parse(data: bytes) -> Entity:
    headers, start = split(data)
    return Entity(headers, data[start:])


def content(message: Entity) -> Entity:
    """What is signed or encrypted of a mail: the body with its own fields."""
    return Entity(message.headers.only(("Content-Type", "Content-Transfer-Encoding")), message.body)


def around(message: Entity, entity: Entity) -> Entity:
    """The mail with this entity as its body."""
    outer = message.headers.without(("Content-Type", "Content-Transfer-Encoding"))
    return Entity(Headers((*outer, *entity.headers)), entity.body)
