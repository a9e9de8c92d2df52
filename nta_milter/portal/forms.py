"""What a browser sends: read within a limit and taken apart by the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from nta_milter.errors import LimitExceeded, PermanentError
from nta_milter.message.headers import Headers
from nta_milter.message.mime import parse
from nta_milter.message.parameters import structured

FIELD_LIMIT = 100
PART_LIMIT = 10_000
"""Parts of an upload, those within an uploaded message included."""
DEPTH_LIMIT = 50
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


class BadRequest(PermanentError):
    """A request that no page of ours makes; ``status`` is the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, where="request")
        self.status = status


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a form; nothing about it is checked."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form; of a name that stands twice the first counts."""

    fields: Mapping[str, str]
    uploads: tuple[Upload, ...] = ()

    def text(self, name: str) -> str:
        """The value of a field, empty where it is absent; line ends are LF."""
        return self.fields.get(name, "").replace("\r\n", "\n").replace("\r", "\n")


async def read_form(request: Request, limit: int) -> Form:
    """The form of a POST request of at most ``limit`` bytes.

    Raises:
        BadRequest: 413 too long, 415 another type, 400 not a form.
    """
    kind = request.headers.get("content-type", "")
    content = structured(kind.encode("latin-1"))
    if content.value not in (URLENCODED, MULTIPART):
        raise BadRequest(415, "is no form")
    body = await _read(request, limit)
    if content.value == MULTIPART:
        return _multipart(kind.encode("latin-1"), body)
    return _urlencoded(body)


async def _read(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise BadRequest(413, f"is longer than {limit} bytes")
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise BadRequest(413, f"is longer than {limit} bytes")
            pieces.append(piece)
    except ClientDisconnect:
        raise BadRequest(400, "ended too early") from None
    return b"".join(pieces)


def _urlencoded(body: bytes) -> Form:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELD_LIMIT
        )
    except ValueError:
        raise BadRequest(400, "is not a form") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return Form(fields)


def _multipart(kind: bytes, body: bytes) -> Form:
    """Fields and files (RFC 7578). Browsers write names in UTF-8 and encode only quotes and line ends."""
    headers = Headers().add("Content-Type", kind)
    try:
        root = parse(headers, body, part_limit=PART_LIMIT, depth_limit=DEPTH_LIMIT)
    except LimitExceeded:
        raise BadRequest(400, "has too many parts") from None
    fields: dict[str, str] = {}
    uploads: list[Upload] = []
    for part in root.children:
        given = structured(part.headers.first("Content-Disposition") or b"")
        name = given.parameters.get("name", "")
        if given.value != "form-data" or not name:
            raise BadRequest(400, "has a part without a name")
        raw = bytes(part.raw(body))
        if "filename" in given.parameters:
            if given.parameters["filename"] or raw:
                uploads.append(Upload(_percent_decoded(given.parameters["filename"]), raw))
            continue
        try:
            fields.setdefault(name, raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadRequest(400, "holds text that is no UTF-8") from None
    return Form(fields, tuple(uploads))


def _percent_decoded(name: str) -> str:
    return name.replace("%22", '"').replace("%0D", "").replace("%0A", "")
