"""Tag, length, value (X.690): a bounded BER reader for CMS and a DER writer.

The reader never copies a value and never recurses deeper than ``Limits.depth``. It walks an
indefinite-length value once, while it looks for its end, and keeps what it found there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from nta_milter.errors import LimitExceeded, MalformedCms
from nta_milter.message.model import Buffer
from nta_milter.smime.limits import Work

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31
CONSTRUCTED = 0x20

_LINE_ENDS = (b"\r\n", b"\n")


def context(number: int, *, constructed: bool = True) -> int:
    """The identifier octet of a context-specific tag."""
    return 0x80 | number | (CONSTRUCTED if constructed else 0)


class Element:
    """One BER value: ``start`` of its identifier, ``body`` to ``stop`` of its contents, ``end`` of it all."""

    __slots__ = ("_children", "body", "depth", "end", "indefinite", "start", "stop", "tag", "view", "work")

    def __init__(
        self,
        view: memoryview,
        work: Work,
        depth: int,
        tag: int,
        start: int,
        body: int,
        stop: int,
        end: int,
        children: list[Element] | None = None,
    ) -> None:
        self.view = view
        self.work = work
        self.depth = depth
        self.tag = tag
        self.start = start
        self.body = body
        self.stop = stop
        self.end = end
        self.indefinite = children is not None
        self._children = children

    @property
    def contents(self) -> memoryview:
        """The contents octets, without a copy."""
        return self.view[self.body : self.stop]

    @property
    def raw(self) -> memoryview:
        """The whole encoding, identifier and length included, without a copy."""
        return self.view[self.start : self.end]

    @property
    def children(self) -> Sequence[Element]:
        """The values inside a constructed one.

        Raises:
            MalformedCms: it is primitive, or the contents are not BER.
            LimitExceeded: too deep, or too many values in this message.
        """
        if self._children is None:
            if not self.tag & CONSTRUCTED:
                raise MalformedCms("a primitive value where a constructed one belongs")
            self._children = list(_siblings(self.view, self.body, self.stop, self.work, self.depth + 1))
        return self._children

    def expect(self, tag: int, what: str) -> Element:
        """This element, if it has the tag.

        Raises:
            MalformedCms: it has another.
        """
        if self.tag != tag:
            raise MalformedCms(f"{what} has tag 0x{self.tag:02x} instead of 0x{tag:02x}")
        return self

    def fields(self, tag: int, what: str) -> Fields:
        """The values inside, to be taken one after the other.

        Raises:
            MalformedCms: another tag, or contents that are not BER.
            LimitExceeded: too deep, or too many values in this message.
        """
        return Fields(self.expect(tag, what).children, what)

    def integer(self, what: str) -> int:
        """The value of an INTEGER of at most 40 octets (RFC 5280 allows 20 in a serial number).

        Raises:
            MalformedCms: not an INTEGER, empty or longer.
        """
        self.expect(INTEGER, what)
        if not 0 < self.stop - self.body <= 40:
            raise MalformedCms(f"{what} has {self.stop - self.body} octets")
        return int.from_bytes(self.contents, "big", signed=True)

    def object_identifier(self, what: str) -> bytes:
        """The contents octets of an OBJECT IDENTIFIER.

        Raises:
            MalformedCms: not one, empty or over 64 octets.
        """
        self.expect(OBJECT_IDENTIFIER, what)
        if not 0 < self.stop - self.body <= 64:
            raise MalformedCms(f"{what} is not an object identifier")
        return bytes(self.contents)

    def octets(self, what: str, tag: int = OCTET_STRING) -> list[memoryview]:
        """The pieces of an OCTET STRING, primitive or constructed (X.690 section 8.7).

        ``tag`` is the primitive identifier octet, for one that is tagged implicitly.

        Raises:
            MalformedCms: another type.
            LimitExceeded: too many pieces, or nested too deep.
        """
        if self.tag == tag:
            return [self.contents]
        self.expect(tag | CONSTRUCTED, what)
        pieces: list[memoryview] = []
        for child in self.children:
            if child.tag == OCTET_STRING:
                pieces.append(self.view[child.body : child.stop])
            else:
                pieces.extend(child.octets(what))
        return pieces

    def octet_string(self, what: str, tag: int = OCTET_STRING) -> bytes:
        """The value of a small OCTET STRING as one piece.

        Raises:
            MalformedCms: another type.
            LimitExceeded: too many pieces, or nested too deep.
        """
        return b"".join(self.octets(what, tag))

    def bit_string(self, what: str) -> bytes:
        """The value of a primitive BIT STRING of whole octets.

        Raises:
            MalformedCms: another type, empty, or with unused bits.
        """
        self.expect(BIT_STRING, what)
        if self.stop == self.body or self.view[self.body]:
            raise MalformedCms(f"{what} is not a BIT STRING of whole octets")
        return bytes(self.view[self.body + 1 : self.stop])

    def der(self) -> bytes:
        """This value with definite lengths and strings in one piece, values and their order unchanged.

        Raises:
            MalformedCms: the contents are not BER.
            LimitExceeded: too deep, or too many values in this message.
        """
        if self.tag == OCTET_STRING | CONSTRUCTED:
            return octet_string(self.octet_string("a string"))
        if not self.tag & CONSTRUCTED:
            return tlv(self.tag, self.contents)
        return tlv(self.tag, *(child.der() for child in self.children))


class Fields:
    """The values of a SEQUENCE, taken in order; what is optional is asked for by its tag."""

    __slots__ = ("_elements", "_position", "_what")

    def __init__(self, elements: Sequence[Element], what: str) -> None:
        self._elements = elements
        self._position = 0
        self._what = what

    def next(self, tag: int | None = None, what: str = "") -> Element:
        """The next value.

        Raises:
            MalformedCms: there is none, or it has another tag.
        """
        if self._position >= len(self._elements):
            raise MalformedCms(f"{self._what} ends before its {what or 'last'} field")
        element = self._elements[self._position]
        if tag is not None:
            element.expect(tag, what or self._what)
        self._position += 1
        return element

    def optional(self, *tags: int) -> Element | None:
        """The next value if it has one of these tags."""
        if self._position < len(self._elements) and self._elements[self._position].tag in tags:
            self._position += 1
            return self._elements[self._position - 1]
        return None

    def finish(self) -> None:
        """Nothing may follow.

        Raises:
            MalformedCms: something does.
        """
        if self._position != len(self._elements):
            raise MalformedCms(f"{self._what} has fields that do not belong there")


def parse(data: Buffer, work: Work, what: str = "BER") -> Element:
    """The one value that ``data`` holds, nothing behind it.

    Raises:
        MalformedCms: not BER, truncated, or followed by more octets.
        LimitExceeded: too deep, or too many values in this message.
    """
    view = memoryview(data)
    element = _element(view, 0, len(view), work, 1)
    if element.end != len(view):
        raise MalformedCms(f"{len(view) - element.end} octets behind the {what} value")
    return element


def content_info(data: Buffer, work: Work) -> tuple[bytes, Element]:
    """The type and the content of a ContentInfo (RFC 5652 section 3).

    A line end behind it is none of it: a body without base64 has one from its way here.

    Raises:
        MalformedCms: it is not one.
        LimitExceeded: too deep, or too many values.
    """
    view = memoryview(data)
    element = _element(view, 0, len(view), work, 1)
    if element.end != len(view) and bytes(view[element.end :][:3]) not in _LINE_ENDS:
        raise MalformedCms(f"{len(view) - element.end} octets behind the CMS value")
    fields = element.fields(SEQUENCE, "content info")
    oid = fields.next().object_identifier("content type")
    explicit = fields.next(context(0), "content").children
    fields.finish()
    if len(explicit) != 1:
        raise MalformedCms("an explicit tag around several values")
    return oid, explicit[0]


def _siblings(view: memoryview, position: int, stop: int, work: Work, depth: int) -> Iterator[Element]:
    while position < stop:
        element = _element(view, position, stop, work, depth)
        yield element
        position = element.end


def _element(view: memoryview, start: int, limit: int, work: Work, depth: int) -> Element:
    if depth > work.limits.depth:
        raise LimitExceeded(f"BER nested deeper than {work.limits.depth}")
    work.spend("elements")
    if start + 2 > limit:
        raise MalformedCms("a value is truncated")
    tag = view[start]
    if tag & 0x1F == 0x1F:
        raise MalformedCms("a tag number over 30, which CMS does not use")
    length = view[start + 1]
    body = start + 2
    if length == 0x80:
        return _indefinite(view, start, limit, work, depth)
    if length > 0x80:
        count = length & 0x7F
        if count > 8 or body + count > limit:
            raise MalformedCms("a length of more than eight octets, or a truncated one")
        length = int.from_bytes(view[body : body + count], "big")
        body += count
    stop = body + length
    if stop > limit:
        raise MalformedCms("a value is longer than what surrounds it")
    return Element(view, work, depth, tag, start, body, stop, stop)


def _indefinite(view: memoryview, start: int, limit: int, work: Work, depth: int) -> Element:
    """A constructed value that ends with two zero octets (X.690 section 8.1.3.6)."""
    tag = view[start]
    if not tag & CONSTRUCTED:
        raise MalformedCms("a primitive value of indefinite length")
    children: list[Element] = []
    position = body = start + 2
    while True:
        if position + 2 > limit:
            raise MalformedCms("an indefinite-length value has no end")
        if not view[position]:
            if view[position + 1]:
                raise MalformedCms("a tag of zero that does not end a value")
            return Element(view, work, depth, tag, start, body, position, position + 2, children)
        child = _element(view, position, limit, work, depth + 1)
        children.append(child)
        position = child.end


def header(tag: int, length: int) -> bytes:
    """Identifier and definite length octets in their shortest form (DER)."""
    if length < 0x80:
        return bytes((tag, length))
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(encoded))) + encoded


def tlv(tag: int, *parts: bytes | memoryview) -> bytes:
    """One DER value with these contents."""
    contents = b"".join(parts)
    length = len(contents)
    return (bytes((tag, length)) if length < 0x80 else header(tag, length)) + contents


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of encoded values."""
    return tlv(SEQUENCE, *parts)


def set_of(parts: Iterable[bytes], tag: int = SET) -> bytes:
    """A SET OF encoded values, in the order that DER asks for (X.690 section 11.6)."""
    return tlv(tag, *sorted(parts))


def integer(value: int) -> bytes:
    """An INTEGER."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octet_string(value: bytes) -> bytes:
    """An OCTET STRING."""
    return tlv(OCTET_STRING, value)


def bit_string(value: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\0", value)


@lru_cache(maxsize=256)
def identifier(dotted: str) -> bytes:
    """The contents octets of an OBJECT IDENTIFIER (X.690 section 8.19)."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    octets = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        octets += bytes(reversed(groups))
    return bytes(octets)


def dotted(contents: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER's contents octets, for a person to read."""
    arcs: list[int] = []
    value = 0
    for octet in contents[:64]:
        value = value << 7 | (octet & 0x7F)
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    if not arcs:
        return contents.hex()
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


@lru_cache(maxsize=256)
def object_identifier(contents: bytes) -> bytes:
    """An OBJECT IDENTIFIER of these contents octets."""
    return tlv(OBJECT_IDENTIFIER, contents)


NULL_VALUE = b"\x05\x00"
