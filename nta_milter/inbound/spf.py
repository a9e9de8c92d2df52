"""May this client send for the envelope sender's domain? SPF (RFC 7208) by pyspf, over our own resolver."""

from __future__ import annotations

from typing import Any

import spf

from nta_milter.inbound.questions import Questions
from nta_milter.inbound.result import Result
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.lookup.name import domain_name
from nta_milter.policy.client import Client

RECORD_LIMIT = 4_096
"""Longest record that is read, in bytes; section 3.4 asks for 450."""
TERM_LIMIT = 512
"""Longest term of a record: pyspf's expressions take time by its square."""
ADDRESS_LIMIT = 256
"""Most addresses of one host that are compared."""


def sender_policy(sender: str, client: Client, questions: Questions) -> Result:
    """SPF's result for the envelope sender, or for the HELO name of a report without one (section 2.4).

    A failure of DNS is ``temperror``, whatever else was found.
    """
    local, _, domain = sender.rpartition("@") if sender else ("postmaster", "", client.helo)
    name = domain_name(domain)
    identity = (("smtp.mailfrom" if sender else "smtp.helo", name or domain),)
    if name is None:
        return Result("spf", "none", "no domain that could have a record", identity)
    if client.ip is None:
        return Result("spf", "none", "the client has no address", identity, name)
    try:
        value, _, explanation = _Query(f"{local}@{name}", client, questions).check()
    except Exception as error:  # noqa: BLE001 - a stranger's record goes through a library: nothing may pass
        value, explanation = "permerror", f"{type(error).__name__}: {error}"
    comment = explanation if value in ("permerror", "temperror") else f"client {client.ip}"
    return Result("spf", value, comment, identity, name)


class _Query(spf.query):  # type: ignore[misc]
    """One evaluation whose questions go to our resolver, and which reads nothing of unbounded size."""

    def __init__(self, sender: str, client: Client, questions: Questions) -> None:
        super().__init__(i=str(client.ip), s=sender, h=domain_name(client.helo) or "unknown", strict=True)
        self._questions = questions

    def dns(
        self, name: Any, qtype: str, cnames: object = None, ignore_void: bool = False
    ) -> list[Any]:  # pyspf's own signature
        host = str(name).removesuffix(".").lower()
        if not all(0 < len(label) < 64 for label in host.split(".")):
            return []
        answer = self._questions.ask(host, qtype)
        if answer.presence is Presence.UNKNOWN:
            raise spf.TempError(f"DNS: {answer.reason}")
        if answer.presence is Presence.ABSENT and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} look-ups without an answer")
        return _values(answer, qtype)

    def get_explanation(self, spec: object) -> None:
        """Never fetched: we write our own."""


def _values(answer: Answer, qtype: str) -> list[Any]:
    """The records as pyspf wants them."""
    if qtype in ("A", "AAAA") and len(answer.records) > ADDRESS_LIMIT:
        raise spf.PermError(f"more than {ADDRESS_LIMIT} addresses")
    if qtype == "PTR":
        return [str(record).removesuffix(".").lower() for record in answer.records]
    if qtype != "TXT":
        return list(answer.records)
    for record in answer.records:
        assert isinstance(record, bytes)
        if spf.RE_SPF.match(record) and (
            len(record) > RECORD_LIMIT or any(len(term) > TERM_LIMIT for term in record.split(b" "))
        ):
            raise spf.PermError(f"the record or a term is longer than {RECORD_LIMIT} or {TERM_LIMIT} bytes")
    return [[record] for record in answer.records]
