"""Everything a message is judged and secured with, loaded at once and never changed.

A message ends with the snapshot it began with; a reload builds a new one completely, or keeps the old.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nta_milter.compliance.domain import ComplianceLookup
from nta_milter.config.model import ListenerSettings, Settings
from nta_milter.config.secrets import secret
from nta_milter.errors import ConfigurationError
from nta_milter.lookup.resolver import DnsResolver
from nta_milter.message.address import a_labels
from nta_milter.policy.sensitivity import SensitivityRules
from nta_milter.postfix.configuration import postfix_name
from nta_milter.postfix.proof import RoutingProof, RoutingProver
from nta_milter.postfix.verifier import Verifiers
from nta_milter.smime.directory import CertificateDirectory, PersonalSource
from nta_milter.smime.harvest import HarvestStore
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.smimea import Smimea
from nta_milter.smime.trust import Trust
from nta_milter.store.store import Store, open_store


@dataclass(frozen=True)
class Snapshot:
    """The settings with what they name: keys, certificates, trust, look-ups, the routing proof."""

    settings: Settings
    sensitivity: SensitivityRules
    keys: KeyRing
    trust: Trust
    certificates: CertificateDirectory
    resolver: DnsResolver
    compliance: ComplianceLookup
    routing: RoutingProver
    store: Store | None
    authserv_id: str
    internal_domains: frozenset[str]
    reserved: frozenset[bytes]
    harvest: HarvestStore | None = None
    connector_secret: bytes | None = None
    verifiers: Verifiers = field(default_factory=lambda: Verifiers((), Path(), 0.0, Path()))

    def listener(self, side: str) -> ListenerSettings | None:
        """The settings of a side marker; None for a listener that carries none of ours."""
        return next((item for item in self.settings.listeners if item.side == side), None)

    def hop_fault(self, routing: RoutingProof | None) -> str:
        """Why readable mail could leave its protected hop inside; empty when it cannot."""
        if not self.settings.internal.hops:
            return "no internal hop is listed"
        return "Postfix was not asked" if routing is None else routing.inside_fault

    @property
    def bounce_address(self) -> str:
        """The envelope sender of opened mail, so that a report about it stays inside."""
        internal = self.settings.internal
        return internal.bounce_address or f"postmaster@{internal.domains[0]}"


def build(settings: Settings, previous: Snapshot | None = None, *, with_keys: bool = True) -> Snapshot:
    """Load all that the settings name; raises ConfigurationError or KeyStoreError, changes nothing.

    The look-up cache and the store of the previous snapshot are kept while their settings are the same.
    ``with_keys=False`` is for a service that must not have S/MIME keys.
    """
    smime = settings.smime
    if not settings.internal.domains:
        raise ConfigurationError("must name at least one domain", where="internal.domains")
    kept = previous is not None and previous.settings.dns == settings.dns
    reserved = {settings.policy.mark_header.lower().encode()}
    secret_headers = {each.secret_header for each in settings.listeners if each.secret_header}
    connector_secret = secret("connector-secret", settings) if secret_headers and with_keys else None
    if secret_headers and with_keys and connector_secret is None:
        raise ConfigurationError(
            "must be given for listeners.secret_header", where="secrets.connector_secret"
        )
    reserved |= {name.lower().encode() for name in secret_headers}
    if settings.nta_header.name:
        reserved.add(settings.nta_header.name.lower().encode())
    trust = Trust.load(smime.trust, crls=smime.crls, unknown_revocation=smime.unknown_revocation)
    return Snapshot(
        settings=settings,
        sensitivity=SensitivityRules.compile(settings.policy),
        keys=_keys(settings) if with_keys else KeyRing(),
        trust=trust,
        certificates=CertificateDirectory.load(smime.certificates, _personal(settings, trust)),
        resolver=previous.resolver if previous and kept else DnsResolver.from_settings(settings.dns),
        compliance=previous.compliance
        if previous and kept
        else ComplianceLookup.from_settings(settings.dns, threads=settings.milter.lookup_threads),
        routing=RoutingProver(
            settings.routing.postfix,
            settings.routing.interval,
            settings.internal.networks,
            ours=postfix_name(settings.milter.socket),
            copies=bool(settings.store.url),
        ),
        store=_store(settings, previous),
        authserv_id=f"nta.{settings.milter.hostname or socket.getfqdn()}",
        internal_domains=frozenset(a_labels(domain) or domain for domain in settings.internal.domains),
        reserved=frozenset(reserved),
        harvest=HarvestStore(smime.harvested) if smime.harvest else None,
        connector_secret=connector_secret,
        verifiers=Verifiers(
            settings.verifiers,
            settings.peer.proofs,
            settings.peer.proof_days * 86_400.0,
            settings.routing.postfix,
        ),
    )


def without_store(snapshot: Snapshot) -> Snapshot:
    """The snapshot with its store closed: a database connection must not pass through a fork."""
    if snapshot.store is not None:
        snapshot.store.close()
    return dataclasses.replace(snapshot, store=None)


def with_store(snapshot: Snapshot) -> Snapshot:
    """The snapshot with its store open, after a fork."""
    return dataclasses.replace(snapshot, store=_store(snapshot.settings, snapshot))


def _personal(settings: Settings, trust: Trust) -> Iterator[PersonalSource]:
    """Where personal certificates are looked for, in order; nowhere unless they are wanted."""
    if settings.smime.personal == "never":
        return
    if settings.smime.harvest:
        yield HarvestStore(settings.smime.harvested)
    if settings.smime.smimea:
        dns = settings.dns
        resolver = DnsResolver(dns.servers, trusted=dns.trusted, timeout=dns.timeout, lifetime=dns.lifetime)
        yield Smimea(resolver, trust, ttl_cap=dns.ttl_cap, unknown_ttl=dns.unknown_ttl)


def _keys(settings: Settings) -> KeyRing:
    password = secret("keys-password", settings)
    passwords = () if password is None else (password,)
    return KeyRing.load(settings.smime.keys, passwords=passwords, bindings=settings.smime.bindings)


def _same_store(before: Settings, now: Settings) -> bool:
    return before.store == now.store and bool(before.portal.sms_command) == bool(now.portal.sms_command)


def _store(settings: Settings, previous: Snapshot | None) -> Store | None:
    if previous is not None and previous.store is not None and _same_store(previous.settings, settings):
        return previous.store
    return open_store(settings) if settings.store.url else None
