"""A recipient's reply as a mail (RFC 5322), for the worker to send by a secure route."""

from __future__ import annotations

import email.policy
import mimetypes
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from nta_milter.portal.forms import Upload
from nta_milter.portal.render.content import Content
from nta_milter.portal.render.names import distinct, file_name, lines

_REPLIES = ("re:", "antw:", "aw:")
_SUBJECT_LENGTH = 250


def subject_of(content: Content, prefix: str) -> str:
    """The subject of the answer; one prefix is enough."""
    subject = content.subject[:_SUBJECT_LENGTH]
    return subject if subject.casefold().startswith(_REPLIES) else f"{prefix}{subject}".strip()


def reply(
    content: Content,
    author: str,
    recipient: str,
    subject: str,
    text: str,
    uploads: Sequence[Upload],
    message_id: str,
    at: datetime,
    unnamed: str,
) -> bytes:
    """The mail from ``author`` (who got the message) to ``recipient`` (who wrote it).

    Addresses are those of the store and not of the form; nothing of the form reaches a header field but the
    names of files, made safe.
    """
    # only an address that is not ASCII needs SMTPUTF8 (RFC 6531)
    mail = EmailMessage(email.policy.SMTP.clone(utf8=not (author + recipient).isascii()))
    mail["From"] = _address(author)
    mail["To"] = _address(recipient)
    mail["Subject"] = subject
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = message_id
    if content.message_id.isprintable() and content.message_id.startswith("<"):
        mail["In-Reply-To"] = content.message_id
        mail["References"] = " ".join((*content.references, content.message_id))
    mail.set_content(lines(text) + "\n", cte="quoted-printable")
    names = distinct([file_name(upload.name, unnamed) for upload in uploads])
    for name, upload in zip(names, uploads, strict=True):
        maintype, _, subtype = (mimetypes.guess_type(name)[0] or "application/octet-stream").partition("/")
        if maintype in ("multipart", "message"):
            maintype, subtype = "application", "octet-stream"
        mail.add_attachment(upload.content, maintype=maintype, subtype=subtype, filename=name)
    return mail.as_bytes()


def _address(address: str) -> Address:
    local, _, domain = address.rpartition("@")
    return Address(username=local.strip('"'), domain=domain)
