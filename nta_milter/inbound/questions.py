"""The DNS questions about one message's sender: each asked once, not too many, and none when time is over."""

from __future__ import annotations

import time
from collections.abc import Callable

from nta_milter.lookup.answer import Answer, Presence, Resolver

QUESTION_LIMIT = 150
"""Most questions for one message; SPF alone may ask some 110 (RFC 7208 section 4.6.4)."""


class Questions:
    """Asks a resolver for one message. ``patience`` in seconds begins now; ``clock`` never goes back."""

    def __init__(
        self, resolver: Resolver, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._ends = clock() + patience
        self._answers: dict[tuple[str, str], Answer] = {}

    def ask(self, name: str, rdtype: str) -> Answer:
        """The answer for a name (no trailing dot); UNKNOWN when the time or the questions are used up."""
        question = (name.lower(), rdtype)
        answer = self._answers.get(question)
        if answer is None:
            answer = self._answers[question] = self._asked(*question)
        return answer

    def _asked(self, name: str, rdtype: str) -> Answer:
        if len(self._answers) >= QUESTION_LIMIT:
            return _unknown(f"more than {QUESTION_LIMIT} questions")
        if self._clock() >= self._ends:
            return _unknown("no time was left to ask")
        return self._resolver.query(name, rdtype)


def _unknown(reason: str) -> Answer:
    return Answer(Presence.UNKNOWN, False, 0, reason=reason)
