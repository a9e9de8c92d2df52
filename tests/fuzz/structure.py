"""BER as a tree that can be taken apart and written again in other ways, right and wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hypothesis import strategies as st

from nta_milter.smime.limits import Work
from nta_milter.smime.tlv import CONSTRUCTED, OCTET_STRING, Element, context, header, parse

INTEGERS = (b"", b"\x00", b"\xff", b"\x00" * 50 + b"\x01", b"\x7f" * 3_000, b"\x80" + b"\x00" * 20)
TAGS = (0x02, 0x04, 0x05, 0x06, 0x24, 0x30, 0x31, 0x80, 0xA0, 0xA1, 0xA2)


@dataclass
class Node:
    """One value: octets, or the values inside; ``form`` of its length: short, long or indefinite."""

    tag: int
    value: bytes | list[Node]
    form: str = "short"

    @classmethod
    def read(cls, data: bytes) -> Node:
        return cls._of(parse(data, Work()))

    @classmethod
    def _of(cls, element: Element) -> Node:
        if element.tag & CONSTRUCTED:
            return cls(element.tag, [cls._of(child) for child in element.children])
        return cls(element.tag, bytes(element.contents))

    def __bytes__(self) -> bytes:
        inside = self.value if isinstance(self.value, bytes) else b"".join(map(bytes, self.value))
        tag = self.tag if isinstance(self.value, bytes) else self.tag | CONSTRUCTED
        if self.form == "indefinite" and tag & CONSTRUCTED:
            return bytes((tag, 0x80)) + inside + b"\x00\x00"
        if self.form == "long":
            return bytes((tag, 0x84)) + len(inside).to_bytes(4, "big") + inside
        return header(tag, len(inside)) + inside

    def walk(self, enter: Callable[[Node], bool] = lambda node: True) -> Iterator[tuple[Node, Node | None]]:
        """Every value with the one around it; ``enter`` says into which to go."""
        waiting: list[tuple[Node, Node | None]] = [(self, None)]
        while waiting:
            node, around = waiting.pop()
            yield node, around
            if not isinstance(node.value, bytes) and enter(node):
                waiting += [(child, node) for child in node.value]


def is_certificate(node: Node) -> bool:
    """Whether it looks like a certificate: three values, the first of which begins with its version."""
    if isinstance(node.value, bytes) or node.tag != 0x30 or len(node.value) != 3:
        return False
    first = node.value[0].value
    return isinstance(first, list) and bool(first) and first[0].tag == context(0)


@st.composite
def encoded_anew(draw: st.DrawFn, data: bytes) -> bytes:
    """The same values with other lengths and strings in pieces; certificates stay DER, as they must."""
    root = Node.read(data)
    nodes = [node for node, _ in root.walk(lambda node: not is_certificate(node))]
    nodes = [node for node in nodes if not is_certificate(node)]
    for node in draw(st.lists(st.sampled_from(nodes), max_size=12, unique_by=id)):
        if node.tag == OCTET_STRING and isinstance(node.value, bytes) and draw(st.booleans()):
            cut = draw(st.integers(0, len(node.value)))
            node.value = [Node(OCTET_STRING, node.value[:cut]), Node(OCTET_STRING, node.value[cut:])]
        node.form = draw(st.sampled_from(("short", "long", "indefinite")))
    return bytes(root)


@st.composite
def rebuilt(draw: st.DrawFn, data: bytes) -> bytes:
    """The values with one to four edits: flipped, removed, doubled, moved, wrapped, emptied, renamed."""
    root = Node.read(data)
    for _ in range(draw(st.integers(1, 4))):
        nodes = list(root.walk())
        node, around = draw(st.sampled_from(nodes))
        names = [item.value for item, _ in nodes if item.tag == 0x06]
        edit = draw(st.sampled_from(EDITS))
        edit(draw, node, around, [item for item, _ in nodes if isinstance(item.value, list)], names)
    return bytes(root)


def _flip(draw, node, around, containers, names):
    if isinstance(node.value, bytes) and node.value:
        octets = bytearray(node.value)
        octets[draw(st.integers(0, len(octets) - 1))] ^= 1 << draw(st.integers(0, 7))
        node.value = bytes(octets)


def _remove(draw, node, around, containers, names):
    if around is not None:
        around.value = [item for item in around.value if item is not node]


def _double(draw, node, around, containers, names):
    if around is not None:
        around.value.insert(draw(st.integers(0, len(around.value))), copy.deepcopy(node))


def _move(draw, node, around, containers, names):
    copied = copy.deepcopy(node)
    _remove(draw, node, around, containers, names)
    target = draw(st.sampled_from(containers)).value
    target.insert(draw(st.integers(0, len(target))), copied)


def _wrap(draw, node, around, containers, names):
    inner = Node(node.tag, node.value, node.form)
    node.tag, node.value, node.form = draw(st.sampled_from((0x30, 0x31, 0xA0, 0x24))), [inner], "short"


def _empty(draw, node, around, containers, names):
    node.value = b"" if isinstance(node.value, bytes) else []


def _retag(draw, node, around, containers, names):
    node.tag = draw(st.sampled_from(TAGS))


def _number(draw, node, around, containers, names):
    if node.tag == 0x02:
        node.value = draw(st.sampled_from(INTEGERS))


def _rename(draw, node, around, containers, names):
    if node.tag == 0x06 and names:
        node.value = draw(st.sampled_from(names))


def _form(draw, node, around, containers, names):
    node.form = draw(st.sampled_from(("long", "indefinite")))


EDITS = (_flip, _remove, _double, _move, _wrap, _empty, _retag, _number, _rename, _form)
