"""The text of HTML for a reader: in lines, without what is not shown. Linear in its length."""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,19})(?:[\s/][^<>]*)?>|<!--|<[!?][^<>]*>")
_LONG_NUMBER = re.compile(r"&#[0-9]{8,}")
_BLANKS = re.compile(r"[ \t\r\n\f\u00a0]+")
_HIDDEN = frozenset(("head", "script", "style", "template", "title", "noscript", "svg", "math"))
_PARAGRAPHS = frozenset(("blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"))
_BLOCKS = _PARAGRAPHS | {"address", "center", "dd", "div", "dl", "dt", "fieldset", "footer", "form", "header"}
_BLOCKS |= {"hr", "li", "section", "tr"}


def text_of(markup: str) -> str:
    """What a person would read; blocks begin lines, paragraphs have a blank line between them."""
    lines: list[str] = []
    line: list[str] = []
    hidden = ""
    position = 0

    def end(*, paragraph: bool) -> None:
        joined = _BLANKS.sub(" ", "".join(line)).strip()
        line.clear()
        if joined:
            lines.append(joined)
        if paragraph and lines and lines[-1]:
            lines.append("")

    while found := _TAG.search(markup, position):
        if not hidden:
            line.append(_unescaped(markup[position : found.start()]))
        position = found.end()
        if found[0] == "<!--":
            closed = markup.find("-->", position)
            position = len(markup) if closed < 0 else closed + 3
            continue
        name = (found[2] or "").lower()
        if hidden:
            hidden = "" if found[1] and name == hidden else hidden
        elif name in _HIDDEN and not found[1]:
            hidden = name
        elif name == "br":
            end(paragraph=False)
        elif name in ("td", "th"):
            line.append(" ")
        elif name == "li" and not found[1]:
            end(paragraph=False)
            line.append("• ")
        elif name in _BLOCKS:
            end(paragraph=name in _PARAGRAPHS)
    if not hidden:
        line.append(_unescaped(markup[position:]))
    end(paragraph=False)
    return "\n".join(lines).strip("\n")


def _unescaped(text: str) -> str:
    return html.unescape(_LONG_NUMBER.sub(" ", text)) if "&" in text else text
