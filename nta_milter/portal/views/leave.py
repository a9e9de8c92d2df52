"""Deleting the message, and closing it."""

from __future__ import annotations

from starlette.responses import Response

from nta_milter.audit.events import Event
from nta_milter.portal import session
from nta_milter.portal.views.message import base_path
from nta_milter.portal.visit import Visit


def ask(visit: Visit) -> Response:
    """Whether the message is to be deleted."""
    opened = visit.opened()
    if opened is None:
        return visit.closed()
    return visit.page("delete.html", base=base_path(opened), token=opened.form_token)


def delete(visit: Visit) -> Response:
    """The recipient deletes his message for good."""
    opened = visit.opened()
    if opened is None:
        return visit.closed()
    visit.demand_own_form(opened)
    delivery = opened.delivery
    if visit.portal.access.delete(delivery.id):
        visit.portal.record(Event.DELETED, delivery, {})
    visit.portal.reading.forget(delivery.id)
    answer = visit.note("delete.done", "check")
    session.clear_cookie(answer, delivery.id)
    return answer


def sign_out(visit: Visit) -> Response:
    """The visit ends; the link works on."""
    opened = visit.opened()
    if opened is not None:
        visit.demand_own_form(opened)
        visit.portal.access.end_session(opened.token.lookup)
        visit.portal.reading.forget(opened.delivery.id)
    answer = visit.note("message.closed", "lock")
    session.clear_cookie(answer, visit.parameters["delivery"])
    return answer
