"""Mails as a Dutch care organisation sends them, with a canary in every place that could leak."""

from __future__ import annotations

import base64
import email
import email.header
import email.policy
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from email.utils import formatdate


@dataclass(frozen=True)
class Mail:
    """A mail with CRLF line ends, and the canaries in it by place."""

    raw: bytes
    canaries: dict[str, str]

    @property
    def body(self) -> bytes:
        """What follows the header fields."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def mime(self) -> bytes:
        """The MIME entity alone: Content-Type and body."""
        fields = self.raw.partition(b"\r\n\r\n")[0]
        return fields[fields.index(b"Content-Type:") :] + b"\r\n\r\n" + self.body


def _word(text: str) -> str:
    """An RFC 2047 encoded word."""
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


def sensitive(sender: str, *recipients: str) -> Mail:
    """A discharge letter: text and HTML, 8-bit, an attachment; sensitive by its words and its BSN."""
    token = secrets.token_hex(4)
    places = ("subject", "text", "html", "attachment", "filename", "sender", "recipient")
    canaries = {place: f"Kanarie-{place}-{token}" for place in places}
    document = f"naam;uitslag\r\n{canaries['attachment']};positief\r\n".encode()
    to = ",\r\n ".join(f'"{canaries["recipient"]}" <{each}>' for each in recipients)
    lines = [
        f"From: {_word('Renée ' + canaries['sender'])} <{sender}>",
        f"To: {to}",
        f"Subject: {_word('Ontslagbrief mevrouw ' + canaries['subject'] + ' – cardiologie')}",
        f"Date: {formatdate(localtime=True)}",
        f"Message-ID: <{token}@{sender.rpartition('@')[2]}>",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="buiten-{token}"',
        "",
        "Dit is een bericht in delen.",
        f"--buiten-{token}",
        f'Content-Type: multipart/alternative; boundary="binnen-{token}"',
        "",
        f"--binnen-{token}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        "Beste collega,",
        "",
        f"De diagnose van patiënte {canaries['text']} (BSN 111222333) is coöperatief besproken.",
        ". Een regel die met een punt begint",
        "From deze regel blijft zoals hij is.",
        "Groeten  ",
        f"--binnen-{token}",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        f"<p>De diagnose van patiënte <b>{canaries['html']}</b> is besproken.</p>",
        f"--binnen-{token}--",
        "",
        f"--buiten-{token}",
        "Content-Type: text/csv; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment; filename="{canaries["filename"]}.csv"',
        "",
        base64.b64encode(document).decode(),
        f"--buiten-{token}--",
        "",
    ]
    return Mail("\r\n".join(lines).encode(), canaries)


def ordinary(sender: str, *recipients: str) -> Mail:
    """An invitation to lunch, with what a careless rewrite would change."""
    token = secrets.token_hex(4)
    lines = [
        f"From: {_word('Renée de Wit')} <{sender}>",
        f"To: {', '.join(recipients)}",
        f"Subject:   Lunch op vrijdag?  {token}",
        f"Date: {formatdate(localtime=True)}",
        f"Message-ID: <{token}@{sender.rpartition('@')[2]}>",
        "X-Gevouwen: een",
        "\ttwee",
        "   drie",
        "x-KLEIN: eerste",
        "X-Klein: tweede",
        "X-Leeg:",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8; format=flowed",
        "Content-Transfer-Encoding: 8bit",
        "",
        "Hoi, zin in pannenkoeken? Reünie op het terras – één tafel.   ",
        "..",
        ".",
        "From hier af is het " + "heel " * 150 + "lang.",
        "\t",
        "",
        "",
    ]
    return Mail("\r\n".join(lines).encode(), {"text": token})


def sightings(raw: bytes, canaries: Iterable[str]) -> list[str]:
    """Where canaries can be read in a mail, by a person or a machine: ``place: canary``."""
    found = []
    wanted = tuple(canaries)
    for place, text in _readable(email.message_from_bytes(raw, policy=email.policy.compat32)):
        found += [f"{place}: {canary}" for canary in wanted if canary in text]
    whole = raw.decode("utf-8", "replace")
    found += [f"as it stands: {canary}" for canary in wanted if canary in whole]
    return found


def _readable(part: Message) -> Iterable[tuple[str, str]]:
    for name, value in part.items():
        yield name, str(email.header.make_header(email.header.decode_header(value)))
    filename = part.get_filename()
    if filename:
        yield "file name", filename
    if part.is_multipart():
        for each in part.get_payload():
            yield from _readable(each)  # type: ignore[arg-type]
    else:
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        yield part.get_content_type(), content.decode("utf-8", "replace")
