"""From an Outcome to the calls of libmilter: a pure plan of edits, then a thin shell that applies it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.header import Header
from typing import Protocol

from nta_milter.errors import LimitExceeded
from nta_milter.message.headers import VALUE_LIMIT, HeaderField, Headers
from nta_milter.message.model import Buffer, LongBody
from nta_milter.policy.outcome import Outcome

BODY_CHUNK = 65_535
"""Largest chunk of one SMFIR_REPLBODY packet that every libmilter takes, in bytes."""


REPLY_LIMIT = 450
"""Longest text of a reply, in octets: a reply line has 512 with its code and status (RFC 5321 4.5.3.1.5), and
libmilter refuses more than 980 without a word."""


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """One change: ``index`` is 1-based among the fields of that name; value None deletes, index 0 adds."""

    name: str
    index: int
    value: str | None


def header_edits(before: Headers, after: Headers) -> tuple[HeaderEdit, ...]:
    """The fewest edits from one set of fields to the other, in the order libmilter needs.

    A delete shifts the indexes behind it at once, so fields of a name are deleted from the last to the
    first. Fields that are the same in value and place among their name are left alone. Names that stand
    further down go first: cleanup(8) looks for a field from the top, and each that it has replaced before
    sends it to another place of its file.

    Raises:
        LimitExceeded: a value is longer than libmilter takes.
    """
    old, new = before.by_name(), after.by_name()
    edits: list[HeaderEdit] = []
    for key, fields in reversed(old.items()):
        wanted = new.get(key, ())
        if wanted != fields:
            edits += _changes(fields, wanted)
    for key, fields in new.items():
        for extra in fields[len(old.get(key, ())) :]:
            edits.append(HeaderEdit(_text(extra.name), 0, _value(extra)))
    return tuple(edits)


def _changes(fields: Sequence[HeaderField], wanted: Sequence[HeaderField]) -> Iterator[HeaderEdit]:
    """The edits of the fields of one name, without those that are added."""
    kept: Sequence[int] = range(len(fields))
    if len(wanted) < len(fields):
        kept = _longest_kept(fields, wanted)
        staying = frozenset(kept)
        for position in range(len(fields) - 1, -1, -1):
            if position not in staying:
                yield HeaderEdit(_text(fields[position].name), position + 1, None)
    for place, position in enumerate(kept):
        if fields[position].raw != wanted[place].raw:
            yield HeaderEdit(_text(fields[position].name), place + 1, _value(wanted[place]))


def _longest_kept(fields: Sequence[HeaderField], wanted: Sequence[HeaderField]) -> list[int]:
    """Which old positions stand for the wanted fields: equal ones where possible, else the first ones."""
    kept: list[int] = []
    position = 0
    for place, field in enumerate(wanted):
        last = len(fields) - (len(wanted) - place)
        equal = next((i for i in range(position, last + 1) if fields[i].raw == field.raw), position)
        kept.append(equal)
        position = equal + 1
    return kept


def _text(name: bytes) -> str:
    return name.decode("ascii", "replace")


def _value(field: HeaderField) -> str:
    """A value as libmilter takes it: text, folds as bare LF, what is not UTF-8 as encoded words.

    Raises:
        LimitExceeded: it is longer than libmilter takes.
    """
    raw = field.raw
    if b"\r" in raw or b"\0" in raw:
        # A CR alone is the end of a line to some, and what follows would be a field of its own.
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b" ").replace(b"\0", b"")
    length = len(raw)
    try:
        value = raw.decode("utf-8")
    except UnicodeDecodeError:
        value = " " + Header(raw.strip().decode("latin-1"), "utf-8").encode(linesep="\n")
        length = len(value)
    if length > VALUE_LIMIT:
        raise LimitExceeded(f"a header field of more than {VALUE_LIMIT} octets")
    return value


def reply_text(text: str) -> str:
    """A reply's text as libmilter takes it: printable ASCII, not too long, each percent sign doubled."""
    safe = "".join(c if " " <= c <= "~" else "?" for c in text)
    if len(safe) > REPLY_LIMIT:
        safe = safe[: REPLY_LIMIT - 4] + " ..."
    return safe.replace("%", "%%")


def chunks(body: Buffer) -> Iterator[bytes]:
    """The body in pieces of libmilter's size; pymilter takes bytes alone."""
    view = memoryview(body)
    for start in range(0, len(view), BODY_CHUNK):
        yield bytes(view[start : start + BODY_CHUNK])


class MessageContext(Protocol):
    """The calls of libmilter that change a message; valid at end of message only."""

    def addheader(self, field: str, value: str, idx: int = -1) -> None: ...  # noqa: D102
    def chgheader(self, field: str, idx: int, value: str | None) -> None: ...  # noqa: D102
    def replacebody(self, body: bytes) -> None: ...  # noqa: D102
    def delrcpt(self, recipient: str) -> None: ...  # noqa: D102
    def addrcpt(self, recipient: str, params: str | None = None) -> None: ...  # noqa: D102
    def chgfrom(self, sender: str, params: str | None = None) -> None: ...  # noqa: D102


def apply(context: MessageContext, before: Headers, outcome: Outcome) -> None:
    """Carry an Outcome out on a message; the reply is the caller's, and a body that is not made yet.

    Raises:
        LimitExceeded: a header field is longer than libmilter takes; nothing was changed.
    """
    edits = () if outcome.headers is None else header_edits(before, outcome.headers)
    if outcome.body is not None and not isinstance(outcome.body, LongBody):
        # First: while cleanup(8) is at this, most of the work, the rest arrives and is read at once.
        sent = False
        for chunk in chunks(outcome.body):
            context.replacebody(chunk)
            sent = True
        if not sent:
            context.replacebody(b"")
    for edit in edits:
        if edit.index == 0:
            context.addheader(edit.name, edit.value or "")
        else:
            context.chgheader(edit.name, edit.index, edit.value)
    for recipient in outcome.removed:
        context.delrcpt(f"<{recipient}>")
    if outcome.added:
        # without NEVER the sender would get reports about this address, with the message in them
        context.addrcpt(f"<{outcome.added}>", "NOTIFY=NEVER")
    if outcome.sender is not None:
        context.chgfrom(f"<{outcome.sender}>", outcome.sender_arguments or None)
