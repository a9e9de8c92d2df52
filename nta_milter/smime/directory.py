"""Which certificate a recipient has: the configured one, the gateway's of the domain, a personal one.

What the administrator configured goes before what was found, and never does a certificate that came over
the wire speak for a whole domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, cast
from urllib.parse import quote, unquote

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.message.address import a_labels, envelope_domain
from nta_milter.smime.certificate import FILE_LIMIT, RecipientCertificate, certificates_from_pem

CIPHERS = ("aes-256-cbc", "aes-128-cbc", "aes-256-gcm", "aes-128-gcm")

_OPTION = re.compile(
    rb"^(Cipher|Key-Transport|Bound-Keys):[ \t]*(\S+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_KEPT = "@+=!#$&'*^_`{|}~?-."


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code and a sentence for a person.

    The codes: ``certificate-configured``, ``certificate-gateway``, ``certificate-harvested`` and
    ``certificate-smimea`` say where the one in use is from; ``certificate-none``, ``certificate-unusable``,
    ``certificate-pending``, ``smimea-unknown``, ``smimea-insecure`` and ``smimea-other`` what there is not.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """The certificate to encrypt to, or None, with what was looked at and why.

    ``unknown`` = a source gave no answer (DNS), so that None does not mean that there is none.
    """

    certificate: RecipientCertificate | None
    reasons: tuple[Reason, ...]
    unknown: bool = False


class PersonalSource(Protocol):
    """Where personal certificates come from besides the configured files: harvest, SMIMEA."""

    def find(self, address: str, at: datetime) -> Found:
        """The certificate of one address at ``at``; never raises for what it finds."""
        ...


class CertificateDirectory:
    """The recipients' certificates: static files, loaded once, and personal sources, asked in order."""

    def __init__(
        self,
        entries: Mapping[str, Sequence[RecipientCertificate]],
        personal: Iterable[PersonalSource] = (),
    ) -> None:
        self.entries = {normal_name(name): tuple(certificates) for name, certificates in entries.items()}
        self._personal = tuple(personal)

    @property
    def asks(self) -> bool:
        """Whether ``find`` may have to wait for somebody outside (DNS, a disk)."""
        return bool(self._personal)

    @classmethod
    def load(cls, folder: Path, personal: Iterable[PersonalSource] = ()) -> CertificateDirectory:
        """Load ADDRESS.pem (a person's, class ``configured``) and DOMAIN.pem (``gateway``) of a folder.

        Names are in any letter case, with ``/`` and ``%`` as ``%2F`` and ``%25``. A file may hold several
        certificates; lines ``Cipher: NAME``, ``Key-Transport: oaep`` and ``Bound-Keys: yes`` before them say
        what the owner reads. Raises KeyStoreError, which names the file.
        """
        try:
            if not folder.is_dir():
                raise KeyStoreError("there is no such folder of certificates", where=str(folder))
            files = sorted(file for file in folder.iterdir() if is_entry(file))
        except OSError as error:
            raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(folder)) from error
        entries: dict[str, tuple[RecipientCertificate, ...]] = {}
        for file in files:
            name = entry_name(file)
            if name in entries:
                raise KeyStoreError(f"there are two files for {name}", where=str(file))
            entries[name] = read_entry(file)
        return cls(entries, personal)

    def find(self, address: str, at: datetime) -> Found:
        """The certificate to encrypt to for ``address`` at ``at``: usable, the best class, issued last."""
        domain = envelope_domain(address)
        lower = f"{address.rpartition('@')[0].lower()}@{domain}"
        reasons: list[Reason] = []
        for name in (lower, domain):
            chosen = best_usable(self.entries.get(name, ()), at, reasons)
            if chosen is not None:
                kind = "certificate-gateway" if name != lower else "certificate-configured"
                whose = f"the gateway of {name}" if name != lower else name
                text = f"configured for {whose}, valid until {chosen.certificate.not_after:%Y-%m-%d}"
                return Found(chosen, (*reasons, Reason(kind, text)))
        unknown = False
        for source in self._personal:
            found = source.find(address, at)
            reasons += found.reasons
            unknown = unknown or found.unknown
            if found.certificate is not None:
                return Found(found.certificate, tuple(reasons))
        if not reasons:
            reasons.append(Reason("certificate-none", f"no certificate is known for {lower}"))
        return Found(None, tuple(reasons), unknown)


def best_usable(
    candidates: Sequence[RecipientCertificate], at: datetime, reasons: list[Reason]
) -> RecipientCertificate | None:
    """The usable one issued last; adds to ``reasons`` why the others are not usable."""
    usable = []
    for candidate in candidates:
        try:
            candidate.usable_at(at)
        except CertificateError as error:
            reasons.append(Reason("certificate-unusable", str(error)))
        else:
            usable.append(candidate)
    return max(usable, key=lambda item: item.certificate.not_before, default=None)


def is_entry(file: Path) -> bool:
    """Whether a file of a certificate folder is an entry."""
    return file.suffix.lower() == ".pem" and not file.name.startswith(".") and file.is_file()


def normal_name(name: str) -> str:
    """An address or domain in lower case, its domain as A-labels, as look-ups compare it."""
    local, at, domain = name.lower().rpartition("@")
    return f"{local}{at}{a_labels(domain) or domain}"


def entry_name(file: Path) -> str:
    """The address or domain that a file's name stands for, lower case."""
    return unquote(file.stem).lower()


def entry_file(folder: Path, name: str) -> Path:
    """The file for an address or domain; nothing in ``name`` leads out of ``folder``."""
    stem = quote(name.lower(), safe=_KEPT)
    return folder / f"{'%2E' + stem[1:] if stem.startswith('.') else stem}.pem"


def read_entry(file: Path) -> tuple[RecipientCertificate, ...]:
    """The certificates of one file with their options; raises KeyStoreError naming the file."""
    try:
        if file.stat().st_size > FILE_LIMIT:
            raise KeyStoreError(f"larger than {FILE_LIMIT} bytes", where=str(file))
        return parse_entry(file.read_bytes(), "configured" if "@" in entry_name(file) else "gateway")
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(file)) from error
    except (CertificateError, ValueError) as error:
        raise KeyStoreError(str(error), where=str(file)) from error


def parse_entry(
    data: bytes, certificate_class: Literal["gateway", "configured", "personal"]
) -> tuple[RecipientCertificate, ...]:
    """The certificates of an entry's text; raises CertificateError."""
    options = {
        key.decode().lower(): value.decode("ascii", "replace").lower() for key, value in _OPTION.findall(data)
    }
    cipher, transport = options.get("cipher"), options.get("key-transport", "v15")
    if cipher is not None and cipher not in CIPHERS:
        raise CertificateError(f"Cipher: {cipher} is not one of {', '.join(CIPHERS)}")
    if transport not in {"v15", "oaep"}:
        raise CertificateError(f"Key-Transport: {transport} is neither v15 nor oaep")
    bound = options.get("bound-keys", "no")
    if bound not in {"yes", "no"}:
        raise CertificateError(f"Bound-Keys: {bound} is neither yes nor no")
    found = tuple(
        RecipientCertificate(
            certificate,
            cast(Literal["v15", "oaep"], transport),
            cipher,
            certificate_class,
            bound_keys=bound == "yes",
        )
        for certificate in certificates_from_pem(data)
    )
    if not found:
        raise CertificateError("the file holds no PEM certificate")
    return found


def format_entry(entry: RecipientCertificate) -> bytes:
    """The text of a file with one certificate, as :func:`parse_entry` reads it."""
    lines = [f"Subject: {entry.certificate.subject}"]
    if entry.cipher is not None:
        lines.append(f"Cipher: {entry.cipher}")
    if entry.key_transport != "v15":
        lines.append(f"Key-Transport: {entry.key_transport}")
    if entry.bound_keys:
        lines.append("Bound-Keys: yes")
    return ("\n".join(lines) + "\n").encode() + entry.certificate.pem()
