"""From a link to its message: the access code, agreed on or sent to the recipient's telephone.

Nothing is looked up before a code is sent, so a link in the hands of a robot does nothing, and an unknown,
expired, deleted or locked one looks and costs the same as one whose code is wrong.
"""

from __future__ import annotations

import logging
import threading

from starlette.responses import Response

from nta_milter.audit.events import Event
from nta_milter.errors import NtaMilterError, SealError
from nta_milter.monitor.log import tell, tell_crash
from nta_milter.portal import session
from nta_milter.portal.factors import code as access_code
from nta_milter.portal.factors import phone, sms
from nta_milter.portal.forms import BadRequest
from nta_milter.portal.visit import LONGEST, Visit
from nta_milter.store.keys import Token
from nta_milter.store.rows import Delivery, Linked

CODE_LENGTH = 200

log = logging.getLogger(__name__)


def ask(visit: Visit) -> Response:
    """The page with the field for the code: the same for every link there could be."""
    return _page(visit)


def answer(visit: Visit) -> Response:
    """The code: open the message, or say nothing about why not."""
    if visit.form.text("do") == "send":
        return _send(visit)
    code = visit.form.text("code")[:CODE_LENGTH]
    if not access_code.normal(code):
        return _page(visit, "error.problem", "open.missing", 400)
    token = Token.parse(visit.parameters["token"])
    lookup = token.lookup if token else "none"
    if not visit.locks.may_try(visit.network, lookup, visit.now):
        return _page(visit, "open.slow", "open.slow_body", 429)
    linked = _linked(visit, lookup)
    locked = visit.locks.is_locked(lookup, visit.now)
    right = access_code.matches(code, _kept(visit, linked, access_code.KIND))
    if visit.portal.settings.portal.sms_command:
        right = sms.matches(visit.portal.access, token, code, visit.now) or right
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


def _page(
    visit: Visit, title: str = "", text: str = "", status: int = 200, *, sent: bool = False
) -> Response:
    said = visit.language
    return visit.page(
        "open.html",
        status,
        problem_title=title and said(title),
        problem_text=text and said(text),
        sms=bool(visit.portal.settings.portal.sms_command),
        sent=sent,
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


def _linked(visit: Visit, lookup: str) -> Linked | None:
    found = visit.portal.access.find_by_link(lookup, visit.now)
    return found if found is not None and found.purpose == session.PURPOSE else None


def _kept(visit: Visit, linked: Linked | None, kind: str) -> str | None:
    """What is known of the recipient; a link that leads nowhere asks the store just as well."""
    known = visit.portal.access.factors(linked.delivery.recipient if linked else "")
    return next((factor.value for factor in known if factor.kind == kind), None)


def _send(visit: Visit) -> Response:
    """A code to the recipient's telephone, if there is one; the page is the same if there is none."""
    if not visit.portal.settings.portal.sms_command:
        raise BadRequest(400, "asks for a code by SMS")
    token = Token.parse(visit.parameters["token"])
    lookup = token.lookup if token else "none"
    if not visit.locks.may_ask(visit.network, lookup, visit.now):
        return _page(visit, "open.slow", "open.slow_body", 429)
    linked = _linked(visit, lookup)
    number = _kept(visit, linked, phone.KIND)
    if token is not None and linked is not None and number is not None:
        # while the page is answered: how long it takes tells a stranger nothing
        work = (visit, token, linked.delivery, number)
        threading.Thread(target=_send_to, args=work, name="sms", daemon=True).start()
    return _page(visit, sent=True)


def _send_to(visit: Visit, token: Token, delivery: Delivery, number: str) -> None:
    portal, said = visit.portal, visit.language
    try:
        code = sms.remember(portal.access, token, delivery.id, visit.now)
        text = said("sms.text", organisation=portal.organisation, code=code)
        if sms.send(portal.settings.portal.sms_command, number, text):
            portal.record(Event.CODE_SENT, delivery, {"network": visit.network})
    except NtaMilterError as error:
        tell(log, logging.ERROR, "sms-failed", delivery.queue_id, delivery=delivery.id, error=error)
    except Exception:  # noqa: BLE001 - nobody else hears of it
        tell_crash(log, "internal-error", delivery.queue_id, delivery=delivery.id)
