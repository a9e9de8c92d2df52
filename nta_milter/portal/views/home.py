"""The pages that know nothing of messages."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response

from nta_milter.portal.forms import BadRequest
from nta_milter.portal.pages import STATIC, TYPES, static
from nta_milter.portal.visit import Visit


def home(visit: Visit) -> Response:
    """What this is, and how to recognise a genuine link."""
    return visit.page("home.html")


def robots(visit: Visit) -> Response:
    """Nothing is for search engines (RFC 9309)."""
    return PlainTextResponse("User-agent: *\nDisallow: /\n")


def file(visit: Visit) -> Response:
    """A static file; its path changes with its content."""
    name = visit.parameters["name"]
    if name not in TYPES or static(name) != visit.path:
        raise BadRequest(404, "names no file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Content-Type": TYPES[name]}
    return Response((STATIC / name).read_bytes(), headers=headers)
