"""From a link to its message: the access code.

Nothing is looked up before a code is sent, so a link in the hands of a robot does nothing, and an unknown,
expired, deleted or locked one looks and costs the same as one whose code is wrong.
"""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from nta_milter.audit.events import Event
from nta_milter.errors import SealError
from nta_milter.portal import session
from nta_milter.portal.factors import code as access_code
from nta_milter.portal.visit import LONGEST, Visit
from nta_milter.store.keys import Token
from nta_milter.store.rows import Delivery, Linked

CODE_LENGTH = 200

NETWORK_TRIES = 200
"""Codes an hour from one network, for whatever links: each costs a tenth of a second of a core."""
NETWORK_PERIOD = timedelta(hours=1)
TRIES = 5
"""Codes for one link from one network in a period."""
PERIOD = timedelta(minutes=15)
DAY_TRIES = 20
"""The same, a day: after that a stranger who has the link is locked out, and the patient elsewhere not."""
DAY = timedelta(days=1)


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
    if not _may_try(visit, lookup):
        return _page(visit, "open.slow", "open.slow_body", 429)
    linked = visit.portal.access.find_by_link(lookup, visit.now)
    if linked is not None and linked.purpose != session.PURPOSE:
        linked = None
    locked = _is_locked(visit, lookup)
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
    access.forget_counts(_buckets(visit, lookup))
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


def _buckets(visit: Visit, lookup: str) -> tuple[str, str]:
    return f"try {visit.network} {lookup}", f"day {visit.network} {lookup}"


def _link_bucket(lookup: str) -> str:
    return f"link {lookup}"


def _may_try(visit: Visit, lookup: str) -> bool:
    """Count this try in the database, where concurrent ones and those of other hosts count too."""
    count, now = visit.portal.access.count, visit.now
    quick, daily = _buckets(visit, lookup)
    return (
        count(f"network {visit.network}", now, NETWORK_PERIOD) <= NETWORK_TRIES
        and count(quick, now, PERIOD) <= TRIES
        and count(daily, now, DAY) <= DAY_TRIES
    )


def _is_locked(visit: Visit, lookup: str) -> bool:
    limit = visit.portal.settings.portal.lock_after
    return bool(limit) and visit.portal.access.counted(_link_bucket(lookup), visit.now, DAY) >= limit


def _refused(visit: Visit, lookup: str, linked: Linked | None) -> None:
    """A wrong code counts for the link too, from wherever it comes."""
    count = visit.portal.access.count(_link_bucket(lookup), visit.now, DAY)
    if linked is None:
        return
    visit.portal.record(Event.CODE_REFUSED, linked.delivery, {"network": visit.network})
    if count == visit.portal.settings.portal.lock_after:
        visit.portal.record(Event.LOCKED, linked.delivery, {})


def _kept(visit: Visit, linked: Linked | None) -> str | None:
    """The hash of the recipient's code; a link that leads nowhere asks the store just as well."""
    known = visit.portal.access.factors(linked.delivery.recipient if linked else "")
    return next((factor.value for factor in known if factor.kind == access_code.KIND), None)
