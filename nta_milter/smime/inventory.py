"""What our key files hold and what is to be done about them: expiry, trust, bindings, permissions."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.smime.certificate import Certificate, RecipientCertificate
from nta_milter.smime.keystore import KeyRing, PrivateKey, key_files
from nta_milter.smime.trust import Trust

FORECAST = (7, 14, 30)
"""Days before the end of a certificate at which it is time to think of the next one."""

Stage = Literal["valid", "expires-within-30", "expires-within-14", "expires-within-7", "expired", "not-yet"]


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One file of the key folder: its keys, or why it cannot be used."""

    file: Path
    keys: tuple[PrivateKey, ...] = ()
    error: KeyStoreError | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A ``fault`` keeps mail from being opened or signed; a ``warning`` will, or may elsewhere."""

    level: Literal["fault", "warning"]
    subject: str
    text: str


def survey(
    folder: Path, passwords: Sequence[bytes], bindings: Mapping[str, Sequence[str]]
) -> tuple[KeyFile, ...]:
    """Load each key file by itself, so that one bad file does not hide the others.

    Raises KeyStoreError when the folder itself cannot be read.
    """
    found = []
    for file in key_files(folder):
        own = {name: addresses for name, addresses in bindings.items() if name == file.name}
        try:
            ring = KeyRing.load(file, passwords=passwords, bindings=own)
        except KeyStoreError as error:
            found.append(KeyFile(file, error=error))
        else:
            found.append(KeyFile(file, ring.keys))
    return tuple(found)


def stage(certificate: Certificate, at: datetime) -> Stage:
    """Where ``at`` lies in a certificate's life."""
    left = certificate.not_after - at
    if at < certificate.not_before:
        return "not-yet"
    if left < timedelta(0):
        return "expired"
    if left < timedelta(days=7):
        return "expires-within-7"
    if left < timedelta(days=14):
        return "expires-within-14"
    return "expires-within-30" if left < timedelta(days=30) else "valid"


def opens(certificate: Certificate) -> bool:
    """Whether mail can be encrypted to it, its dates aside."""
    try:
        RecipientCertificate(certificate).usable_at(certificate.not_after)
    except CertificateError:
        return False
    return True


def successor(key: PrivateKey, keys: Iterable[PrivateKey]) -> PrivateKey | None:
    """The key that does all that ``key`` does for as many addresses, and lasts longer."""
    able = [
        other
        for other in keys
        if other.certificate.not_after > key.certificate.not_after
        and other.addresses >= key.addresses
        and other.certificate.may_sign() >= key.certificate.may_sign()
        and opens(other.certificate) >= opens(key.certificate)
    ]
    return max(able, key=lambda other: other.certificate.not_after, default=None)


def examine(
    files: Sequence[KeyFile],
    trust: Trust,
    sender_domains: Sequence[str],
    bindings: Mapping[str, Sequence[str]],
    at: datetime,
) -> tuple[Finding, ...]:
    """Everything that is wrong with the keys at ``at``, or soon will be."""
    keys = [key for file in files for key in file.keys]
    findings: list[Finding] = []
    for name in bindings:
        if name not in {file.file.name for file in files}:
            findings.append(Finding("fault", name, "smime.bindings names this file, and it is not there"))
    for file in files:
        if file.error is not None:
            findings.append(Finding("fault", file.file.name, file.error.message))
        findings += _permissions(file.file)
        for key in file.keys:
            findings += _life(key, keys, at)
            findings += _purpose(key, trust, at)
    usable = KeyRing(tuple(key for key in keys if key.certificate.valid_at(at)))
    for domain in sender_domains:
        if not any(address.rpartition("@")[2] == domain for key in usable.keys for address in key.addresses):
            text = "no key is valid now for this sender domain: its mail goes unsigned"
            findings.append(Finding("warning", domain, text))
    return tuple(findings)


def _permissions(file: Path) -> list[Finding]:
    findings = []
    for each in (file, file.with_suffix(".password")):
        try:
            mode = each.stat().st_mode
        except OSError:
            continue
        if mode & (stat.S_IRWXO | stat.S_IWGRP):
            text = f"has mode {stat.S_IMODE(mode):04o}; nobody but root and the milter's group should read it"
            findings.append(Finding("fault", each.name, f"{text}: chmod 0640"))
    return findings


def _life(key: PrivateKey, keys: Sequence[PrivateKey], at: datetime) -> list[Finding]:
    now = stage(key.certificate, at)
    if now == "valid" or successor(key, keys) is not None:
        return []
    name = f"{key.source}: {key.certificate.subject}"
    if now == "expired":
        text = (
            f"expired on {key.certificate.not_after:%Y-%m-%d}, and nothing follows it; it opens old mail only"
        )
        return [Finding("fault", name, text)]
    if now == "not-yet":
        return [Finding("warning", name, f"is valid from {key.certificate.not_before:%Y-%m-%d} on")]
    text = f"expires on {key.certificate.not_after:%Y-%m-%d} and nothing follows it: nta-milter keys request"
    return [Finding("fault" if now == "expires-within-7" else "warning", name, text)]


def _purpose(key: PrivateKey, trust: Trust, at: datetime) -> list[Finding]:
    certificate = key.certificate
    name = f"{key.source}: {certificate.subject}"
    findings = []
    if not key.addresses:
        text = "is bound to no address, so it opens nothing: give it one in smime.bindings"
        findings.append(Finding("fault", name, text))
    if not opens(certificate) and not certificate.may_sign():
        findings.append(Finding("fault", name, "is neither for signing nor for encrypting mail"))
    elif certificate.valid_at(at):
        purpose: Literal["sign", "encrypt"] = "sign" if certificate.may_sign() else "encrypt"
        verdict = trust.judge(certificate, key.chain, at, purpose=purpose)
        if not verdict.trusted:
            text = f"would not be believed by our own smime.trust: {verdict.reason}"
            findings.append(Finding("warning", name, text))
    return findings
