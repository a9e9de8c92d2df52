"""Just enough MIME (RFC 2045, RFC 1847) to find CMS in a message, over raw octets and without copies."""

from __future__ import annotations

import binascii
import re

from nta_milter.errors import LimitExceeded, MalformedCms, MessageError
from nta_milter.message import headers as fields
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Buffer, Entity
from nta_milter.message.parameters import ABSENT, Structured, structured
from nta_milter.message.transfer import IDENTITY
from nta_milter.smime import transfer
from nta_milter.smime.transfer import find

CMS_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")
BOUNDARY_LIMIT = 200
LOOKS = 100_000
"""Places of a multipart/signed where its boundary is looked at closer; two or three are right."""
_REST_OF_LINE = re.compile(rb"(--)?[ \t]*(?:\r?\n|\Z)")


def content_type(headers: Headers) -> Structured:
    """The media type of an entity; empty when the field is absent.

    Raises:
        MessageError: several such fields or parameters, so that readers may differ.
    """
    found = headers.all("Content-Type")
    if not found:
        return ABSENT
    kind = structured(found[0].value)
    if len(found) > 1 or kind.ambiguous:
        raise MessageError("an ambiguous Content-Type")
    return kind


def file_name(headers: Headers, kind: Structured) -> str:
    """The name that the entity gives itself, by Content-Disposition or Content-Type, in lower case."""
    disposition = structured(headers.first("Content-Disposition") or b"")
    name = disposition.parameters.get("filename") or kind.parameters.get("name", "")
    return name.strip().lower()


def is_cms(headers: Headers, kind: Structured) -> bool:
    """Whether an entity says that it is CMS (RFC 8551 section 3.2; by its name where the type got lost)."""
    if kind.value in CMS_TYPES:
        return True
    return kind.value == "application/octet-stream" and file_name(headers, kind).endswith(".p7m")


def decoded(headers: Headers, body: Buffer) -> Buffer:
    """The octets that a CMS body part stands for.

    Where no encoding is given, the first octet decides: BER begins with 0x30, base64 of it with M.

    Raises:
        MalformedCms: an unknown encoding, or base64 that is none.
    """
    encoding = structured(headers.first("Content-Transfer-Encoding") or b"").value
    if encoding == "base64":
        return transfer.decode(body)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(bytes(body))
    if encoding not in IDENTITY:
        raise MalformedCms("an unknown Content-Transfer-Encoding")
    return body if bytes(body[:1]) == b"\x30" else transfer.decode(body)


def entity(data: Buffer) -> Entity:
    """Split octets into header fields and body.

    Raises:
        LimitExceeded: more header fields than we read.
    """
    headers, start = fields.split(data)
    return Entity(headers, memoryview(data)[start:])


def signed_parts(kind: Structured, body: Buffer) -> tuple[memoryview, Entity]:
    """The raw octets of the first part of a multipart/signed, and its signature part (RFC 1847 section 2.1).

    The line end before a delimiter belongs to the delimiter; a missing last delimiter is forgiven.

    Raises:
        MessageError: not exactly two parts, so that readers may differ about what is signed.
        LimitExceeded: more header fields in the second part than we read, or nothing but boundaries.
    """
    if not 0 < len(kind.boundary) <= BOUNDARY_LIMIT:
        raise MessageError("multipart/signed without a usable boundary")
    view = memoryview(body)
    marks = _delimiters(view, body, b"--" + kind.boundary)
    if [closing for _, _, closing in marks] not in ([False, False, True], [False, False]):
        raise MessageError("multipart/signed that does not have two parts")
    start, stop = marks[0][1], marks[1][0]
    stop -= 2 if stop - start >= 2 and view[stop - 2] == 0x0D else 1
    last = marks[2][0] if len(marks) == 3 else len(view)
    return view[start : max(start, stop)], entity(view[marks[1][1] : last])


def _delimiters(view: memoryview, body: Buffer, delimiter: bytes) -> list[tuple[int, int, bool]]:
    """Where each delimiter line begins and ends, and whether it is the last one; four at most."""
    marks: list[tuple[int, int, bool]] = []
    at = find(body, delimiter)
    looks = 0
    while at >= 0 and len(marks) < 4:
        looks += 1
        if looks > LOOKS:
            raise LimitExceeded(f"more than {LOOKS} places that look like a delimiter")
        end = at + len(delimiter)
        rest = _REST_OF_LINE.match(view, end, min(len(view), end + 1_000))
        if rest and (at == 0 or view[at - 1] == 0x0A):
            marks.append((at, rest.end(), rest[1] is not None))
            if rest[1]:
                break
        at = find(body, delimiter, end)
    return marks


def message_and_body(headers: Headers) -> tuple[Headers, Headers]:
    """The fields of the message itself, and those that describe its body (Content-*, RFC 2045 section 3)."""
    message: list[HeaderField] = []
    body: list[HeaderField] = []
    for field in headers:
        (body if field.name[:8].lower() == b"content-" else message).append(field)
    return Headers(tuple(message)), Headers(tuple(body))
