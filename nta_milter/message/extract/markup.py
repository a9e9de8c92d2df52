"""HTML and office XML to text: tags go, entities become characters. Linear, and no XML parser to attack."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from nta_milter.message.extract.content import Budget, Content, Item, bounded_text

# Tags within a word: a number may be split by them. A tag ends at the next angle bracket of either kind, so
# that an unfinished one costs nothing. Comments and styles stay: text that nobody sees is text too. Names in
# both cases are twice as fast as a pattern that ignores case.
_INLINE_NAMES = "a|b|i|u|em|strong|span|font|small|big|sub|sup|wbr|ins|del|mark|o:p"
_INLINE = re.compile(rf"</?(?:{_INLINE_NAMES}|{_INLINE_NAMES.upper()})(?=[\s/>])[^<>]*>")
_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*>")

_BREAK = re.compile(
    r"</?(?:\w{1,20}:)?(?:p|h|tab|br|cr|line-break|s|tc|tr|row|c|v|pt|si|comment|table-cell|table-row|"
    r"list-item|title|subject|creator|keywords|description|category)(?:[\s/][^<>]*)?>"
)
_CELL = re.compile(r"<table:table-cell\b([^<>]*)>")
_CELL_VALUE = re.compile(r'office:value="([^"]*)"')
_LONG_NUMBER = re.compile(r"&#[0-9]{8,}")


def extract(content: Content, budget: Budget) -> Iterator[Item]:
    """The text of an HTML or other markup document."""
    text, more = bounded_text(content, content.read())
    yield content.text(html_text(text))
    if more:
        yield content.unreadable("is longer than the text that is read")


def html_text(text: str) -> str:
    """What a person sees of HTML, and a little more."""
    if "<" in text:
        text = _TAG.sub(" ", _INLINE.sub("", text))
    return unescape(text) if "&" in text else text


def xml_text(text: str) -> str:
    """The text of office XML: paragraphs, cells and tabs end in a blank, other tags vanish."""
    return unescape(xml_untagged(text))


def xml_untagged(text: str) -> str:
    """The same with its entities."""
    if "office:value=" in text:
        text = _CELL.sub(_cell_value, text)
    return _TAG.sub("", _BREAK.sub(" ", text))


def _cell_value(cell: re.Match[str]) -> str:
    """A number as it is, besides how the sheet shows it."""
    value = _CELL_VALUE.search(cell[1])
    return f" {value[1]} " if value else " "


def unescape(text: str) -> str:
    """Entities as characters. Numbers that Python would refuse to read are dropped before."""
    return html.unescape(_LONG_NUMBER.sub(" ", text)) if "&" in text else text
