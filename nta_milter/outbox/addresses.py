"""Addresses of our own: where commits, bounces and answers to notifications come back."""

from __future__ import annotations

import re

from nta_milter.config.model import Settings

COMMIT_DOMAIN = "nta.invalid"
COMMIT_ARGUMENTS = "NOTIFY=NEVER"
"""Without it the sender would get reports that name the commit address."""

_COMMIT = re.compile(r"commit\+([0-9a-f]{32})@nta\.invalid")
_BOUNCE = re.compile(r"nta-bounce\+([0-9a-f]{32})@([^@]+)", re.IGNORECASE)
_REPLY = re.compile(r"beveiligd\+([0-9a-f]{32})@([^@]+)", re.IGNORECASE)


def commit_address(attempt_id: str) -> str:
    """Postfix delivers to it by LMTP if and only if it has queued the message."""
    return f"commit+{attempt_id}@{COMMIT_DOMAIN}"


def commit_id(address: str) -> str | None:
    """The attempt of a commit address; None for any other."""
    found = _COMMIT.fullmatch(address)
    return found[1] if found else None


def own_domain(settings: Settings) -> str:
    """The domain of our own senders."""
    return settings.notification.domain or settings.internal.domains[0]


def bounce_address(delivery_id: str, settings: Settings) -> str:
    """The envelope sender of all that the worker or a deposit in place sends."""
    return f"nta-bounce+{delivery_id}@{own_domain(settings)}"


def bounced_id(address: str) -> str | None:
    """The delivery of a bounce address; None for any other."""
    found = _BOUNCE.fullmatch(address)
    return found[1].lower() if found else None


def message_id(identifier: str, settings: Settings) -> str:
    """The Message-ID of a mail of ours: the same whenever the same is handed in again (RFC 5322 3.6.4)."""
    return f"<{identifier}@{own_domain(settings)}>"


def reply_address(delivery_id: str, settings: Settings) -> str:
    """Reply-To of a notification: who answers there is asked to answer in the portal."""
    return f"beveiligd+{delivery_id}@{own_domain(settings)}"


def replied_id(address: str) -> str | None:
    """The delivery of a Reply-To address of ours; None for any other."""
    found = _REPLY.fullmatch(address)
    return found[1].lower() if found else None
