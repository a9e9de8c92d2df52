"""Every text of a message: body, names of attachments, and what stands in them.

Runs on a thread of the milter, many at once: bounded in time and memory, and it never raises about a
message. What cannot be read is said to be so; what is ciphertext gives nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nta_milter.errors import MessageError
from nta_milter.message.buffer import Buffer
from nta_milter.message.charset import decode_text, decode_words
from nta_milter.message.extract import archive, cms, markup, pdf, rtf, tnef
from nta_milter.message.extract.content import (
    HEAD,
    Budget,
    Content,
    Extract,
    Item,
    Limits,
    bounded_text,
    label,
)
from nta_milter.message.extract.kinds import Kind, kind_of
from nta_milter.message.headers import split
from nta_milter.message.mime import MESSAGE_TYPES, Part, is_attachment, parse
from nta_milter.message.transfer import decode

__all__ = ["Extract", "Limits", "texts"]

_ENCODED_HEAD = HEAD * 3 // 2
"""Encoded bytes that surely decode to HEAD bytes: base64 with its line ends, quoted-printable of text."""

_DESCRIBING_FIELDS = ("Subject", "Comments", "Keywords", "Thread-Topic")


def texts(part: Part, body: Buffer, limits: Limits) -> Iterator[Extract]:
    """The texts of a message that ``parse`` took apart, one by one, cheap ones first.

    The fields of the message itself are not among them, those of attached messages are.
    """
    budget = Budget(limits)
    waiting: list[Iterator[Item]] = [_entities(part, body, "", 0, None, budget)]
    while waiting:
        item = next(waiting[-1], None)
        if item is None:
            waiting.pop()
        elif isinstance(item, Extract):
            yield item
        elif item.level > limits.levels:
            yield item.unreadable(f"is nested deeper than {limits.levels} containers")
        else:
            waiting.append(_open(item, budget))


def _open(content: Content, budget: Budget) -> Iterator[Item]:
    """What is in a content; that it cannot be had is an answer too."""
    try:
        yield from _READERS[kind_of(content)](content, budget)
    except MessageError as error:
        yield content.unreadable(error.message)


def _entities(
    part: Part, body: Buffer, outer: str, level: int, limit: int | None, budget: Budget
) -> Iterator[Item]:
    """The leaves of a message: its own text first, then names and descriptions, then attachments.

    ``outer`` is the place of the container, empty for the message itself; ``limit`` holds for its own text.
    """
    place = f"{outer}, " if outer else ""
    own: list[Content] = []
    attached: list[Content] = []
    number = 0
    for item, inside in _leaves(part):
        for defect in item.defects:
            yield Extract(f"{place}structure", None, defect)
        if item.content_type in MESSAGE_TYPES and item.children:
            yield from _fields(item.children[0], f"{place}attached message")
            continue
        if item.children:
            for where, gap in _around(item, body, limit):
                yield Extract(f"{place}{where}", gap)
            continue
        if is_attachment(item):
            number += 1
            where = label(f"{place}attachment {number}", item.filename or "")
            yield from _naming(item, where)
            attached.append(_content(item, body, where, level, budget.limits.text))
        else:
            where = f"{place}text of an attached message" if inside else f"{place}body"
            own.append(_content(item, body, where, level, limit))
    yield from own
    yield from attached


def _around(part: Part, body: Buffer, limit: int | None) -> Iterator[tuple[str, str]]:
    """What stands before the first and behind the last part of a multipart (RFC 2046 section 5.1.1)."""
    first, last = part.children[0], part.children[-1]
    before = bytes(body[part.start : first.header_start]).rstrip().rpartition(b"\n")[0]
    behind = bytes(body[last.stop : part.stop]).lstrip().partition(b"\n")[2]
    for where, words in (("preamble", before), ("epilogue", behind)):
        if words.strip():
            yield where, decode_text(words[:limit])


def _leaves(part: Part) -> Iterator[tuple[Part, bool]]:
    """Every part in order, and whether it is within an attached message."""
    waiting = [(part, False)]
    while waiting:
        item, inside = waiting.pop()
        yield item, inside
        inside = inside or item.content_type in MESSAGE_TYPES
        waiting.extend((child, inside) for child in reversed(item.children))


def _fields(part: Part, where: str) -> Iterator[Extract]:
    for name in _DESCRIBING_FIELDS:
        for field in part.headers.all(name):
            yield Extract(f"{name} of {where}", decode_words(field.value))


def _naming(part: Part, where: str) -> Iterator[Extract]:
    names = {part.filename, part.parameters.get("name"), part.parameters.get("filename")}
    for name in sorted(name for name in names if name):
        yield Extract(f"name of {where}", name)
    for field in part.headers.all("Content-Description"):
        yield Extract(f"description of {where}", decode_words(field.value))


def _content(part: Part, body: Buffer, where: str, level: int, limit: int | None) -> Content:
    raw = part.raw(body)
    head = decode(raw[:_ENCODED_HEAD], part.encoding)

    def read() -> Buffer:
        content = decode(raw, part.encoding)
        if content is None:
            raise MessageError("has a transfer encoding that is not known")
        return content

    return Content(
        where,
        part.filename or "",
        part.content_type,
        bytes(raw[:HEAD] if head is None else head[:HEAD]),
        read,
        part.parameters.get("charset", ""),
        level,
        limit,
    )


def _text(content: Content, budget: Budget) -> Iterator[Item]:
    text, more = bounded_text(content, content.read())
    yield content.text(text)
    if more:
        yield content.unreadable("is longer than the text that is read")


def _message(content: Content, budget: Budget) -> Iterator[Item]:
    """A message that stands in a file or behind a transfer encoding."""
    data = content.read()
    headers, start = split(data)
    body = data[start:]
    part = parse(headers, body, part_limit=budget.parts, depth_limit=budget.limits.depth_limit)
    budget.parts -= sum(1 for _ in part.walk())
    yield from _fields(part, content.where)
    yield from _entities(part, body, content.where, content.level + 1, budget.limits.text, budget)


def _nothing(content: Content, budget: Budget) -> Iterator[Item]:
    return iter(())


def _old_office(content: Content, budget: Budget) -> Iterator[Item]:
    encrypted = "EncryptedPackage".encode("utf-16-le") in bytes(content.read())
    yield content.unreadable(
        "an encrypted document" if encrypted else "a document in a binary format that is not read"
    )


def _other_archive(content: Content, budget: Budget) -> Iterator[Item]:
    yield content.unreadable("an archive of a kind that is not opened")


def _unknown(content: Content, budget: Budget) -> Iterator[Item]:
    yield content.unreadable("of a type that is not known")


_READERS: dict[Kind, Callable[[Content, Budget], Iterator[Item]]] = {
    Kind.TEXT: _text,
    Kind.MARKUP: markup.extract,
    Kind.MESSAGE: _message,
    Kind.ZIP: archive.extract,
    Kind.PDF: pdf.extract,
    Kind.RTF: rtf.extract,
    Kind.TNEF: tnef.extract,
    Kind.CMS: cms.extract,
    Kind.OLE: _old_office,
    Kind.OTHER_ARCHIVE: _other_archive,
    Kind.MEDIA: _nothing,
    Kind.KEY: _nothing,
    Kind.UNKNOWN: _unknown,
}
