"""The message itself: text, frame with its HTML, and where to go from there."""

from __future__ import annotations

from starlette.responses import Response

from nta_milter.audit.events import Event
from nta_milter.portal.forms import BadRequest
from nta_milter.portal.render import markup
from nta_milter.portal.render.content import Body, Content
from nta_milter.portal.render.names import lines
from nta_milter.portal.render.plain import text_of
from nta_milter.portal.session import Opened
from nta_milter.portal.visit import Visit


def base_path(opened: Opened) -> str:
    """Where the pages of a message begin."""
    return f"/message/{opened.delivery.id}"


def show(visit: Visit) -> Response:
    """The message."""
    opened = visit.opened(touch=True)
    if opened is None:
        return visit.closed()
    portal, delivery = visit.portal, opened.delivery
    content = portal.reading.content(opened)
    framed = content.has_html and markup.available and visit.query.get("as") != "text"
    text, cut = ("", False) if framed else plain_text(visit, opened, content)
    if visit.method == "GET" and portal.access.read(delivery.id, visit.now):
        portal.record(Event.READ, delivery, {})
    said = visit.language
    return visit.page(
        "message.html",
        base=base_path(opened),
        token=opened.form_token,
        content=content,
        framed=framed,
        height=_height(content),
        switchable=content.has_html and markup.available,
        html_lost=content.has_html and not markup.available,
        text=text,
        cut=cut,
        unreadable=said("message.empty") if content.readable else said("message.unreadable"),
        date=said.moment(content.date, portal.zone) if content.date else "",
        until=said.date(delivery.expires_at, portal.zone),
        can_reply=bool(delivery.author),
        replied=visit.query.get("replied") == "yes",
    )


def frame(visit: Visit) -> Response:
    """The HTML of the message, harmless and in a frame of its own."""
    opened = visit.opened()
    if opened is None:
        return visit.closed()
    content = visit.portal.reading.content(opened)
    if not (content.has_html and markup.available):
        raise BadRequest(404, "asks for HTML that is not there")
    pictures = {
        picture.identity: _picture(visit, opened, picture.kind, number)
        for number, picture in enumerate(content.pictures)
    }
    body = "<hr>".join(_rich(visit, opened, forms) for forms in content.bodies)
    answer = visit.page("frame.html", body=markup.harmless(body, pictures))
    answer.headers["Content-Security-Policy"] = markup.POLICY
    answer.headers["X-Frame-Options"] = "SAMEORIGIN"
    return answer


def plain_text(visit: Visit, opened: Opened, content: Content) -> tuple[str, bool]:
    """The text of the message for a reader, and whether it was cut."""
    texts: list[str] = []
    shortened = False
    for forms in content.bodies:
        body = forms[0]
        text, cut = visit.portal.reading.text(opened, body)
        texts.append(lines(text_of(text) if body.html else text).strip("\n"))
        shortened |= cut
    return "\n\n".join(text for text in texts if text.strip()), shortened


def _height(content: Content) -> str:
    """How tall the frame is, by how much there is to read: it cannot measure itself without a script."""
    size = sum(forms[0].place.size // (4 if forms[0].html else 1) for forms in content.bodies)
    return "short" if size < 700 else "middle" if size < 2_000 else "tall"


def _rich(visit: Visit, opened: Opened, forms: tuple[Body, ...]) -> str:
    body = forms[-1]
    text, _ = visit.portal.reading.text(opened, body)
    return text if body.html else markup.preformatted(text)


def _picture(visit: Visit, opened: Opened, kind: str, number: int) -> markup.Picture:
    def read() -> tuple[str, bytes]:
        place = visit.portal.reading.content(opened).pictures[number].place
        if place.size > markup.PICTURE_BYTES:
            return "", b""
        return kind, visit.portal.reading.small(opened, place)

    return read
