"""Which of the administrator's exceptions fits a sender and a recipient."""

from __future__ import annotations

from collections.abc import Iterable

from nta_milter.config.model import RuleSettings
from nta_milter.message.address import envelope_domain


def match(rules: Iterable[RuleSettings], sender: str, recipient: str) -> RuleSettings | None:
    """The first rule whose both patterns fit, or None. Addresses are without angle brackets."""
    for rule in rules:
        if fits(rule.sender, sender) and fits(rule.recipient, recipient):
            return rule
    return None


def fits(pattern: str, address: str) -> bool:
    """Whether a whole address fits: ``*`` = any, ``@domain`` = all of exactly that domain, else itself.

    Case does not matter, nor whether a domain is written in its own letters or as A-labels. The null
    sender fits ``*`` alone.
    """
    if pattern == "*":
        return True
    local, at, _ = pattern.rpartition("@")
    if not at or "@" not in address or envelope_domain(pattern) != envelope_domain(address):
        return False
    return not local or local.lower() == address.rpartition("@")[0].lower()
