"""The form of our own mails: header fields and parts that any mail program shows (RFC 2045, RFC 2046)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from datetime import datetime
from email.header import Header
from email.utils import format_datetime

from nta_milter.message.headers import Headers
from nta_milter.message.model import Entity
from nta_milter.store.keys import new_id

_UNSEEN = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


def plain(text: str) -> str:
    """Without what could end a line: an address or a reason from outside may hold anything."""
    return _UNSEEN.sub(" ", text)


def text_part(text: str, subtype: str = "plain") -> bytes:
    """A text in UTF-8 as quoted-printable (RFC 2045 section 6.7); one LF ends a line of the text."""
    lines = text.encode("utf-8", "replace").rstrip(b"\n").split(b"\n")
    encoded = b"\r\n".join(binascii.b2a_qp(line, istext=False).replace(b"\n", b"\r\n") for line in lines)
    fields = (
        f'Content-Type: text/{subtype}; charset="utf-8"',
        "Content-Transfer-Encoding: quoted-printable",
    )
    return "".join(f"{field}\r\n" for field in (*fields, "")).encode("ascii") + encoded


def multipart(headers: Headers, content_type: str, parts: Sequence[bytes]) -> Entity:
    """A mail of these parts, which do not end in a line end; ``content_type`` is without its boundary."""
    boundary = f"=_{new_id()}"
    headers = headers.add("MIME-Version", "1.0").add(
        "Content-Type", f'{content_type};\r\n boundary="{boundary}"'
    )
    delimiter = f"--{boundary}".encode("ascii")
    body = b"".join(b"%b\r\n%b\r\n" % (delimiter, part) for part in parts)
    return Entity(headers, body + delimiter + b"--\r\n")


def header_fields(
    sender: str, recipient: str, subject: str, message_id: str, at: datetime, reply_to: str = ""
) -> Headers:
    """What each of our mails begins with: addresses without names, a Message-ID and Date of our own."""
    subject = plain(subject)
    encoded = subject if subject.isascii() else Header(subject, "utf-8").encode(linesep="\r\n")
    headers = Headers().add("From", plain(sender)).add("To", plain(recipient))
    if reply_to:
        headers = headers.add("Reply-To", reply_to)
    return (
        headers.add("Subject", encoded)
        .add("Date", format_datetime(at))
        .add("Message-ID", message_id)
        .add("Auto-Submitted", "auto-generated")  # RFC 3834: nobody's automatic answer is wanted
    )
