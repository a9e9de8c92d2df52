"""The one result header on mail that arrives: Authentication-Results (RFC 8601, RFC 7281)."""

from __future__ import annotations

from typing import Literal

from nta_milter.smime.open import Opened
from nta_milter.smime.report import SignedLayer

NOT_OPENED = "smime=neutral (not opened)"
"""One answer for every cause, so that a sender learns nothing by trying."""

Verdict = Literal["pass", "fail", "policy", "neutral"]


def result(opened: Opened) -> str:
    """The method result of a message that was opened or whose signature was looked at."""
    state = "encrypted" if opened.encrypted else "not encrypted"
    if not opened.signatures:
        return f"smime=none ({state}, not signed)"
    worst = next((layer for layer in opened.signatures if verdict(layer) != "pass"), opened.signatures[0])
    value = verdict(worst)
    text = f"smime={value} ({state}, {_words(worst)})"
    if value == "pass" and worst.signer is not None and worst.signer.emails:
        text += f" body.smime-identifier={_value(worst.signer.emails[0])}"
    return text


def verdict(layer: SignedLayer) -> Verdict:
    """One signature's result in the words of RFC 7281 section 3."""
    if layer.status == "good":
        return "pass"
    if layer.trust not in ("trusted", "unknown") and layer.status == "unknown":
        return "policy"
    return "fail" if layer.status == "bad" else "neutral"


def _words(layer: SignedLayer) -> str:
    if layer.status == "good":
        return {"person": "signed by the sender", "domain": "signed by the sender's domain"}[layer.from_match]
    return f"signature {layer.status}, certificate {layer.trust}"


def _value(address: str) -> str:
    """An address as a pvalue: printable ASCII without what ends or opens a token."""
    return "".join(c for c in address if c.isascii() and c.isprintable() and c not in ' "\\();<>,')
