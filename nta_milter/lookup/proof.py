"""Proof that the resolver validates: without it an AD bit, or its absence, says nothing."""

from __future__ import annotations

from dataclasses import dataclass

from nta_milter.lookup.answer import Presence, Resolver
from nta_milter.lookup.resolver import DnsResolver

SERVFAIL = "SERVFAIL"


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether every resolver that answers validates, and why not."""

    proven: bool
    reason: str


def prove(resolver: DnsResolver, *, probe_secure: str, probe_bogus: str) -> Proof:
    """Ask each server for a name that is signed and, when given, for one whose signature is broken.

    A server that does not answer proves nothing and spoils nothing, as long as another one answers:
    mail goes on with the one that is left. A server that answers without validating spoils the proof,
    because its answers would pass for "not signed". Names as in settings ``dns.probe_secure`` and
    ``dns.probe_bogus`` (empty = not asked).
    """
    if not resolver.trusted:
        return Proof(False, f"the AD bit of {resolver} is not believed: not in dns.trusted")
    silent = []
    proven = 0
    for server in resolver.each():
        verdict = _prove_one(server, str(server), probe_secure, probe_bogus)
        if verdict.proven:
            proven += 1
        elif verdict.silent:
            silent.append(verdict.reason)
        else:
            return Proof(False, verdict.reason)
    if not proven:
        return Proof(False, "; ".join(silent))
    return Proof(True, "; ".join(["DNSSEC validation is proven", *silent]))


@dataclass(frozen=True, slots=True)
class _Verdict:
    proven: bool
    reason: str
    silent: bool = False


def _prove_one(resolver: Resolver, server: str, secure: str, bogus: str) -> _Verdict:
    # The root has no parent to speak of: its DNSKEY is what a trust anchor validates first.
    answer = resolver.query(secure, "SOA" if secure.strip(".") else "DNSKEY")
    if answer.presence is Presence.UNKNOWN:
        silent = answer.rcode == ""
        return _Verdict(False, f"no answer for {secure!r}, which must be secure: {answer.reason}", silent)
    if not answer.secure:
        return _Verdict(False, f"{server} does not validate: {secure!r} must be secure, its answer is not")
    if bogus:
        answer = resolver.query(bogus, "A")
        if answer.presence is not Presence.UNKNOWN:
            return _Verdict(False, f"{server} does not validate: it answers for {bogus!r}, which is bogus")
        if answer.rcode != SERVFAIL:
            return _Verdict(False, f"no answer for {bogus!r}, which must be refused: {answer.reason}", True)
    return _Verdict(True, "")
