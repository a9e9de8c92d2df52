"""A stored message taken apart for a page: who, when, about what, its text and its attachments.

All offsets are those in the stored message, so that an attachment is read without the rest of it.
"""

from __future__ import annotations

import email.utils
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from nta_milter.errors import LimitExceeded
from nta_milter.message.address import address_list
from nta_milter.message.buffer import Buffer
from nta_milter.message.charset import decode_text, decode_words
from nta_milter.message.headers import Headers, split
from nta_milter.message.mime import MESSAGE_TYPES, Part, is_attachment, parse
from nta_milter.message.transfer import IDENTITY, decode, decode_base64_pieces
from nta_milter.portal.render.names import distinct, file_name, one_line

PART_LIMIT = 1_000
DEPTH_LIMIT = 50
TEXT_LIMIT = 1_000_000
"""Most bytes of one body part that are shown; the whole is in the copy that can be saved."""

SHOWN_ADDRESSES = 200

_FIRST_YEAR, _LAST_YEAR = 1970, 2099  # beyond them archives and time zones end

_SIGNATURES = frozenset(("application/pkcs7-signature", "application/x-pkcs7-signature"))
_SIGNATURES |= {"application/pgp-signature"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part stands in the stored message and how it is encoded; ``size`` is that of its content.

    ``whole`` says that it can only be decoded in one piece.
    """

    start: int
    stop: int
    encoding: str
    size: int
    whole: bool

    def decoded(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The content, from the pieces of the stored message between start and stop."""
        if self.whole:
            raw = b"".join(pieces)
            content = decode(raw, self.encoding)
            yield raw if content is None else bytes(content)
        elif self.encoding == "base64":
            yield from decode_base64_pieces(pieces)
        else:
            yield from pieces


_USUAL_NAMES = {"text/calendar": "invite.ics", "application/ics": "invite.ics"}
"""Names for parts that come without one and that a program opens by the ending."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file of a message, under a name that is safe and stands once in it."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Body:
    """One readable part: its place, its charset, and whether it is HTML."""

    place: Place
    charset: str
    html: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """A part that HTML may show, by its Content-ID."""

    identity: str
    kind: str
    place: Place


@dataclass(frozen=True, slots=True)
class Content:
    """A message as a page shows it. ``readable`` is False where it is too deep or has too many parts.

    ``bodies`` holds for each readable place in the message its forms, plain text first.
    """

    sender: str
    sender_name: str
    reply_to: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    subject: str
    date: datetime | None
    message_id: str
    references: tuple[str, ...]
    size: int
    bodies: tuple[tuple[Body, ...], ...] = ()
    pictures: tuple[Picture, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    readable: bool = True

    @property
    def has_html(self) -> bool:
        """Whether some part of the text exists as HTML."""
        return any(body.html for forms in self.bodies for body in forms)


def content_of(message: bytes, unnamed: str) -> Content:
    """Take a stored message (RFC 5322, CRLF) apart; ``unnamed`` is the name of files that have none.

    Never raises about the message: what cannot be taken apart is not ``readable``.
    """
    try:
        headers, offset = split(message)
    except LimitExceeded:
        return replace(_described(Headers(), len(message)), readable=False)
    described = _described(headers, len(message))
    body = memoryview(message)[offset:]
    try:
        root = parse(headers, body, part_limit=PART_LIMIT, depth_limit=DEPTH_LIMIT)
    except LimitExceeded:
        return replace(described, readable=False)
    found = _Found(body, offset)
    found.take(root)
    names = distinct([file_name(name, unnamed) for name, _ in found.files])
    return replace(
        described,
        bodies=tuple(found.bodies),
        pictures=tuple(found.pictures),
        attachments=tuple(
            Attachment(name, place) for name, (_, place) in zip(names, found.files, strict=True)
        ),
    )


def shown(body: Body, pieces: Iterable[bytes]) -> tuple[str, bool]:
    """The text of a body part from its pieces of the stored message, and whether it was cut."""
    data = b"".join(body.place.decoded(pieces))
    return decode_text(data[:TEXT_LIMIT], body.charset), len(data) > TEXT_LIMIT


class _Found:
    """What is gathered while walking through a message."""

    def __init__(self, body: Buffer, offset: int) -> None:
        self.body = body
        self.offset = offset
        self.bodies: list[tuple[Body, ...]] = []
        self.pictures: list[Picture] = []
        self.files: list[tuple[str | None, Place]] = []

    def take(self, part: Part) -> None:
        """One part and those below it; depth is bounded by the parser."""
        kind = part.content_type
        if kind in MESSAGE_TYPES:
            self._file(part, _attached_name(part))
        elif kind == "multipart/alternative":
            self._alternative(part)
        elif kind == "multipart/related":
            self._related(part)
        elif part.children:
            for child in part.children:
                self.take(child)
        elif kind.startswith("multipart/"):
            if part.start < part.stop:
                self.bodies.append((self._body(part),))
        elif kind in _SIGNATURES:
            pass  # it is in the copy that can be saved; nobody opens it by itself
        elif kind in ("text/plain", "text/html") and not is_attachment(part):
            self.bodies.append((self._body(part),))
        else:
            self._file(part, part.filename or _USUAL_NAMES.get(kind))

    def _alternative(self, part: Part) -> None:
        """The last form of each kind is the best one (RFC 2046 section 5.1.4)."""
        plain: Body | None = None
        rich: Body | None = None
        for child in part.children:
            inside = _Found(self.body, self.offset)
            inside.take(child)
            self.pictures += inside.pictures
            self.files += inside.files
            for body in (body for forms in inside.bodies for body in forms):
                if body.html:
                    rich = body
                else:
                    plain = body
        if forms := tuple(body for body in (plain, rich) if body):
            self.bodies.append(forms)

    def _related(self, part: Part) -> None:
        """Text first, the pictures that it shows behind it (RFC 2387); other parts are files."""
        for number, child in enumerate(part.children):
            identity = child.headers.first("Content-ID")
            if number and identity and child.content_type.startswith("image/"):
                name = identity.decode("utf-8", "replace").strip("<> ")
                self.pictures.append(Picture(name, child.content_type, self._place(child)))
            else:
                self.take(child)

    def _file(self, part: Part, name: str | None) -> None:
        self.files.append((name, self._place(part)))

    def _body(self, part: Part) -> Body:
        charset = part.parameters.get("charset", "")
        return Body(self._place(part), charset, part.content_type == "text/html")

    def _place(self, part: Part) -> Place:
        raw = part.raw(self.body)
        start, stop = part.start + self.offset, part.stop + self.offset
        if part.encoding in IDENTITY:
            return Place(start, stop, "", len(raw), whole=False)
        content = decode(raw, part.encoding)
        size = len(raw) if content is None else len(content)
        whole = part.encoding != "base64" or _padded_inside(bytes(raw))
        return Place(start, stop, part.encoding, size, whole)


def _described(headers: Headers, size: int) -> Content:
    senders = address_list(field.value for field in headers.all("From")).mailboxes
    answers = address_list(field.value for field in headers.all("Reply-To")).mailboxes
    sender = senders[0].address if len(senders) == 1 else ""
    return Content(
        sender=one_line(sender),
        sender_name=one_line(senders[0].display) if senders else "",
        reply_to=one_line(answers[0].address) if len(answers) == 1 else "",
        to=_people(headers, "To"),
        cc=_people(headers, "Cc"),
        subject=one_line(decode_words(headers.first("Subject") or b"")),
        date=_date(headers.first("Date") or b""),
        message_id=one_line((headers.first("Message-ID") or b"").decode("ascii", "replace")),
        references=tuple((headers.first("References") or b"").decode("ascii", "replace").split()[-20:]),
        size=size,
    )


def _people(headers: Headers, field: str) -> tuple[str, ...]:
    mailboxes = address_list(item.value for item in headers.all(field)).mailboxes[:SHOWN_ADDRESSES]
    return tuple(
        f"{one_line(item.display)} <{one_line(item.address)}>" if item.display else one_line(item.address)
        for item in mailboxes
    )


def _date(value: bytes) -> datetime | None:
    try:
        parsed = email.utils.parsedate_to_datetime(value.decode("ascii", "replace"))
        moment = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def _attached_name(part: Part) -> str | None:
    """A message that is attached has the name of its subject."""
    if part.filename or not part.children:
        return part.filename
    subject = one_line(decode_words(part.children[0].headers.first("Subject") or b""))
    return f"{subject.replace('/', '-')}.eml" if subject else None


def _padded_inside(raw: bytes) -> bool:
    padding = raw.find(b"=")
    return padding >= 0 and bool(raw[padding:].strip(b"=\r\n\t "))
