"""The portal as an ASGI application: which function answers which path."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nta_milter.errors import NtaMilterError, TemporaryError
from nta_milter.monitor.log import tell
from nta_milter.portal.asgi import Application, Protected, client_network
from nta_milter.portal.forms import BadRequest, Form, read_form
from nta_milter.portal.language import choose
from nta_milter.portal.views import download, hold, home, leave, message, open, reply, unlock
from nta_milter.portal.visit import LANGUAGE_COOKIE, Portal, Visit

View = Callable[[Visit], Response]

FORM_LIMIT = 16_384
"""Most bytes of a form without files."""

LANGUAGE_AGE = 365 * 86_400
"""How long a browser remembers the language that was chosen, in seconds."""

_log = logging.getLogger("nta_milter.portal")

_ERRORS = {
    400: "error.bad_request",
    403: "error.forbidden",
    404: "error.not_found",
    405: "error.not_found",
    413: "error.too_large",
    415: "error.bad_request",
    503: "error.temporary",
}


def application(portal: Portal) -> Application:
    """The whole portal; ``portal`` must live as long as it."""
    pages = _Pages(portal)
    message_path = "/message/{delivery}"
    upload = portal.settings.portal.reply_limit + reply.FORM_ROOM
    routes = [
        pages.route("/", home.home),
        pages.route("/robots.txt", home.robots),
        pages.route("/static/{digest}/{name}", home.file),
        pages.route("/m/{token}", open.ask, open.answer),
        pages.route("/hold/{token}", hold.ask, hold.answer),
        pages.route("/unlock/{token}", unlock.ask, unlock.answer),
        pages.route(message_path, message.show),
        pages.route(f"{message_path}/html", message.frame),
        pages.route(f"{message_path}/attachment/{{number:int}}", download.one),
        pages.route(f"{message_path}/attachments.zip", download.everything),
        pages.route(f"{message_path}/message.eml", download.whole),
        pages.route(f"{message_path}/reply", reply.write, reply.send, limit=upload, visited=True),
        pages.route(f"{message_path}/delete", leave.ask, leave.delete),
        pages.route(f"{message_path}/sign-out", None, leave.sign_out),
    ]
    handlers = {HTTPException: pages.not_found, Exception: pages.broken}
    inner = Starlette(routes=routes, exception_handlers=handlers)
    return Protected(inner, portal.settings.portal.proxies)


class _Pages:
    """Makes routes of views, and pages of what goes wrong."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        parts = urlsplit(portal.settings.portal.url)
        self._origin = f"{parts.scheme}://{parts.netloc}"

    def route(
        self,
        path: str,
        get: View | None,
        post: View | None = None,
        *,
        limit: int = FORM_LIMIT,
        visited: bool = False,
    ) -> Route:
        """A path; ``limit`` is that of a form in bytes, taken only within a visit where ``visited``."""

        async def endpoint(request: Request) -> Response:
            try:
                return await self._answer(request, get, post, limit, visited)
            except BadRequest as error:
                return self._error(request, error.status)
            except TemporaryError as error:
                tell(_log, logging.ERROR, "request-failed", error=error)
                return self._error(request, 503)
            except NtaMilterError as error:
                tell(_log, logging.ERROR, "request-failed", error=error)
                return self._error(request, 500)

        methods = [name for name, view in (("GET", get), ("POST", post)) if view is not None]
        return Route(path, endpoint, methods=methods)

    async def _answer(
        self, request: Request, get: View | None, post: View | None, limit: int, visited: bool
    ) -> Response:
        view, form = get, Form({})
        if request.method == "POST":
            view = post
            self._demand_same_origin(request)
            if visited and await run_in_threadpool(self._visit(request, form).opened) is None:
                limit = FORM_LIMIT  # strangers must not fill the memory
            form = await read_form(request, limit)
        if view is None:
            raise BadRequest(405, "has no answer")
        visit = self._visit(request, form)
        answer = await run_in_threadpool(view, visit)
        if request.query_params.get("language") == visit.language.code:
            answer.set_cookie(
                LANGUAGE_COOKIE,
                visit.language.code,
                max_age=LANGUAGE_AGE,
                path="/",
                secure=True,
                httponly=True,
                samesite="lax",
            )
        return answer

    def _visit(self, request: Request, form: Form) -> Visit:
        default = self._portal.settings.notification.language
        wishes = (request.query_params.get("language"), request.cookies.get(LANGUAGE_COOKIE))
        client = request.client.host if request.client else ""
        return Visit(
            portal=self._portal,
            method=request.method,
            path=request.url.path,
            parameters={name: str(value) for name, value in request.path_params.items()},
            query=request.query_params,
            cookies=request.cookies,
            form=form,
            network=client_network(client),
            language=choose(wishes, request.headers.get("accept-language", ""), default),
        )

    def _demand_same_origin(self, request: Request) -> None:
        """A browser says where a form comes from; ``null`` is what no-referrer makes of our own pages."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin", "null")
        if site not in ("same-origin", "none") or origin not in ("null", self._origin):
            raise BadRequest(403, "comes from another site")

    def _error(self, request: Request, status: int) -> Response:
        name = _ERRORS.get(status, "error.temporary")
        return self._visit(request, Form({})).note(name, "warning", status)

    async def not_found(self, request: Request, error: Exception) -> Response:
        """No such path or method."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        answer = self._error(request, status)
        if isinstance(error, HTTPException) and error.headers:
            answer.headers.update(error.headers)
        return answer

    async def broken(self, request: Request, error: Exception) -> Response:
        """A fault of ours; the server logs where it is, and no content."""
        return self._error(request, 500)
