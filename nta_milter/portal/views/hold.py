"""The sender's page: his message is held until the recipient can prove who he is."""

from __future__ import annotations

from starlette.responses import Response

from nta_milter.audit.events import Event
from nta_milter.portal.factors import code as access_code
from nta_milter.portal.visit import Visit
from nta_milter.store.keys import Token
from nta_milter.store.rows import Delivery, Factor

PURPOSE = "hold"
"""Purpose of the link in the mail to the sender."""


def ask(visit: Visit) -> Response:
    """For whom a code is missing. It shows an address and a moment, and nothing of the message."""
    delivery = _held(visit)
    return _gone(visit) if delivery is None else _page(visit, delivery)


def answer(visit: Visit) -> Response:
    """The sender gives a code, and the message goes out; or it is withdrawn."""
    delivery = _held(visit)
    if delivery is None:
        return _gone(visit)
    if visit.form.text("do") == "withdraw":
        return _withdraw(visit, delivery)
    code = visit.form.text("code").strip()
    said, recipient = visit.language, delivery.recipient
    if not code:
        return _page(visit, delivery, code, said("hold.missing", name=recipient))
    if access_code.is_weak(code):
        problem = said("hold.weak", name=recipient, count=access_code.SHORTEST)
        return _page(visit, delivery, code, problem)
    factor = Factor(recipient, access_code.KIND, access_code.hashed(code), delivery.author, visit.now)
    if not visit.portal.access.supply_factor(delivery.id, factor, visit.now):
        return _gone(visit)
    visit.portal.record(Event.FACTOR_SET, delivery, {"kind": access_code.KIND, "by": delivery.author})
    return visit.note("hold.done", "check")


def _held(visit: Visit) -> Delivery | None:
    token = Token.parse(visit.parameters["token"])
    linked = visit.portal.access.find_by_link(token.lookup, visit.now) if token else None
    return linked.delivery if linked is not None and linked.purpose == PURPOSE else None


def _withdraw(visit: Visit, delivery: Delivery) -> Response:
    if not visit.portal.store.handover.recall(delivery.id):
        return _gone(visit)
    visit.portal.record(Event.RECALLED, delivery, {"by": delivery.author})
    return visit.note("hold.withdrawn", "bin")


def _gone(visit: Visit) -> Response:
    return visit.note("hold.gone", "lock", 404)


def _page(visit: Visit, delivery: Delivery, code: str = "", problem: str = "") -> Response:
    return visit.page(
        "hold.html",
        400 if problem else 200,
        recipient=delivery.recipient,
        sent=visit.language.moment(delivery.created_at, visit.portal.zone),
        code=code,
        wrong=problem,
        code_length=access_code.SHORTEST,
        example=access_code.suggestion(),
    )
