"""What extraction hands around: a piece of text, a thing that cannot be read, a content to open, a budget."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from nta_milter.message.buffer import Buffer
from nta_milter.message.charset import decode_text

HEAD = 4_096
"""Bytes of a content that are looked at to tell what it is."""

_EXTENSION = re.compile(r"\.([a-z][a-z0-9]{0,4})$")


@dataclass(frozen=True, slots=True)
class Extract:
    """A text found somewhere, or why there is none.

    ``where`` may be logged: it holds ordinals and file name extensions, never a name.
    """

    where: str
    text: str | None
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """Something that may hold text: its place, name, declared type, first bytes and the way to get all.

    ``read`` raises MessageError with a reason when the content cannot be had. ``level`` counts containers.
    ``limit`` is the most text that is read, in bytes; None = all of it.
    """

    where: str
    name: str
    content_type: str
    head: bytes
    read: Callable[[], Buffer]
    charset: str = ""
    level: int = 0
    limit: int | None = None

    @property
    def extension(self) -> str:
        """The file name's extension, lower case, if it looks like one."""
        found = _EXTENSION.search(self.name.lower())
        return found[1] if found else ""

    def inner(self, number: int, name: str, data: Buffer, content_type: str = "") -> Content:
        """A content within this one, already at hand."""
        return Content(
            label(f"{self.where}, item {number}", name),
            name,
            content_type,
            bytes(data[:HEAD]),
            lambda: data,
            level=self.level + 1,
            limit=self.limit,
        )

    def unreadable(self, reason: str) -> Extract:
        """It cannot be read, and why."""
        return Extract(self.where, None, reason)

    def text(self, text: str) -> Extract:
        """A text in it."""
        return Extract(self.where, text)


Item = Extract | Content


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work one message may cause.

    ``text`` bytes of text per attachment; ``unpacked`` bytes out of all archives together; ``members`` in
    all archives; ``ratio`` unpacked to packed of one member; ``levels`` of containers within containers;
    ``seconds`` for all helper programs together; MIME limits for attached messages.
    """

    text: int = 8_000_000
    unpacked: int = 100_000_000
    members: int = 5_000
    ratio: int = 500
    levels: int = 5
    seconds: float = 30.0
    part_limit: int = 1_000
    depth_limit: int = 50


class Budget:
    """What is left of the limits while one message is read."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.unpacked = limits.unpacked
        self.members = limits.members
        self.parts = limits.part_limit
        self._seconds = limits.seconds

    def seconds(self) -> float:
        """Time left for helper programs."""
        return self._seconds

    def spend_since(self, start: float) -> None:
        """Take the time since ``start`` (time.monotonic) off."""
        self._seconds -= time.monotonic() - start


def label(where: str, name: str) -> str:
    """A place, with the extension of a name: enough to find it again, and no content."""
    found = _EXTENSION.search(name.lower())
    return f"{where} ({found[1]})" if found else where


def bounded_text(content: Content, data: Buffer) -> tuple[str, bool]:
    """The text of ``data`` up to the content's limit, and whether there was more."""
    limit = len(data) if content.limit is None else content.limit
    return decode_text(data[:limit], _wide(content.head) or content.charset), len(data) > limit


def _wide(head: bytes) -> str:
    """UTF-16 that does not say so, or not which: every other byte of ordinary text is zero."""
    enough = len(head) // 2 * 3 // 4
    if enough and head[1::2].count(0) >= enough:
        return "utf-16-le"
    return "utf-16-be" if enough and head[::2].count(0) >= enough else ""
