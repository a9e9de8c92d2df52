"""One request as the pages see it, and the portal behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from starlette.responses import HTMLResponse, RedirectResponse, Response

from nta_milter.audit.events import Event
from nta_milter.config.model import Settings
from nta_milter.portal import session
from nta_milter.portal.forms import BadRequest, Form
from nta_milter.portal.language import Language
from nta_milter.portal.locks import Locks
from nta_milter.portal.pages import render
from nta_milter.portal.reading import Reading
from nta_milter.portal.session import Opened
from nta_milter.store.access import Access
from nta_milter.store.keys import PrivateKeys
from nta_milter.store.rows import Delivery
from nta_milter.store.store import Store

LANGUAGE_COOKIE = "__Host-nta-language"
IDLE = timedelta(minutes=30)
"""A visit without any request for so long is over."""
LONGEST = timedelta(hours=8)
"""A visit is over then, whatever happens in it."""

Record = Callable[[Event, Delivery, Mapping[str, str]], None]
"""Writes one event about a delivery durably."""


@dataclass(frozen=True)
class Portal:
    """What all requests share."""

    settings: Settings
    store: Store
    keys: PrivateKeys
    reading: Reading
    record: Record

    @property
    def access(self) -> Access:
        """Links, factors, sessions and rates."""
        return self.store.access

    @cached_property
    def zone(self) -> ZoneInfo:
        """The zone of the moments on the pages."""
        return ZoneInfo(self.settings.portal.timezone)

    @cached_property
    def organisation(self) -> str:
        """Whose pages these are."""
        domains = self.settings.internal.domains
        return self.settings.notification.organisation or (domains[0] if domains else "")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request. ``form`` is empty but for POST; ``network`` is what limits count for."""

    portal: Portal
    method: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    cookies: Mapping[str, str]
    form: Form
    network: str
    language: Language

    @property
    def now(self) -> datetime:
        """The moment."""
        return datetime.now(UTC)

    @property
    def locks(self) -> Locks:
        """The counts of tries with codes."""
        return Locks(self.portal.access, self.portal.settings)

    def page(self, template: str, status: int = 200, **values: object) -> Response:
        """An answer made from a template."""
        settings = self.portal.settings
        text = render(
            template,
            self.language,
            path=self.path,
            organisation=self.portal.organisation,
            support=settings.portal.support,
            url=settings.portal.url.rstrip("/"),
            **values,
        )
        return HTMLResponse(text, status)

    def note(self, name: str, emblem: str, status: int = 200) -> Response:
        """A page that says one thing: the texts ``NAME`` and ``NAME_body``."""
        title, body = self.language(name), self.language(f"{name}_body")
        return self.page("note.html", status, title=title, body=body, emblem=emblem)

    def redirect(self, path: str) -> Response:
        """After a form: the browser gets a page that it may load again."""
        return RedirectResponse(path, 303)

    def opened(self, *, touch: bool = False) -> Opened | None:
        """The visit that the cookie for this path's message resumes; ``touch`` prolongs it."""
        identity = self.parameters["delivery"]
        cookie = self.cookies.get(session.cookie_name(identity), "")
        found = session.resume(self.portal.access, identity, cookie, self.now, IDLE)
        if found is not None and touch:
            self.portal.access.used_session(found.token.lookup, self.now)
        return found

    def closed(self) -> Response:
        """The answer where there is no visit (any more): open the link again."""
        return self.note("open.again", "lock", 403)

    def demand_own_form(self, opened: Opened) -> None:
        """Raises BadRequest unless the form came from a page of this visit."""
        if not opened.allows(self.form.fields.get("token", "")):
            raise BadRequest(403, "comes from no page of this visit")
