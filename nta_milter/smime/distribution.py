"""Where revocation lists are published (RFC 5280 section 4.2.1.13), and whether what came from there counts.

Only what a certificate names whose path leads to a trust anchor is a place to fetch from: a stranger must not
be able to send us anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from asn1crypto import x509

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.smime import revocation
from nta_milter.smime.certificate import Certificate, certificates_from_file
from nta_milter.smime.compatibility import PARSE_ERRORS
from nta_milter.smime.harvest import write_atomically
from nta_milter.smime.trust import Trust

URL_LIMIT = 2_000
"""Longest address of a list, in characters."""

URLS_PER_CERTIFICATE = 8
"""Addresses that one certificate's are looked at."""

NOTED_LIMIT = 1_000
"""Most senders' certificates that are noted for the places they name."""

NOTED = ".certificates"
"""Suffix of a noted certificate with its path, beside the lists."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address (plain HTTP) with the certificates, each with its path, that name it for their list."""

    url: str
    paths: tuple[tuple[Certificate, ...], ...]

    @property
    def issuer(self) -> str:
        """Whose list it is, for a person to read."""
        chain = self.paths[0]
        return chain[1].subject if len(chain) > 1 else chain[0].subject

    def file(self, folder: Path) -> Path:
        """Where its list is kept."""
        return folder / f"{digest(self.url)}.crl"


@dataclass(frozen=True, slots=True)
class Held:
    """What a list says of itself; ``next_update`` is None where it does not say, ``entries`` may be 0."""

    issuer: str
    this_update: datetime
    next_update: datetime | None
    entries: int

    def current(self, at: datetime) -> bool:
        """Whether it is in force at ``at``."""
        return self.this_update <= at and (self.next_update is None or at <= self.next_update)


def digest(url: str) -> str:
    """The name of the files for an address."""
    return hashlib.sha256(url.encode()).hexdigest()[:40]


@lru_cache(maxsize=4096)
def addresses(certificate: Certificate) -> tuple[str, ...]:
    """The plain HTTP addresses of the lists that can tell about a certificate; none when it cannot be read.

    Lists signed by somebody else than its issuer are left aside, as are LDAP and HTTPS.
    """
    try:
        found = x509.Certificate.load(certificate.der).crl_distribution_points_value or ()
        urls = [
            name.chosen.contents.decode("ascii")
            for point in found
            if not point["crl_issuer"].contents
            and point["distribution_point"].contents is not None
            and point["distribution_point"].name == "full_name"
            for name in point["distribution_point"].chosen
            if name.name == "uniform_resource_identifier"
        ]
    except PARSE_ERRORS:
        return ()
    return tuple(dict.fromkeys(filter(_is_http, urls)))[:URLS_PER_CERTIFICATE]


def _is_http(url: str) -> bool:
    if len(url) > URL_LIMIT or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def places(groups: Iterable[Sequence[Certificate]], trust: Trust, at: datetime) -> tuple[Place, ...]:
    """Where the lists are that can tell about these certificates and those above them.

    Each group is a certificate with what may help to find its path; without a path it names nothing. Of those
    by one issuer that name the same places, one speaks for all.
    """
    found: dict[str, list[tuple[Certificate, ...]]] = {}
    alike: set[tuple[bytes, tuple[str, ...]]] = set()
    for certificate, *helping in groups:
        kind = (certificate.issuer, addresses(certificate))
        chain = () if kind in alike else trust.judge(certificate, helping, at, purpose="encrypt").chain
        if chain:
            alike.add(kind)
        for position, member in enumerate(chain):
            if member in trust.anchors:
                break
            for url in addresses(member):
                paths = found.setdefault(url, [])
                if chain[position:] not in paths:
                    paths.append(chain[position:])
    return tuple(Place(url, tuple(found[url])) for url in sorted(found))


def inspect(data: bytes) -> Held:
    """What a list says of itself, believed or not.

    Raises:
        CertificateError: it is no list.
    """
    try:
        found = revocation.read(revocation.ders(data)[0])["tbs_cert_list"]
        revoked = found["revoked_certificates"]
        next_update = found["next_update"].native
        held = Held(
            found["issuer"].human_friendly,
            found["this_update"].native,
            next_update,
            len(revoked) if revoked.contents else 0,
        )
    except PARSE_ERRORS as error:
        raise CertificateError("not a certificate revocation list") from error
    if not isinstance(held.this_update, datetime) or held.this_update.tzinfo is None:
        raise CertificateError("a revocation list without a date")
    return held


def check(data: bytes, place: Place, trust: Trust, at: datetime, old: Held | None) -> Held:
    """A list from ``place``, if it counts: signed by who it should be, in force, and not older than ``old``.

    Raises:
        CertificateError: why it does not.
    """
    held = inspect(data)
    faults = [trust.list_fault(path[0], path[1:], data, at) for path in place.paths]
    if all(faults):
        raise CertificateError(faults[0])
    if held.next_update is None:
        raise CertificateError("it does not say until when it is in force")
    if old is not None and held.this_update < old.this_update:
        raise CertificateError(f"it is older than the one of {old.this_update:%Y-%m-%d %H:%M} that is here")
    return held


def noted(folder: Path) -> Iterator[tuple[Path, tuple[Certificate, ...]]]:
    """The certificates that were noted, each with its path; a damaged file is left aside.

    Raises:
        KeyStoreError: the folder cannot be read.
    """
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix == NOTED)
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(folder)) from error
    for file in files[:NOTED_LIMIT]:
        try:
            yield file, certificates_from_file(file)
        except KeyStoreError:
            continue


def note(chain: Sequence[Certificate], folder: Path) -> int:
    """Note a trusted certificate, so that the lists that it names are fetched; how many were new.

    ``chain`` is the certificate with what may help to find its path. Raises KeyStoreError.
    """
    files = [folder / f"{digest(url)}{NOTED}" for url in addresses(chain[0])]
    try:
        new = [file for file in files if not file.exists()]
        if not new or sum(1 for _ in folder.glob(f"*{NOTED}")) >= NOTED_LIMIT:
            return 0
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(folder)) from error
    text = b"".join(certificate.pem() for certificate in chain)
    for file in new:
        write_atomically(file, text, mode=0o660)
    return len(new)
