"""What another verifier before us has found, where it is proven that nobody else can say it (RFC 8601).

Only the topmost fields of its name are looked at, as many as the proof has seen it add, and only what is
written in the narrowest form: a field with anything else in it is not believed at all, since the rest of it
may be a stranger's text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from nta_milter.inbound.result import RESULT_HEADER, Result
from nta_milter.message.headers import HeaderField
from nta_milter.message.model import Message
from nta_milter.policy.client import Client
from nta_milter.policy.snapshot import Snapshot

FIELD_LIMIT = 4_000
"""Longest field that is read, in octets."""

VALUES = {
    "spf": frozenset(("pass", "fail", "softfail", "neutral", "none", "temperror", "permerror")),
    "dkim": frozenset(("pass", "fail", "neutral", "none", "policy", "temperror", "permerror")),
    "dmarc": frozenset(("pass", "fail", "none", "temperror", "permerror")),
}

_DOMAIN = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?"
_PROPERTIES = {
    "header.d": re.compile(_DOMAIN),
    "header.s": re.compile(_DOMAIN),
    "header.a": re.compile(r"[a-z0-9-]{1,30}"),
    "header.b": re.compile(r'"?[A-Za-z0-9+/=]{1,20}"?'),
    "header.i": re.compile(rf"[^@\s;()\"]{{0,100}}@{_DOMAIN}"),
    "header.from": re.compile(_DOMAIN),
    "smtp.mailfrom": re.compile(rf"(?:[^@\s;()\"]{{1,100}}@)?{_DOMAIN}"),
    "smtp.helo": re.compile(_DOMAIN),
}
_SUBJECT = {"dkim": ("header.d",), "spf": ("smtp.mailfrom", "smtp.helo"), "dmarc": ("header.from",)}
"""The property that says of whom a result speaks; the first that is there."""

_NAME = re.compile(r"[ \t\r\n]*(\S+)(?:[ \t\r\n]+1)?[ \t\r\n]*")
"""The authserv-id with its version; no other blanks, which the verifier may not take for any."""

_TOKEN = re.compile(
    r"\s*(?:(?P<end>;)"
    r"|(?P<words>\([^()\\\"]{0,300}\)|reason=\"[^\"\\]{0,300}\"|\Z)(?=[\s;]|\Z)"
    r"|(?P<result>[a-z0-9-]{1,20}=[a-z]{1,20})(?=[\s;]|\Z)"
    r"|(?P<property>[a-z]{1,20}\.[a-z]{1,20}=[^\s;()]{1,400})(?=[\s;]|\Z))"
)
"""The next thing in a field: the end of a result, a comment or reason, a result, a property.

No comment with a quotation mark: so rspamd writes a stranger's text, and a bracket in that ends the comment.
"""


@dataclass(frozen=True, slots=True)
class Believed:
    """Results by check, and why a verifier that is configured here is not believed."""

    results: Mapping[str, tuple[Result, ...]] = field(default_factory=dict)
    doubt: str = ""


NOTHING = Believed()


def believe(message: Message, client: Client, snapshot: Snapshot) -> Believed:
    """What the verifiers of this listener have found, as far as they are proven."""
    results: dict[str, tuple[Result, ...]] = {}
    doubts = []
    for verifier in snapshot.verifiers.at(client.listener):
        proof, why = snapshot.verifiers.proof(verifier, time.time())
        if proof is None:
            doubts.append(f"{verifier.authserv_id}: {why}")
            continue
        told = told_by(message.headers.all(RESULT_HEADER), verifier.authserv_id)[: proof.fields]
        for value in told:
            for result in read(value) or ():
                if result.method in proof.methods and result.method in verifier.methods:
                    known = results.get(result.method, ())
                    results[result.method] = (*known, _credited(result, verifier.authserv_id))
    return Believed(results, "; ".join(doubts))


def told_by(fields: tuple[HeaderField, ...], authserv_id: str) -> list[str]:
    """What follows the name in each field that begins with just this name, in order from the top."""
    found = []
    for each in fields:
        name = each.raw.decode("ascii", "replace").partition(";")[0]  # whose blanks are still there
        _, semicolon, rest = each.value.decode("ascii", "replace").partition(";")
        if semicolon and (said := _NAME.fullmatch(name)) and said[1] == authserv_id:
            found.append(rest)
    return found


def read(rest: str) -> tuple[Result, ...] | None:
    """Every result behind the name of the verifier; None when anything in it is not of the narrow form."""
    if len(rest) > FIELD_LIMIT:
        return None
    found: list[Result] = []
    method, value, properties = "", "", []
    position = 0
    while position < len(rest):
        token = _TOKEN.match(rest, position)
        if token is None:
            return None
        position = token.end()
        if token["result"] is not None and not method:
            method, _, value = token["result"].partition("=")
            if value not in VALUES.get(method, (value,)):
                return None
        elif token["property"] is not None and method:
            name, _, said = token["property"].partition("=")
            pattern = _PROPERTIES.get(name)
            if pattern is None or pattern.fullmatch(said) is None:
                return None
            properties.append((name, said.strip('"')))
        elif token["end"] is not None:
            if method:
                found.append(_result(method, value, properties))
            method, properties = "", []
        elif token["words"] is None or not method:
            return None
    if method:
        found.append(_result(method, value, properties))
    return tuple(found) if all(_agree(dict(each.properties)) for each in found) else None


def _result(method: str, value: str, properties: list[tuple[str, str]]) -> Result:
    return Result(method, value, "", tuple(properties), _domain(method, dict(properties)))


def _agree(properties: Mapping[str, str]) -> bool:
    """Whether the identity that signed belongs to the domain that signed (RFC 6376 section 3.5)."""
    signer, identity = properties.get("header.d"), properties.get("header.i")
    if signer is None or identity is None:
        return True
    domain = identity.rpartition("@")[2].lower()
    return domain == signer.lower() or domain.endswith(f".{signer.lower()}")


def _domain(method: str, properties: Mapping[str, str]) -> str:
    said = next((properties[name] for name in _SUBJECT.get(method, ()) if name in properties), "")
    return said.rpartition("@")[2].lower()


def _credited(result: Result, authserv_id: str) -> Result:
    """The result as it is told on: of addresses the domain alone; header.d says what header.i would."""
    properties = ((name, said.rpartition("@")[2]) for name, said in result.properties if name != "header.i")
    return Result(result.method, result.value, f"by {authserv_id}", tuple(properties), result.domain)
