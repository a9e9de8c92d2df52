"""ZIP archives and the office documents that are ZIP archives, within limits on members, size and ratio."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from nta_milter.errors import MessageError
from nta_milter.message.extract import office
from nta_milter.message.extract.content import HEAD, Budget, Content, Extract, Item, label

DIRECTORY_LIMIT = 4_194_304
"""Longest central directory that is read, in bytes: it costs many times its size in memory."""

_SMALL = 1_048_576
_ENCRYPTED = 0x1
_END = struct.Struct("<4s4H2LH")  # APPNOTE.TXT 4.3.16
_END_LENGTH = 22
_LONGEST_COMMENT = 65_535
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END_64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14

# Our own refusals, and all that the zipfile module is known to raise about hostile archives.
_ERRORS = (
    MessageError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def extract(content: Content, budget: Budget) -> Iterator[Item]:
    """Names and contents of the members; of an office document its texts and what is embedded."""
    data = bytes(content.read())
    try:
        size = _directory_size(data)
        if size > DIRECTORY_LIMIT:
            raise ValueError("too many members")
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _ERRORS:
        yield content.unreadable("a damaged or too large archive")
        return
    with archive:
        # is_dir() raises IndexError for a member without a name
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        budget.members -= len(members)
        if budget.members < 0:
            yield content.unreadable("an archive of too many members")
            return
        if any(member.flag_bits & _ENCRYPTED for member in members):
            yield content.unreadable("an encrypted archive")
            members = [member for member in members if not member.flag_bits & _ENCRYPTED]
        names = frozenset(member.filename for member in members)
        if office.is_document(names):
            yield from _document(content, archive, members, budget)
        else:
            yield from _members(content, archive, members, budget)


def _members(
    content: Content, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], budget: Budget
) -> Iterator[Item]:
    for number, member in enumerate(members, 1):
        where = label(f"{content.where}, item {number}", member.filename)
        yield Extract(f"name of {where}", member.filename)
        yield from _member(content, where, archive, member, budget)


def _document(
    content: Content, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], budget: Budget
) -> Iterator[Item]:
    """An office document: XML is read here, anything embedded goes on as a content of its own."""
    shared: list[str] = []
    for number, member in enumerate(sorted(members, key=office.reading_order), 1):
        where = label(f"{content.where}, item {number}", member.filename)
        if office.is_xml(member.filename):
            try:
                data = unpack(archive, member, budget, content.limit)
            except _ERRORS as error:
                yield Extract(where, None, _reason(error))
                continue
            if office.is_encryption(member.filename, data):
                yield content.unreadable("an encrypted document")
                return
            if office.is_shared_strings(member.filename):
                shared = office.shared_strings(data)
            yield Extract(content.where, office.text(member.filename, data, shared, budget.limits.text))
        elif not office.is_harmless(member.filename):
            yield from _member(content, where, archive, member, budget)


def _member(
    content: Content, where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget
) -> Iterator[Item]:
    """One member as a content; it is read at once when the reader asks, while the archive is open."""
    try:
        with _open(archive, member) as stream:
            head = stream.read(HEAD)
    except _ERRORS as error:
        yield Extract(where, None, _reason(error))
        return

    def read() -> bytes:
        try:
            return unpack(archive, member, budget, None)
        except _ERRORS as error:
            raise MessageError(_reason(error)) from error

    yield Content(where, member.filename, "", head, read, level=content.level + 1, limit=content.limit)


def unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget, limit: int | None) -> bytes:
    """A member's bytes.

    Raises:
        MessageError: it is longer than ``limit`` or the budget, or packed like a bomb.
        Exception: what zipfile raises about damage.
    """
    most = budget.unpacked if limit is None else min(limit, budget.unpacked)
    if member.file_size > _SMALL and member.file_size > budget.limits.ratio * max(member.compress_size, 1):
        raise MessageError("is packed like a bomb")
    with _open(archive, member) as stream:
        data = stream.read(max(most, 0) + 1)
    budget.unpacked -= len(data)
    if len(data) > most:
        raise MessageError("is longer than what is unpacked")
    return data


def _open(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Only stored and deflated members: the other methods may ask for gigabytes of memory."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise MessageError("is packed by a method that is not read")
    return archive.open(member)


def _reason(error: Exception) -> str:
    """Our own words; what zipfile says may quote a name."""
    return error.message if isinstance(error, MessageError) else "a damaged archive member"


def _directory_size(data: bytes) -> int:
    """The size of the central directory, so that zipfile does not read a huge one.

    Raises:
        ValueError: there is no end record.
    """
    position = data.rfind(b"PK\x05\x06", max(0, len(data) - _END_LENGTH - _LONGEST_COMMENT))
    if position < 0 or position + _END_LENGTH > len(data):
        raise ValueError("no end of central directory")
    size: int = _END.unpack_from(data, position)[5]
    locator = position - _LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\x06\x07":
        end_64 = locator - _END_64.size
        if end_64 < 0 or data[end_64 : end_64 + 4] != b"PK\x06\x06":
            raise ValueError("no ZIP64 end of central directory")
        size = max(size if size != 0xFFFFFFFF else 0, _END_64.unpack_from(data, end_64)[8])
    return size
