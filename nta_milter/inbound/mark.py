"""The one result header on mail that arrives: Authentication-Results (RFC 8601, RFC 7281)."""

from __future__ import annotations

from nta_milter.smime.open import Opened

NOT_OPENED = "smime=neutral (encrypted, not opened)"
"""One answer for every cause, so that a sender learns nothing by trying."""


def result(opened: Opened) -> str:
    """The method result of a message that was opened or whose signature was looked at."""
    layers = opened.report()["layers"]
    encrypted = any(layer["type"] == "encrypted" for layer in layers)
    signatures = [layer for layer in layers if layer["type"] == "signed"]
    state = "encrypted" if encrypted else "not encrypted"
    if not signatures:
        return f"smime=none ({state}, not signed)"
    worst = next((s for s in signatures if verdict(s) != "pass"), signatures[0])
    value = verdict(worst)
    text = f"smime={value} ({state}, {_words(worst)})"
    emails = worst["signer"]["emails"] if worst.get("signer") else []
    if value == "pass" and emails:
        text += f" body.smime-identifier={_safe(emails[0])}"
    return text


def verdict(layer: dict[str, object]) -> str:
    """RFC 7281 section 3 result of one signature: pass, fail, policy or neutral."""
    if layer["status"] == "bad":
        return "fail"
    if layer["status"] != "good":
        return "neutral"
    if layer["trust"] != "trusted" or layer["from_match"] == "mismatch":
        return "policy"
    return "pass"


def _words(layer: dict[str, object]) -> str:
    if layer["status"] != "good":
        return f"signature {layer['status']}"
    match = {"person": "signed by the sender", "domain": "signed by the sender's domain"}
    who = match.get(str(layer["from_match"]), "signer is not the sender")
    return f"{who}, certificate {layer['trust']}"


def _safe(address: str) -> str:
    """An address as a pvalue: printable ASCII without what ends or opens a token."""
    return "".join(c for c in address if c.isascii() and c.isprintable() and c not in ' "\\();<>,')
