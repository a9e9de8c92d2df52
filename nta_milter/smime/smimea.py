"""Personal certificates published in DNS: SMIMEA records (RFC 8162), believed only when DNSSEC-secure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from nta_milter.errors import CertificateError
from nta_milter.lookup.answer import Answer, Presence, Resolver
from nta_milter.lookup.cache import Cache, Loaded
from nta_milter.lookup.name import domain_name
from nta_milter.smime.certificate import Certificate, RecipientCertificate
from nta_milter.smime.directory import Found, Reason, best_usable
from nta_milter.smime.trust import Trust

RECORD_LIMIT = 10
"""Records of one address that are looked at."""

CACHE_ENTRIES = 10_000

PKIX_EE, DANE_EE = 1, 3
"""Certificate usages (RFC 7218) whose record may be the recipient's own certificate."""


def owner_name(address: str) -> str | None:
    """Where the SMIMEA records of ``address`` are (RFC 8162 section 3); None if it has no such name.

    The local part is hashed as it is written, without the quotes of a quoted string: whether letter case
    matters is its domain's own affair.
    """
    local, _, domain = address.rpartition("@")
    host = domain_name(domain)
    if local.startswith('"') and local.endswith('"') and len(local) > 2:
        local = local[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if host is None or not local:
        return None
    digest = hashlib.sha256(local.encode("utf-8", "surrogateescape")).hexdigest()[:56]
    return f"{digest}._smimecert.{host}"


class Smimea:
    """A source of personal certificates for the directory; ``resolver`` bounds the time of a look-up.

    Answers are kept for their time to live, at most ``ttl_cap`` seconds, failures for ``unknown_ttl``.
    """

    def __init__(
        self, resolver: Resolver, trust: Trust, *, ttl_cap: float = 3600, unknown_ttl: float = 10
    ) -> None:
        self._resolver = resolver
        self._trust = trust
        self._ttl_cap = ttl_cap
        self._unknown_ttl = unknown_ttl
        self._answers: Cache[str, Answer] = Cache(CACHE_ENTRIES)

    def find(self, address: str, at: datetime) -> Found:
        """The certificate that DNS gives for ``address``; never raises for what DNS does or says."""
        name = owner_name(address)
        if name is None or len(name) > 253:
            return Found(None, ())
        answer = self._answers.get(name, self._ask).value
        if answer.presence is Presence.UNKNOWN:
            text = f"SMIMEA of {address}: no answer that can be trusted ({answer.reason})"
            return Found(None, (Reason("smimea-unknown", text),), unknown=True)
        if answer.presence is Presence.ABSENT:
            return Found(None, ())
        if not answer.secure:
            text = f"SMIMEA of {address}: not protected by DNSSEC, so not used"
            return Found(None, (Reason("smimea-insecure", text),))
        reasons: list[Reason] = []
        chosen = best_usable(self._candidates(address, answer.records, at, reasons), at, reasons)
        if chosen is not None:
            text = f"published in DNS (SMIMEA), valid until {chosen.certificate.not_after:%Y-%m-%d}"
            reasons.append(Reason("certificate-smimea", text))
        return Found(chosen, tuple(reasons))

    def _ask(self, name: str, _least: float) -> Loaded[Answer]:
        answer = self._resolver.query(name, "SMIMEA")
        if answer.presence is Presence.UNKNOWN:
            return Loaded(answer, self._unknown_ttl, failed=True)
        return Loaded(answer, min(answer.ttl, self._ttl_cap))

    def _candidates(
        self, address: str, records: Iterable[object], at: datetime, reasons: list[Reason]
    ) -> list[RecipientCertificate]:
        candidates = []
        for record in list(records)[:RECORD_LIMIT]:
            usage, selector, matching, data = cast(tuple[int, int, int, bytes], record)
            if usage not in (PKIX_EE, DANE_EE) or selector != 0 or matching != 0:
                kind = f"usage {usage}, selector {selector}, matching type {matching}"
                reasons.append(Reason("smimea-other", f"an SMIMEA record ({kind}) has no certificate to use"))
                continue
            try:
                certificate = Certificate.from_der(data)
            except CertificateError as error:
                reasons.append(Reason("smimea-other", f"an SMIMEA record cannot be read: {error}"))
                continue
            fault = self._fault(address, certificate, at) if usage == PKIX_EE else ""
            if fault:
                reasons.append(Reason("certificate-unusable", f"SMIMEA with PKIX-EE: {fault}"))
            else:
                candidates.append(RecipientCertificate(certificate, certificate_class="personal"))
        return candidates

    def _fault(self, address: str, certificate: Certificate, at: datetime) -> str:
        """Why the certificate does not pass the path validation that PKIX-EE asks for; empty = it does."""
        if address.lower() not in {email.lower() for email in certificate.emails}:
            return f"{certificate.subject} does not name {address}"
        verdict = self._trust.judge(certificate, (), at, purpose="encrypt")
        return "" if verdict.trusted else verdict.reason
