"""One method's result, and the one field that tells all of them: Authentication-Results (RFC 8601)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

RESULT_HEADER = "Authentication-Results"
COMMENT_LIMIT = 150
"""Longest comment, in characters; it may quote what a stranger has in his DNS."""

TOKEN_LIMIT = 253
"""Longest value of a property: a domain name's."""

_UNSAFE = re.compile(r"[^ -~]|[()\\]")
_NOT_IN_TOKEN = re.compile(r'[^!-~]|[()<>@,;:\\"/\[\]?=]')


@dataclass(frozen=True, slots=True)
class Result:
    """What one method found (RFC 8601 section 2.2), free of anything that could end a token early.

    ``value`` is ``pass`` and so on, ``properties`` are pairs such as ``("smtp.mailfrom", "care.test")``,
    whose values are domains or tokens.
    ``domain`` is the one that SPF or DKIM speaks of, in lower-case A-labels, for alignment.
    """

    method: str
    value: str
    comment: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    domain: str = ""

    def __str__(self) -> str:
        words = [f"{self.method}={self.value}"]
        if self.comment:
            words.append(f"({plain(self.comment)})")
        for name, value in self.properties:
            token = _NOT_IN_TOKEN.sub("", value)[:TOKEN_LIMIT]
            words += [f"{name}={token}"] if token else []
        return " ".join(words)


def plain(text: str) -> str:
    """A text as it may stand in a comment, a log line or a reply: printable ASCII, no brackets, not long."""
    safe = _UNSAFE.sub("?", text)
    return safe if len(safe) <= COMMENT_LIMIT else safe[: COMMENT_LIMIT - 3] + "..."


def field_value(authserv_id: str, results: Sequence[str]) -> str:
    """The value of one field with every result, one on a line."""
    return f"{authserv_id}; " + ";\r\n\t".join(results)
