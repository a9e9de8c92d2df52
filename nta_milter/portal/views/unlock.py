"""The sender's page: too many codes for his message were wrong, and he can have them begin anew."""

from __future__ import annotations

from starlette.responses import Response

from nta_milter.audit.events import Event
from nta_milter.portal.factors import code as access_code
from nta_milter.portal.visit import Visit
from nta_milter.store.keys import Token
from nta_milter.store.rows import Delivery, Factor

PURPOSE = "unlock"
"""Purpose of the link in the mail to the sender."""


def ask(visit: Visit) -> Response:
    """For whom it is. It shows an address and a moment, and nothing of the message."""
    delivery = _locked(visit)
    return _gone(visit) if delivery is None else _page(visit, delivery)


def answer(visit: Visit) -> Response:
    """Unlock; with a new code where the sender gives one."""
    delivery = _locked(visit)
    if delivery is None:
        return _gone(visit)
    code = visit.form.text("code").strip()
    recipient, by = delivery.recipient, delivery.author
    if code:
        if access_code.is_weak(code):
            problem = visit.language("hold.weak", name=recipient, count=access_code.SHORTEST)
            return _page(visit, delivery, code, problem)
        factor = Factor(recipient, access_code.KIND, access_code.hashed(code), by, visit.now)
        visit.portal.access.put_factor(factor)
        visit.portal.record(Event.FACTOR_SET, delivery, {"kind": access_code.KIND, "by": by})
    visit.locks.unlock(recipient)
    visit.portal.record(Event.UNLOCKED, delivery, {"by": by})
    return visit.note("unlock.done", "check")


def _locked(visit: Visit) -> Delivery | None:
    token = Token.parse(visit.parameters["token"])
    linked = visit.portal.access.find_by_link(token.lookup, visit.now) if token else None
    return linked.delivery if linked is not None and linked.purpose == PURPOSE else None


def _gone(visit: Visit) -> Response:
    return visit.note("hold.gone", "lock", 404)


def _page(visit: Visit, delivery: Delivery, code: str = "", problem: str = "") -> Response:
    return visit.page(
        "unlock.html",
        400 if problem else 200,
        recipient=delivery.recipient,
        sent=visit.language.moment(delivery.created_at, visit.portal.zone),
        code=code,
        wrong=problem,
        code_length=access_code.SHORTEST,
        example=access_code.suggestion(),
    )
