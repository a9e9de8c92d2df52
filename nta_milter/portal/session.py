"""The visit after the second factor: a cookie per message, of which the store knows a hash alone.

The message key is kept wrapped under a key that only the cookie gives, so that neither the store nor the
portal's own key opens a message between two requests.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.responses import Response

from nta_milter.errors import SealError
from nta_milter.store.access import Access
from nta_milter.store.keys import Token
from nta_milter.store.rows import READABLE, Delivery, Session

PURPOSE = "open"


@dataclass(frozen=True, slots=True)
class Opened:
    """A message that its visitor may see: the delivery, its key, and the visit's own secret."""

    delivery: Delivery
    key: bytes
    token: Token

    @property
    def form_token(self) -> str:
        """What each form of this visit must bring back (against forged requests)."""
        return hmac.new(self.token.secret, b"nta-milter portal form", hashlib.sha256).hexdigest()

    def allows(self, given: str) -> bool:
        """Whether a form came from a page of this visit."""
        return hmac.compare_digest(self.form_token.encode(), given.encode())


def cookie_name(delivery_id: str) -> str:
    """Each message has a cookie of its own, so that two open ones are never mistaken for each other."""
    return f"__Host-nta-{delivery_id[:16]}"


def begin(access: Access, delivery: Delivery, key: bytes, at: datetime, longest: timedelta) -> Opened:
    """Begin a visit; give its token to the browser with ``set_cookie``."""
    token = Token.new()
    access.begin_session(
        Session(
            lookup=token.lookup,
            delivery=delivery,
            purpose=PURPOSE,
            wrapped=token.wrap(key, _context(delivery.id)),
            created_at=at,
            expires_at=at + longest,
        )
    )
    return Opened(delivery, key, token)


def resume(access: Access, delivery_id: str, cookie: str, at: datetime, idle: timedelta) -> Opened | None:
    """The visit of a cookie; None when it is over, or is another message's."""
    token = Token.parse(cookie)
    session = access.session(token.lookup, at, idle) if token else None
    if token is None or session is None or session.purpose != PURPOSE:
        return None
    if session.delivery.id != delivery_id or session.delivery.state not in READABLE:
        return None
    try:
        key = token.unwrap(session.wrapped, _context(delivery_id))
    except SealError:
        return None
    return Opened(session.delivery, key, token)


def set_cookie(response: Response, opened: Opened, longest: timedelta) -> None:
    """Give the browser what resumes the visit; it forgets it when it is closed or the time is over."""
    response.set_cookie(
        cookie_name(opened.delivery.id),
        opened.token.text,
        max_age=int(longest.total_seconds()),
        path="/",
        secure=True,
        httponly=True,
        samesite="strict",
    )


def clear_cookie(response: Response, delivery_id: str) -> None:
    """Have the browser forget the visit."""
    response.set_cookie(
        cookie_name(delivery_id), "", max_age=0, path="/", secure=True, httponly=True, samesite="strict"
    )


def _context(delivery_id: str) -> bytes:
    return b"nta-milter session " + delivery_id.encode("ascii")
