"""Mails of our own: notifications, requests to the sender, and reports. None holds content of a message.

What may be seen from outside: From and To without names, a fixed Subject, a link, dates. Never the subject,
the text or a file name of the message (RFC 5322, RFC 3464, RFC 3834).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from nta_milter.config.model import Settings
from nta_milter.message.address import envelope_domain
from nta_milter.message.model import Entity
from nta_milter.outbox.addresses import message_id, own_domain, reply_address
from nta_milter.outbox.mail import header_fields, multipart, plain, text_part
from nta_milter.store.keys import Token
from nta_milter.store.rows import Delivery, Form

_FOLDER = Path(__file__).parent
_KINDS = {"4.4.7": "expired", "5.7.1": "refused"}
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


@cache
def _texts(language: str) -> Mapping[str, Any]:
    return tomllib.loads((_FOLDER / "texts" / f"{language}.toml").read_text("utf-8"))


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        auto_reload=False,
    )


@cache
def languages() -> tuple[str, ...]:
    """The languages that there are texts in."""
    return tuple(sorted(path.stem for path in (_FOLDER / "texts").glob("*.toml")))


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a mail of ours the same one when it is written anew: its id, and when it was first due."""

    id: str
    at: datetime

    def message_id(self, settings: Settings) -> str:
        """Its Message-ID."""
        return message_id(self.id, settings)


@dataclass(frozen=True, slots=True)
class _Written:
    """A mail in words."""

    subject: str
    text: str
    html: str


class Composer:
    """Writes our mails as the settings want them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._domain = own_domain(settings)
        self._organisation = settings.notification.organisation or self._domain
        self._own_sender = settings.notification.sender or f"postmaster@{self._domain}"
        self._zone = ZoneInfo(settings.portal.timezone)

    def link_url(self, token: Token) -> str:
        """The page that a recipient's link opens."""
        return f"{self._settings.portal.url}/m/{token.text}"

    def hold_url(self, token: Token) -> str:
        """The page where the sender gives a second factor."""
        return f"{self._settings.portal.url}/hold/{token.text}"

    def notification(
        self, delivery: Delivery, token: Token, mail: Identity, form: Form = Form.NOTIFICATION
    ) -> Entity:
        """The mail that tells a recipient where the message is; with ``Form.REMINDER``, once more."""
        written = self._write(form.value, delivery, url=self.link_url(token), to_recipient=True)
        sender = self._settings.notification.sender or self._our_author(delivery)
        reply_to = reply_address(delivery.id, self._settings)
        return self._mail(written, sender, delivery.recipient, mail, reply_to)

    def hold(self, delivery: Delivery, token: Token, mail: Identity) -> Entity:
        """The mail that asks the sender for a second factor of a recipient."""
        written = self._write("hold", delivery, url=self.hold_url(token))
        return self._mail(written, self._own_sender, delivery.author, mail)

    def locked(self, delivery: Delivery, token: Token, mail: Identity) -> Entity:
        """The mail that tells the sender of too many wrong codes, with the page where he can unlock."""
        url = f"{self._settings.portal.url}/unlock/{token.text}"
        return self._mail(self._write("locked", delivery, url=url), self._own_sender, delivery.author, mail)

    def answer(self, delivery: Delivery, mail: Identity) -> Entity:
        """The mail to a recipient who answered a notification in clear."""
        return self._mail(self._write("answer", delivery), self._own_sender, delivery.recipient, mail)

    def report(self, delivery: Delivery, status: str, detail: str, mail: Identity) -> Entity:
        """A report for the sender without a byte of the message (RFC 3464).

        RFC 6522 makes the part that would quote it optional. ``status`` (RFC 3463) says what it is: 2.x.x
        sent, 4.4.7 expired, any other 4.x.x delayed, 5.7.1 refused, any other 5.x.x failed. ``detail`` says
        why in our own words; what another host said is never repeated, since it may quote the message.
        """
        status = status if _STATUS.fullmatch(status) else "5.0.0"
        kind = _KINDS.get(status) or {"2": "relayed", "4": "delayed"}.get(status[0], "failed")
        texts = _texts(self._language(delivery))
        detail = detail or texts.get(f"status {status}") or texts["peer"].format(status=status)
        written = self._write(kind, delivery, detail=detail)
        local = mail.at.astimezone(self._zone)
        recipient = delivery.sender or delivery.author
        message_id = mail.message_id(self._settings)
        headers = header_fields(self._own_sender, recipient, written.subject, message_id, local)
        parts = (text_part(written.text), _status_part(delivery, status, self._domain, local))
        return multipart(headers, "multipart/report; report-type=delivery-status", parts)

    def _mail(
        self, written: _Written, sender: str, recipient: str, mail: Identity, reply_to: str = ""
    ) -> Entity:
        local = mail.at.astimezone(self._zone)
        message_id = mail.message_id(self._settings)
        headers = header_fields(sender, recipient, written.subject, message_id, local, reply_to)
        parts = (text_part(written.text), text_part(written.html, "html"))
        return multipart(headers, "multipart/alternative", parts)

    def _write(
        self, kind: str, delivery: Delivery, *, url: str = "", detail: str = "", to_recipient: bool = False
    ) -> _Written:
        """The same words as text and as HTML, in the language of the delivery."""
        language = self._language(delivery)
        texts = _texts(language)
        mine = texts[kind]
        words = {
            "organisation": self._organisation,
            "author": delivery.author,
            "recipient": delivery.recipient,
            "sent": self._day(delivery.created_at, texts),
            "until": self._day(delivery.expires_at, texts),
            "detail": detail,
            "read": mine.get("read" if delivery.opened_at else "unread", ""),
        }
        closing = [plain(text.format(**words)) for text in mine.get("closing", ())]
        genuine = self._settings.notification.genuine
        if to_recipient and genuine:
            closing.append(texts["genuine"]["text"].format(genuine=genuine))
        values = {
            "language": language,
            "organisation": self._organisation,
            "title": mine["title"],
            "paragraphs": [plain(text.format(**words)) for text in mine["paragraphs"]],
            "url": url,
            "button": mine.get("button", ""),
            "closing": closing,
            "other_language": texts["other_language"].format(**words) if to_recipient else "",
        }
        return _Written(
            mine["subject"].format(**words),
            _templates().get_template("mail.txt").render(values),
            _templates().get_template("mail.html").render(values),
        )

    def _our_author(self, delivery: Delivery) -> str:
        """The author, who is one of ours unless the message is a reply from the portal."""
        internal = self._settings.internal
        ours = internal.sender_domains or internal.domains
        return delivery.author if envelope_domain(delivery.author) in ours else self._own_sender

    @staticmethod
    def _language(delivery: Delivery) -> str:
        return delivery.language if delivery.language in languages() else "en"

    def _day(self, at: datetime, texts: Mapping[str, Any]) -> str:
        local = at.astimezone(self._zone)
        day: str = texts["date"].format(
            day=local.day, month=texts["months"][local.month - 1], year=local.year
        )
        return day


def _status_part(delivery: Delivery, status: str, host: str, at: datetime) -> bytes:
    """message/delivery-status (RFC 3464 section 2), or its form for other letters (RFC 6533 section 3)."""
    is_ascii = delivery.recipient.isascii()
    lines = [
        f"Content-Type: message/{'' if is_ascii else 'global-'}delivery-status",
        *(() if is_ascii else ("Content-Transfer-Encoding: 8bit",)),
        "",
        f"Reporting-MTA: dns; {host}",
        f"Arrival-Date: {format_datetime(delivery.created_at)}",
        "",
        *(f"Original-Recipient: {value}" for value in _original(delivery)),
        f"Final-Recipient: {'rfc822' if is_ascii else 'utf-8'}; {plain(delivery.recipient)}",
        f"Action: {_action(status)}",
        f"Status: {status}",
        f"Last-Attempt-Date: {format_datetime(at)}",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "replace")


def _action(status: str) -> str:
    """The field Action of a status (RFC 3464 section 2.3.3); what has expired is not tried again."""
    if status[0] == "2":
        return "relayed"
    return "delayed" if status[0] == "4" and status not in _KINDS else "failed"


def _original(delivery: Delivery) -> list[str]:
    """The client's ORCPT, given back as it came (RFC 3461 section 4.2)."""
    return [plain(item[6:]) for item in delivery.arguments if item.upper().startswith("ORCPT=")]
