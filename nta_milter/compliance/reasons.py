"""Making a reason of a code, and finding what it means: why it matters and how to mend it."""

from __future__ import annotations

from nta_milter.compliance.codes import Code, Explanation
from nta_milter.compliance.explanations import EXPLANATIONS
from nta_milter.compliance.report import Reason

DETAIL_LIMIT = 160


def reason(code: Code, detail: str = "") -> Reason:
    """The reason as a report carries it; ``detail`` may be anybody's words."""
    sentence = EXPLANATIONS[code].sentence
    return Reason(code.value, f"{sentence}: {plain(detail)}" if detail else sentence)


def plain(text: str) -> str:
    """Anybody's words, shortened and without what could disturb a log line or a terminal."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in text[:DETAIL_LIMIT])
    return safe + "…" if len(text) > DETAIL_LIMIT else safe


def explanation(reason: Reason) -> Explanation:
    """Why a reason of a report matters and how to mend it."""
    return EXPLANATIONS[Code(reason.code)]
