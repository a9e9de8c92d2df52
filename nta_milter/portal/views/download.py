"""What a recipient keeps: one attachment, all of them, or the whole message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from nta_milter.audit.events import Event
from nta_milter.errors import NtaMilterError
from nta_milter.monitor.log import tell
from nta_milter.portal.asgi import Receive, Scope, Send
from nta_milter.portal.forms import BadRequest
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


TURN = 4
"""Pieces after which others have their turn: about a megabyte, which takes less than a millisecond."""

_log = logging.getLogger("nta_milter.portal")


class Download(StreamingResponse):
    """A file that no browser opens by itself; ``completed`` is called when its last byte was sent.

    Pieces are decrypted between two writes to the network: a thread for each would cost more than it frees.
    Whoever leaves early ends it, which neither Starlette nor uvicorn see to in every version.
    """

    def __init__(
        self, name: str, pieces: Iterator[bytes], size: int | None, completed: Callable[[], None]
    ) -> None:
        headers = {"Content-Disposition": attachment(name)}
        if size is not None:
            headers["Content-Length"] = str(size)
        super().__init__(iter(()), headers=headers, media_type="application/octet-stream")
        self._pieces = pieces
        self._completed = completed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One answer, as ASGI wants it."""
        left = asyncio.ensure_future(_left(receive))
        try:
            head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(head)
            if scope["method"] == "GET":
                for number, piece in enumerate(self._pieces):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    if number % TURN == 0:
                        await asyncio.sleep(0)  # others are served in between
                    if left.done():
                        return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except NtaMilterError as error:
            tell(_log, logging.ERROR, "download-broken", error=error)
            return  # without an end: the browser sees that the file is not whole
        finally:
            left.cancel()
            close = getattr(self._pieces, "close", None)
            if close is not None:
                close()
        if scope["method"] == "GET":
            await run_in_threadpool(self._completed)


async def _left(receive: Receive) -> None:
    """Return when the visitor has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _download(
    visit: Visit, opened: Opened, name: str, pieces: Iterator[bytes], size: int | None, what: str
) -> Response:
    def completed() -> None:
        visit.portal.access.downloaded(opened.delivery.id)
        visit.portal.record(Event.DOWNLOADED, opened.delivery, {"what": what})

    return Download(name, pieces, size, completed)
