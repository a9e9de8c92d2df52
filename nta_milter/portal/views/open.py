"""From a link to its message: the access code.

Nothing is looked up before a code is sent, so a link in the hands of a robot does nothing, and an unknown,
expired, deleted or locked one looks and costs the same as one whose code is wrong.
"""

from __future__ import annotations

from starlette.responses import Response

from nta_milter.audit.events import Event
from nta_milter.errors import SealError
from nta_milter.portal import session
from nta_milter.portal.factors import code as access_code
from nta_milter.portal.visit import LONGEST, Visit
from nta_milter.store.keys import Token
from nta_milter.store.rows import Delivery, Linked

CODE_LENGTH = 200


def ask(visit: Visit) -> Response:
    """The page with the field for the code: the same for every link there could be."""
    return _page(visit)


def answer(visit: Visit) -> Response:
    """The code: open the message, or say nothing about why not."""
    code = visit.form.text("code")[:CODE_LENGTH]
    if not access_code.normal(code):
        return _page(visit, "error.problem", "open.missing", 400)
    token = Token.parse(visit.parameters["token"])
    lookup = token.lookup if token else "none"
    if not visit.locks.may_try(visit.network, lookup, visit.now):
        return _page(visit, "open.slow", "open.slow_body", 429)
    linked = visit.portal.access.find_by_link(lookup, visit.now)
    if linked is not None and linked.purpose != session.PURPOSE:
        linked = None
    locked = visit.locks.is_locked(lookup, visit.now)
    right = access_code.matches(code, _kept(visit, linked))
    if token is None or linked is None or locked or not right:
        _refused(visit, lookup, linked)
        return _page(visit, "open.refused", "open.refused_body", 403)
    try:
        key = visit.portal.keys.open_link(token, linked.sealed, linked.delivery.message_id)
    except SealError:
        return _page(visit, "open.refused", "open.refused_body", 403)
    return _begin(visit, linked.delivery, key, lookup)


def _begin(visit: Visit, delivery: Delivery, key: bytes, lookup: str) -> Response:
    access = visit.portal.access
    visit.locks.succeeded(visit.network, lookup)
    opened = session.begin(access, delivery, key, visit.now, LONGEST)
    access.opened(delivery.id, visit.now)
    visit.portal.record(Event.PORTAL_OPENED, delivery, {"network": visit.network})
    answer = visit.redirect(f"/message/{delivery.id}")
    session.set_cookie(answer, opened, LONGEST)
    return answer


def _page(visit: Visit, title: str = "", text: str = "", status: int = 200) -> Response:
    said = visit.language
    return visit.page(
        "open.html", status, problem_title=title and said(title), problem_text=text and said(text)
    )


def _refused(visit: Visit, lookup: str, linked: Linked | None) -> None:
    """A wrong code counts for the link too, from wherever it comes; the sender is told who is locked out."""
    locked = visit.locks.failed(visit.network, lookup, visit.now)
    if linked is None:
        return
    visit.portal.record(Event.CODE_REFUSED, linked.delivery, {"network": visit.network})
    if locked is not None:
        visit.portal.record(Event.LOCKED, linked.delivery, {"network": locked} if locked else {})
        if visit.locks.is_first(lookup, visit.now):
            visit.portal.store.handover.tell_locked(linked.delivery.id, visit.now)


def _kept(visit: Visit, linked: Linked | None) -> str | None:
    """The hash of the recipient's code; a link that leads nowhere asks the store just as well."""
    known = visit.portal.access.factors(linked.delivery.recipient if linked else "")
    return next((factor.value for factor in known if factor.kind == access_code.KIND), None)
