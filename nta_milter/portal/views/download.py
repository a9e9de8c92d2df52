"""What a recipient keeps: one attachment, all of them, or the whole message."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from nta_milter.audit.events import Event
from nta_milter.portal.forms import BadRequest
from nta_milter.portal.reading import sent
from nta_milter.portal.render.archive import zipped
from nta_milter.portal.render.names import attachment, file_name
from nta_milter.portal.session import Opened
from nta_milter.portal.visit import Visit


def one(visit: Visit) -> Response:
    """An attachment."""
    opened = visit.opened()
    if opened is None:
        return visit.closed()
    files = visit.portal.reading.content(opened).attachments
    number = int(visit.parameters["number"])
    if number >= len(files):
        raise BadRequest(404, "names no attachment")
    file = files[number]
    pieces = visit.portal.reading.pieces(opened, file.place)
    return _download(visit, opened, file.name, pieces, file.place.size, "attachment")


def everything(visit: Visit) -> Response:
    """All attachments in one .zip."""
    opened = visit.opened()
    if opened is None:
        return visit.closed()
    reading = visit.portal.reading
    content = reading.content(opened)
    files = ((file.name, file.place.size, reading.pieces(opened, file.place)) for file in content.attachments)
    name = file_name(f"{content.subject or visit.language('message.attachments')}.zip", "message.zip")
    at = (content.date or opened.delivery.created_at).astimezone(visit.portal.zone)
    return _download(visit, opened, name, zipped(files, at), None, "attachments")


def whole(visit: Visit) -> Response:
    """The message as it was sent: header fields, text and attachments (RFC 5322)."""
    opened = visit.opened()
    if opened is None:
        return visit.closed()
    content = visit.portal.reading.content(opened)
    name = file_name(f"{content.subject or visit.language('page.secure')}.eml", "message.eml")
    pieces = visit.portal.reading.whole(opened)
    return _download(visit, opened, name, pieces, content.size, "message")


def _download(
    visit: Visit, opened: Opened, name: str, pieces: Iterator[bytes], size: int | None, what: str
) -> Response:
    """A file that no browser opens by itself; it counts when its last byte was sent."""

    if visit.method == "HEAD":
        pieces = iter(())

    async def completed() -> None:
        if visit.method == "GET":
            await run_in_threadpool(_completed, visit, opened, what)

    headers = {"Content-Disposition": attachment(name)}
    if size is not None:
        headers["Content-Length"] = str(size)
    return StreamingResponse(sent(pieces, completed), headers=headers, media_type="application/octet-stream")


def _completed(visit: Visit, opened: Opened, what: str) -> None:
    visit.portal.access.downloaded(opened.delivery.id)
    visit.portal.record(Event.DOWNLOADED, opened.delivery, {"what": what})
