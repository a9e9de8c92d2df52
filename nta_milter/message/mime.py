"""MIME structure as offsets into the body: nothing is copied, nothing recurses (RFC 2045, RFC 2046)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nta_milter.errors import LimitExceeded
from nta_milter.message.buffer import Buffer
from nta_milter.message.headers import Headers, split
from nta_milter.message.parameters import ABSENT, Structured, structured
from nta_milter.message.transfer import IDENTITY, decode, decoded_size, size_limit

MESSAGE_TYPES = frozenset(("message/rfc822", "message/global", "message/news"))
"""Types whose content is a message of its own (RFC 2046 section 5.2.1, RFC 6532 section 3.7)."""

BOUNDARY_LIMIT = 512
"""Longest boundary that is looked for; RFC 2046 allows 70 characters."""

MISS_LIMIT = 100_000
"""Most lines in one message that begin like a boundary and are none."""

SIGNATURE_SIZE = 12_288
"""Allowance for a signature with a chain of certificates, in bytes before base64."""

ENVELOPE_SIZE = 4_096
"""Allowance for outer header fields and RecipientInfos, in bytes."""

_TYPE = re.compile(r"[!#$%&'*+.^_`{|}~0-9a-z-]+/[!#$%&'*+.^_`{|}~0-9a-z-]+")
_DELIMITER_TAIL = re.compile(rb"(--)?[ \t]*(?=(\r?\n|\Z))")


@dataclass(frozen=True, slots=True)
class Part:
    """One MIME entity. ``start`` to ``stop`` are its body's offsets in the message's body.

    ``header_start`` is the offset of its header fields; None for the message itself, whose fields are not
    in the body. ``content_type`` is lower case, and text/plain where none is given. ``encoding`` is the
    Content-Transfer-Encoding, lower case. ``defects`` name what different readers may understand
    differently; they hold nothing of the content.
    """

    headers: Headers
    content_type: str
    parameters: Mapping[str, str]
    disposition: str
    filename: str | None
    encoding: str
    header_start: int | None
    start: int
    stop: int
    children: tuple[Part, ...] = ()
    defects: tuple[str, ...] = ()

    def raw(self, body: Buffer) -> memoryview:
        """The body as transferred: a slice of the message's body."""
        return memoryview(body)[self.start : self.stop]

    def entity(self, body: Buffer) -> Buffer:
        """Header fields and body as transferred; a slice, except for the message itself."""
        if self.header_start is None:
            return b"".join((bytes(self.headers), b"\r\n", self.raw(body)))
        return memoryview(body)[self.header_start : self.stop]

    def decoded(self, body: Buffer) -> bytes:
        """The body without its transfer encoding; as transferred where that encoding is unknown."""
        raw = self.raw(body)
        content = decode(raw, self.encoding)
        return bytes(raw if content is None else content)

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in the order of the message."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting.extend(reversed(part.children))


@dataclass(slots=True)
class _Node:
    """A part whose children are still being found."""

    headers: Headers
    content: Structured
    encoding: str
    header_start: int | None
    start: int
    stop: int
    depth: int
    parent: int
    disposition: Structured = ABSENT
    defects: list[str] = field(default_factory=list)
    children: list[Part] = field(default_factory=list)

    def close(self) -> Part:
        filename = self.disposition.parameters.get("filename", self.content.parameters.get("name"))
        return Part(
            self.headers,
            self.content.value,
            self.content.parameters,
            self.disposition.value,
            filename,
            self.encoding,
            self.header_start,
            self.start,
            self.stop,
            tuple(self.children),
            tuple(self.defects),
        )


def parse(headers: Headers, body: Buffer, *, part_limit: int, depth_limit: int) -> Part:
    """The structure of a message.

    A multipart without a usable boundary has no children. Messages inside are taken apart too, unless a
    transfer encoding hides them. A missing last boundary ends with what surrounds it.

    Raises:
        LimitExceeded: more than ``part_limit`` parts, deeper than ``depth_limit``, or too long a header.
    """
    return _Parser(body, part_limit, depth_limit).parse(headers)


def attachment_size(part: Part, body: Buffer) -> int:
    """About how many bytes the attachments decode to, counted and not decoded.

    An attachment is what has a name or says so, what is no text, and all of an attached message.
    """
    return sum(decoded_size(item.raw(body), item.encoding) for item in _attachments(part))


def attachments_over(part: Part, body: Buffer, limit: int) -> int:
    """What ``attachment_size`` counts where that is more than ``limit``, else 0.

    The content is looked at only where the size as transferred does not answer.
    """
    most = sum(size_limit(item.stop - item.start, item.encoding) for item in _attachments(part))
    size = attachment_size(part, body) if most > limit else 0
    return size if size > limit else 0


def _attachments(part: Part) -> Iterator[Part]:
    waiting = [(part, False)]
    while waiting:
        item, attached = waiting.pop()
        attached = attached or item.content_type in MESSAGE_TYPES
        if item.children:
            waiting.extend((child, attached) for child in item.children)
        elif attached or is_attachment(item):
            yield item


def is_attachment(part: Part) -> bool:
    """Whether a part without children is an attachment and not the text of the message."""
    return (
        part.disposition == "attachment"
        or part.filename is not None
        or not part.content_type.startswith(("text/", "multipart/"))
    )


def wire_size(size: int, *, enveloped: bool) -> int:
    """About how many bytes a message of ``size`` bytes takes on the wire.

    ``enveloped`` adds a signature with its certificates and base64 in lines of 76 (RFC 8551).
    """
    return (size + SIGNATURE_SIZE) * 4 * 78 // (3 * 76) + ENVELOPE_SIZE if enveloped else size


class _Parser:
    """The work on one message: parts in the order they are found, each with its parent's index."""

    def __init__(self, body: Buffer, part_limit: int, depth_limit: int) -> None:
        self.body = body
        self.part_limit = part_limit
        self.depth_limit = depth_limit
        self.misses = MISS_LIMIT
        self.nodes: list[_Node] = []

    def parse(self, headers: Headers) -> Part:
        self._add(headers, None, 0, len(self.body), 0, -1, "text/plain")
        position = 0
        while position < len(self.nodes):
            node = self.nodes[position]
            default = "message/rfc822" if node.content.value == "multipart/digest" else "text/plain"
            for start, stop in self._inside(node):
                if node.depth >= self.depth_limit:
                    raise LimitExceeded(
                        f"MIME nested deeper than {self.depth_limit}", where=f"byte {node.start}"
                    )
                fields, content = split(self.body, start, stop)
                self._add(fields, start, content, stop, node.depth + 1, position, default)
            position += 1
        return self._close()

    def _add(
        self,
        headers: Headers,
        header_start: int | None,
        start: int,
        stop: int,
        depth: int,
        parent: int,
        default: str,
    ) -> None:
        if len(self.nodes) >= self.part_limit:
            raise LimitExceeded(f"more than {self.part_limit} MIME parts", where=f"byte {start}")
        self.nodes.append(_node(headers, header_start, start, stop, depth, parent, default))

    def _inside(self, node: _Node) -> Iterator[tuple[int, int]]:
        """Where the entities within an entity begin and end, header fields included."""
        kind = node.content.value
        if kind in MESSAGE_TYPES:
            if node.encoding in IDENTITY:
                yield node.start, node.stop
        elif kind.startswith("multipart/") and node.content.boundary:
            yield from self._between(node)

    def _between(self, node: _Node) -> Iterator[tuple[int, int]]:
        """The body parts of a multipart (RFC 2046 section 5.1.1).

        A delimiter is a whole line, so that one boundary may be the beginning of another. The line end
        before it is its own; the one behind it may be the next delimiter's too.
        """
        begun: int | None = None
        for before, after in self._delimiters(node):
            tail = _DELIMITER_TAIL.match(self.body, after, node.stop)
            if tail is None:
                self.misses -= 1
                if self.misses < 0:
                    raise LimitExceeded("too many lines that begin like a boundary", where=f"byte {before}")
                continue
            if begun is not None:
                if before > begun and self.body[before - 1 : before] == b"\r":
                    before -= 1
                yield begun, max(begun, before)
            if tail[1]:
                return
            begun = tail.end() + len(tail[2])
        if begun is not None:
            yield begun, node.stop

    def _delimiters(self, node: _Node) -> Iterator[tuple[int, int]]:
        """Offsets of what may be a delimiter: of the LF before it, and of what follows the boundary."""
        dashed = b"--" + node.content.boundary
        first = node.start + len(dashed)
        if self.body[node.start : min(first, node.stop)] == dashed:
            yield node.start, first
        needle = b"\n" + dashed
        if isinstance(self.body, bytes):
            found = self.body.find(needle, node.start, node.stop)
            while found >= 0:
                yield found, found + len(needle)
                found = self.body.find(needle, found + len(needle), node.stop)
        else:
            for line in re.compile(re.escape(needle)).finditer(self.body, node.start, node.stop):
                yield line.span()

    def _close(self) -> Part:
        """Frozen parts, the innermost first: a child always stands behind its parent."""
        for node in reversed(self.nodes):
            node.children.reverse()
            part = node.close()
            if node.parent >= 0:
                self.nodes[node.parent].children.append(part)
        return part


def _node(
    headers: Headers, header_start: int | None, start: int, stop: int, depth: int, parent: int, default: str
) -> _Node:
    node = _Node(headers, ABSENT, "", header_start, start, stop, depth, parent)
    values: dict[str, bytes] = {}
    for name in ("Content-Type", "Content-Transfer-Encoding", "Content-Disposition"):
        given = [item.value for item in headers.all(name)]
        if given:
            values[name] = given[0]
        if len(set(given)) > 1:
            node.defects.append(f"several {name} fields")
    if "Content-Type" in values:
        node.content = structured(values["Content-Type"])
        default = "text/plain"
    if "Content-Disposition" in values:
        node.disposition = structured(values["Content-Disposition"])
    node.encoding = structured(values.get("Content-Transfer-Encoding", b"")).value
    if node.content.ambiguous or node.disposition.ambiguous:
        node.defects.append("ambiguous parameters")
    boundary = node.content.boundary if len(node.content.boundary) <= BOUNDARY_LIMIT else b""
    if not _TYPE.fullmatch(node.content.value):
        node.content = Structured(default, node.content.parameters)
    elif node.content.value.startswith("multipart/") and not boundary:
        node.defects.append("a multipart without a usable boundary")
        node.content = Structured(node.content.value, node.content.parameters)
    return node
