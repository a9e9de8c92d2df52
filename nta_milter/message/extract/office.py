"""Office Open XML (ECMA-376) and OpenDocument (ISO 26300): which members hold text, and the text."""

from __future__ import annotations

import re
import zipfile

from nta_milter.message.charset import decode_text
from nta_milter.message.extract.markup import unescape, xml_text, xml_untagged

_CELL = re.compile(r"<(?:\w{1,20}:)?c\b([^<>]*)>\s{0,9}<(?:\w{1,20}:)?v>([0-9]{1,7})(?=<)")
_STRING_END = re.compile(r"</(?:\w{1,20}:)?si>")

# What office programs add that holds no text of the writer: styles of printers, macros, fonts, pictures.
_HARMLESS = re.compile(
    r"(?:mimetype|layout-cache|manifest\.rdf|.*\.rels|.*/printerSettings[0-9]*\.bin|.*/vbaProject\w*\.bin|"
    r".*\.odttf|.*\.fntdata|Configurations2/.*|ObjectReplacements/.*)"
)


def is_document(names: frozenset[str]) -> bool:
    """Whether an archive with these members is an office document."""
    return "[Content_Types].xml" in names or ("mimetype" in names and "META-INF/manifest.xml" in names)


def reading_order(member: zipfile.ZipInfo) -> tuple[int, str]:
    """Encryption first, then shared strings, which the sheets point to; pictures and embedded files last."""
    name = member.filename
    if name == "META-INF/manifest.xml":
        return 0, name
    if is_shared_strings(name):
        return 1, name
    return (2 if is_xml(name) else 3), name


def is_xml(name: str) -> bool:
    """Whether a member is XML with text in it."""
    return name.endswith(".xml")


def is_harmless(name: str) -> bool:
    """Whether a member holds nothing that the writer put there."""
    return _HARMLESS.fullmatch(name) is not None


def is_encryption(name: str, data: bytes) -> bool:
    """Whether this is an OpenDocument manifest that says that members are encrypted."""
    return name == "META-INF/manifest.xml" and b"encryption-data" in data


def is_shared_strings(name: str) -> bool:
    """Whether this is the list of a workbook's texts."""
    return name == "xl/sharedStrings.xml"


def shared_strings(data: bytes) -> list[str]:
    """The texts of a workbook, by their number, entities not yet replaced."""
    marked = _STRING_END.sub("\0", decode_text(data))
    return [text.strip() for text in xml_untagged(marked).split("\0")]


def text(name: str, data: bytes, shared: list[str], limit: int) -> str:
    """The text of one XML member; in a sheet the shared strings stand in their cells.

    They may make it ``limit`` characters longer and no more: the rest is read in the list itself.
    """
    document = decode_text(data)
    if not shared or not name.startswith("xl/worksheets/"):
        return xml_text(document)
    left = limit

    def cell(found: re.Match[str]) -> str:
        nonlocal left
        if 't="s"' not in found[1]:
            return found[0]
        number = int(found[2])
        value = shared[number] if number < len(shared) else ""
        left -= len(value)
        return f" {value} " if left >= 0 else " "

    return unescape(xml_untagged(_CELL.sub(cell, document)))
