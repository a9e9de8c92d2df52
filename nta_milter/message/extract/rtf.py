"""Rich Text Format to text: control words go, escaped characters become characters (RTF 1.9.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nta_milter.message.charset import codec_of
from nta_milter.message.extract.content import Budget, Content, Item

_TOKEN = re.compile(
    r"\\'([0-9a-fA-F]{2})|\\u(-?[0-9]{1,5}) ?(?:\\'[0-9a-fA-F]{2}|\?)?|\\([a-zA-Z]{1,32})(?:-?[0-9]{1,10})? ?"
    r"|\\(.)|[{}\r\n]",
    re.DOTALL,
)
_CODE_PAGE = re.compile(rb"\\ansicpg([0-9]{1,5})")
_BLANKS = frozenset(("par", "line", "tab", "cell", "row", "sect", "page"))


def extract(content: Content, budget: Budget) -> Iterator[Item]:
    """The text of an RTF file."""
    data = bytes(content.read())
    limit = len(data) if content.limit is None else content.limit
    yield content.text(rtf_text(data[:limit]))
    if len(data) > limit:
        yield content.unreadable("is longer than the text that is read")
    if b"\\objdata" in data:
        yield content.unreadable("holds an embedded object")


def rtf_text(data: bytes) -> str:
    """The text; hidden destinations such as the font table are text too, they do no harm."""
    page = _CODE_PAGE.search(data, 0, 4_096)
    codec = codec_of(f"cp{page[1].decode('ascii')}" if page else "cp1252") or "cp1252"

    def character(token: re.Match[str]) -> str:
        escaped, code, word, symbol = token.groups()
        if escaped:
            return bytes((int(escaped, 16),)).decode(codec, "replace")
        if code:
            return chr(int(code) % 0x10000)
        if word:
            return " " if word in _BLANKS else ""
        return {"~": " ", "_": "-", "\\": "\\", "{": "{", "}": "}"}.get(symbol or "", "")

    text = _TOKEN.sub(character, data.decode("latin-1"))
    # characters beyond U+FFFF are written as two surrogates
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
