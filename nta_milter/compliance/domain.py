"""Is this domain compliant? Looks up, judges and remembers; the one way to ask for everybody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from datetime import datetime, tzinfo
from typing import cast
from zoneinfo import ZoneInfo

from nta_milter.compliance.codes import Code
from nta_milter.compliance.dane import examine_host
from nta_milter.compliance.reasons import plain, reason
from nta_milter.compliance.record import read_records
from nta_milter.compliance.report import Compliance, ComplianceReport, HostReport, NtaRecord, Reason
from nta_milter.compliance.verdict import Facts, Verdict, judge, unknown
from nta_milter.config.model import DnsSettings
from nta_milter.errors import ConfigurationError
from nta_milter.lookup.answer import Answer, Presence, Resolver
from nta_milter.lookup.cache import Cache, Counters, Held, Loaded
from nta_milter.lookup.name import domain_name
from nta_milter.lookup.proof import Proof, prove
from nta_milter.lookup.resolver import DnsResolver

HOST_LIMIT = 20
"""MX hosts of one domain that are looked at."""
PROOF_TTL = 300.0
"""Seconds between two proofs that the resolver validates; after a failed one, ``dns.unknown_ttl``."""
THREADS = 64
"""Look-ups of domains at once, unless ``milter.lookup_threads`` says otherwise."""


class ComplianceLookup:
    """Reports on domains, for many threads.

    ``executor`` runs the look-ups of domains and ``hosts`` those of their hosts; they must not be the
    same, because the former wait for the latter. ``prover`` proves that the resolver validates: while it
    cannot, every domain is UNKNOWN. ``warm_limit`` domains at most are looked up ahead of time at once,
    so that they cannot keep those waiting that are needed now; ``clock`` gives seconds that never go back.
    """

    def __init__(
        self,
        resolver: Resolver,
        settings: DnsSettings,
        *,
        prover: Callable[[], Proof],
        executor: Executor,
        hosts: Executor,
        warm_limit: int = THREADS // 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._settings = settings
        self.timezone = _timezone(settings.timezone)
        self._prover = prover
        self._executor = executor
        self._host_executor = hosts
        self._clock = clock
        self._domains: Cache[str, _Known] = Cache(
            settings.cache_entries, clock=clock, background=executor.submit
        )
        self._hosts: Cache[str, HostReport] = Cache(settings.cache_entries, clock=clock)
        self._warming = threading.BoundedSemaphore(warm_limit)
        self._proving = threading.Lock()
        self._proof = Proof(False, "not asked yet")
        self._proof_expires = float("-inf")

    @classmethod
    def from_settings(cls, settings: DnsSettings, *, threads: int = THREADS) -> ComplianceLookup:
        """Over the resolvers of ``[dns]``; raises ConfigurationError when a setting cannot be used.

        No thread runs before the first look-up, so until then it may pass through a fork.
        """
        resolver = DnsResolver.from_settings(settings)
        return cls(
            resolver,
            settings,
            prover=lambda: prove(
                resolver, probe_secure=settings.probe_secure, probe_bogus=settings.probe_bogus
            ),
            executor=ThreadPoolExecutor(threads, "domain"),
            hosts=ThreadPoolExecutor(threads, "host"),
            warm_limit=max(1, threads // 2),
        )

    def report(self, domain: str, at: datetime) -> ComplianceReport:
        """The report on one domain on ``at`` (aware), looked up if need be; never raises for DNS."""
        proof = self.proof()
        name = domain_name(domain)
        if name is None:
            return _invalid(domain)
        if not proof.proven:
            return unknown(name, reason(Code.RESOLVER_NOT_PROVEN, proof.reason))
        return self._judged(self._domains.get(name, self._load).value, at)

    def reports(self, domains: Iterable[str], at: datetime, deadline: float) -> dict[str, ComplianceReport]:
        """Reports by domain as given, looked up in parallel; what takes over ``deadline`` s is UNKNOWN."""
        answered: dict[str, ComplianceReport] = {}
        asked: dict[str, Future[ComplianceReport]] = {}
        for domain in set(domains):
            report = self._at_hand(domain, at)
            if report is None:
                asked[domain] = self._executor.submit(self.report, domain, at)
            else:
                answered[domain] = report
        wait(asked.values(), timeout=deadline)
        for domain, future in asked.items():
            answered[domain] = self._collect(domain, future, deadline)
        return answered

    def at_hand(self, domains: Iterable[str], at: datetime) -> dict[str, ComplianceReport] | None:
        """Reports by domain, lower-case A-labels, when none of them costs a look-up; otherwise None."""
        found: dict[str, ComplianceReport] = {}
        for domain in domains:
            report = self._at_hand(domain, at)
            if report is None:
                return None
            found[domain] = report
        return found

    def warm(self, domain: str) -> None:
        """Look a domain up without waiting, so that it is known when it is needed."""
        name = domain_name(domain)
        if name is None or self._domains.held(name) or not self._warming.acquire(blocking=False):
            return
        self._executor.submit(self._warm, name)

    def proof(self) -> Proof:
        """Whether the resolver is proven to validate, renewed when it is old."""
        if self._clock() >= self._proof_expires:
            with self._proving:
                if self._clock() >= self._proof_expires:
                    self.prove()
        return self._proof

    def prove(self) -> Proof:
        """Prove anew that the resolver validates; nothing learnt from one that does not is kept."""
        proof = self._prover()
        if not proof.proven:
            self._domains.clear()
            self._hosts.clear()
        self._proof = proof
        holds = PROOF_TTL if proof.proven else max(1.0, self._settings.unknown_ttl)
        self._proof_expires = self._clock() + holds
        return proof

    def peek(self, domain: str, at: datetime) -> tuple[ComplianceReport, float] | None:
        """What is in the cache about a domain, and for how many seconds more; nothing is looked up."""
        held = self._domains.held(domain_name(domain) or domain)
        return None if held is None else (self._judged(held.value, at), held.expires - self._clock())

    def flush(self, domain: str) -> bool:
        """Forget a domain and its hosts; False when it was not known."""
        name = domain_name(domain) or domain
        held = self._domains.held(name)
        for host in held.value.facts.hosts if held else ():
            self._hosts.flush(host.name)
        return self._domains.flush(name)

    def known(self) -> tuple[str, ...]:
        """The domains in the cache, the most recently used last."""
        return self._domains.keys()

    def counters(self) -> dict[str, Counters]:
        """What the caches of ``domains`` and ``hosts`` did."""
        return {"domains": self._domains.counters(), "hosts": self._hosts.counters()}

    def _judged(self, known: _Known, at: datetime) -> ComplianceReport:
        verdict = known.verdict
        if verdict is None or not verdict.since <= at < verdict.until:
            verdict = known.verdict = judge(known.facts, at, self.timezone)
        return verdict.report

    def _at_hand(self, domain: str, at: datetime) -> ComplianceReport | None:
        """A report that costs no look-up."""
        if not self._proof.proven or self._clock() >= self._proof_expires:
            return None
        held = self._domains.find(domain, self._load)
        return None if held is None else self._judged(held.value, at)

    def _warm(self, name: str) -> None:
        try:
            if self.proof().proven:
                self._domains.get(name, self._load)
        finally:
            self._warming.release()

    def _collect(self, domain: str, future: Future[ComplianceReport], deadline: float) -> ComplianceReport:
        if future.done():
            return future.result()
        future.cancel()
        return unknown(domain_name(domain) or domain, reason(Code.DEADLINE, f"{deadline:g} s"))

    def _load(self, domain: str, least: float) -> Loaded[_Known]:
        questions = _Questions(self._resolver, self._settings)
        record, secure, reasons = _read_record(questions.ask(domain, "TXT"))
        hosts: list[Held[HostReport]] = []
        if record is not None:
            names, more = self._receiving_hosts(domain, record, questions)
            reasons += more
            hosts = self._examine(names, least)
        usable = any(held.value.usable for held in hosts)
        ttl = questions.ttl
        now = self._clock()
        for held in hosts:
            # One good host is enough, so one that is not known now does not shorten the answer.
            if held.value.secure is not None or not usable:
                ttl = min(ttl, held.expires - now)
        reports = tuple(held.value for held in hosts)
        facts = Facts(domain, secure, record, reports, reasons, max(0, int(ttl)))
        return Loaded(_Known(facts), float(facts.ttl), failed=not facts.settled)

    def _receiving_hosts(
        self, domain: str, record: NtaRecord, questions: _Questions
    ) -> tuple[list[str], tuple[Reason, ...]]:
        """The hosts of the record, else of the MX records, else the domain itself (RFC 5321 section 5.1)."""
        if record.ntamx:
            return [host for _, host in record.ntamx], ()
        answer = questions.ask(domain, "MX")
        if answer.presence is Presence.UNKNOWN:
            return [], (reason(Code.MX_UNKNOWN, answer.reason),)
        if not answer.secure:
            return [], (reason(Code.MX_INSECURE),)
        if answer.presence is Presence.ABSENT:
            return [domain], ()
        names = [host for _, host in cast("tuple[tuple[int, str], ...]", answer.records)]
        if names == [""]:
            return [], (reason(Code.MX_NULL),)
        more = (reason(Code.MX_TOO_MANY, str(len(names))),) if len(names) > HOST_LIMIT else ()
        return list(dict.fromkeys(names))[:HOST_LIMIT], more

    def _examine(self, names: list[str], least: float) -> list[Held[HostReport]]:
        if not names:
            return []
        first, *rest = names
        others = [self._host_executor.submit(self._host, name, least) for name in rest]
        return [self._host(first, least), *(future.result() for future in others)]

    def _host(self, name: str, least: float) -> Held[HostReport]:
        return self._hosts.get(name, self._load_host, least=least)

    def _load_host(self, name: str, _least: float) -> Loaded[HostReport]:
        questions = _Questions(self._resolver, self._settings)
        report = examine_host(name, questions.ask)
        return Loaded(report, questions.ttl, failed=report.secure is None)


class _Known:
    """What is remembered of a domain: the facts, and the verdict that was asked for last."""

    __slots__ = ("facts", "verdict")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.verdict: Verdict | None = None


class _Questions:
    """Asks, and notes in ``ttl`` how long everything that was answered holds together, in seconds."""

    def __init__(self, resolver: Resolver, settings: DnsSettings) -> None:
        self._resolver = resolver
        self._settings = settings
        self.ttl = float(settings.ttl_cap)

    def ask(self, name: str, rdtype: str) -> Answer:
        answer = self._resolver.query(name, rdtype)
        if answer.presence is Presence.UNKNOWN:
            holds = self._settings.unknown_ttl
        elif answer.presence is Presence.ABSENT:
            holds = min(answer.ttl, self._settings.negative_ttl_cap)
        else:
            holds = answer.ttl
        self.ttl = min(self.ttl, float(holds))
        return answer


def _read_record(answer: Answer) -> tuple[NtaRecord | None, bool | None, tuple[Reason, ...]]:
    if answer.presence is Presence.UNKNOWN:
        return None, None, (reason(Code.RECORD_UNKNOWN, answer.reason),)
    if answer.presence is Presence.ABSENT:
        code = Code.DOMAIN_ABSENT if answer.rcode == "NXDOMAIN" else Code.RECORD_ABSENT
        return None, answer.secure, (reason(code),)
    reading = read_records(cast("tuple[bytes, ...]", answer.records))
    absent = any(each.code == Code.RECORD_ABSENT.value for each in reading.reasons)
    insecure = () if answer.secure or absent else (reason(Code.RECORD_INSECURE),)
    return reading.record, answer.secure, (*insecure, *reading.reasons)


def _invalid(domain: str) -> ComplianceReport:
    why = reason(Code.DOMAIN_INVALID, domain)
    return ComplianceReport(plain(domain), Compliance.NOT_COMPLIANT, None, None, (), (why,), 0)


def _timezone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ConfigurationError(f"there is no time zone {name!r}", where="dns.timezone") from None
