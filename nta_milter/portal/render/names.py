"""Names and texts of a stranger made safe: for a page, for a folder and for a header field."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

NAME_BYTES = 200
"""Longest file name in UTF-8; file systems take 255, and a browser adds `` (1)``."""

_SEPARATORS = re.compile(r"[/\\]")
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)", re.IGNORECASE)
_EXTENSION_BYTES = 16
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`|~"


def one_line(text: str) -> str:
    """The text without controls, line ends and characters that turn or hide what stands next to them."""
    kept = (" " if character.isspace() else character for character in text if _shown(character))
    return " ".join("".join(kept).split())


def lines(text: str) -> str:
    """The same for a text of several lines; tabs and line ends stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(character for character in text if character in "\n\t" or _shown(character))


def file_name(name: str | None, fallback: str) -> str:
    """A name that is a name in every file system and nothing else: no folder, no device, not hidden."""
    bare = _SEPARATORS.split(one_line(name or "").strip())[-1]
    bare = _FORBIDDEN.sub("_", bare).strip(". ")
    bare = _DEVICES.sub(r"\1_", bare)
    return _shortened(bare) or fallback


def distinct(names: list[str]) -> list[str]:
    """The names, with `` (2)`` and so on where one stands twice without regard to case."""
    used: set[str] = set()
    result: list[str] = []
    for name in names:
        stem, dot, extension = name.rpartition(".")
        if not stem:
            stem, dot, extension = name, "", ""
        chosen, number = name, 1
        while chosen.casefold() in used:
            number += 1
            chosen = f"{stem} ({number}){dot}{extension}"
        used.add(chosen.casefold())
        result.append(chosen)
    return result


def attachment(name: str) -> str:
    """Content-Disposition for a download (RFC 6266): ASCII for old readers, UTF-8 for all others."""
    decomposed = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    plain = re.sub(r'["\\%]', "_", decomposed).strip(". ") or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE_CHARACTERS)}"


def _shown(character: str) -> bool:
    """No control, format (bidirectional overrides, zero width), surrogate or private character."""
    return character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")


def _shortened(name: str) -> str:
    if len(name.encode()) <= NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = dot + extension
    if not stem or len(tail.encode()) > _EXTENSION_BYTES:
        stem, tail = name, ""
    kept = stem.encode()[: NAME_BYTES - len(tail.encode())].decode("utf-8", "ignore")
    return kept.rstrip(". ") + tail
