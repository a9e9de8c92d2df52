"""Personal certificates kept from verified signed mail, one file per address.

A certificate is kept only after its path, purpose and address were found right. One with another key than
the kept one waits until the kept one has expired or an administrator accepts it: whoever gets a certificate
issued for somebody's address must not thereby get that person's mail.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Literal

from nta_milter.errors import CertificateError, CmsError, KeyStoreError, LimitExceeded
from nta_milter.smime import tlv
from nta_milter.smime.certificate import Certificate, RecipientCertificate
from nta_milter.smime.directory import (
    Found,
    Reason,
    best_usable,
    entry_file,
    entry_name,
    format_entry,
    is_entry,
    parse_entry,
)
from nta_milter.smime.limits import Work
from nta_milter.smime.trust import Trust

CAPABILITIES_LIMIT = 8_192
"""Longest SMIMECapabilities that are read, in bytes."""

_AES = "2.16.840.1.101.3.4.1."
_CIPHERS = (
    (_AES + "46", "aes-256-gcm"),
    (_AES + "6", "aes-128-gcm"),
    (_AES + "42", "aes-256-cbc"),
    (_AES + "2", "aes-128-cbc"),
)
_RSAES_OAEP = "1.2.840.113549.1.1.7"
_BOUND_KEYS = "1.2.840.113549.1.9.16.3.31"


class Outcome(Enum):
    """What became of a certificate that was offered."""

    KEPT = "kept"
    """The first for its address, or the successor of one that has expired or has the same key."""
    KNOWN = "known"
    """It is the kept one, or older than it."""
    PENDING = "pending"
    """Its key differs from that of the kept one: an administrator decides."""
    REFUSED = "refused"
    """It is not trusted, not for the address, or cannot encrypt."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The outcome with a sentence for the log."""

    outcome: Outcome
    reason: str
    entry: RecipientCertificate | None = None


class HarvestStore:
    """A folder of kept certificates, with those that wait in its sub-folder ``pending``.

    Writing is atomic per file, so that several processes may share the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pending = folder / "pending"

    def find(self, address: str, at: datetime) -> Found:
        """The kept certificate of ``address``, if it is usable at ``at``; never raises."""
        reasons: list[Reason] = []
        try:
            entries = _read(self.folder, address)
            if (waiting := _read(self.pending, address)) and entries:
                text = f"one with another key waits for certs accept: {waiting[0].certificate.subject}"
                reasons.append(Reason("certificate-pending", text))
        except KeyStoreError as error:
            return Found(None, (Reason("certificate-unusable", str(error)),))
        chosen = best_usable(entries, at, reasons)
        if chosen is not None:
            text = f"kept from signed mail, valid until {chosen.certificate.not_after:%Y-%m-%d}"
            reasons.append(Reason("certificate-harvested", text))
        return Found(chosen, tuple(reasons))

    def offer(
        self,
        address: str,
        signer: Certificate,
        others: Sequence[Certificate],
        capabilities: bytes | None,
        trust: Trust,
        at: datetime,
    ) -> Offer:
        """Offer what a good signature by ``address`` brought.

        ``signer`` made the signature; where it cannot encrypt, the newest certificate for the same address
        among ``others`` that can is taken. ``capabilities`` are the signed SMIMECapabilities, DER.
        Raises KeyStoreError when the folder cannot be read or written.
        """
        transport, cipher, bound = parse_capabilities(capabilities)
        reason = "the message has no certificate that encrypts for its sender"
        brought = sorted(others, key=lambda item: item.not_before, reverse=True)
        for certificate in dict.fromkeys((signer, *brought)):
            entry = RecipientCertificate(certificate, transport, cipher, "personal", bound)
            if address.lower() not in {email.lower() for email in certificate.emails}:
                continue
            try:
                entry.usable_at(at)
            except CertificateError as error:
                reason = error.message
                continue
            verdict = trust.judge(certificate, others, at, purpose="encrypt")
            if verdict.trusted:
                return self._keep(address, entry, at)
            reason = verdict.reason
        return Offer(Outcome.REFUSED, reason)

    def _keep(self, address: str, entry: RecipientCertificate, at: datetime) -> Offer:
        kept = next(iter(_read(self.folder, address)), None)
        if kept is not None:
            old, new = kept.certificate, entry.certificate
            if (old == new and kept == entry) or new.not_before < old.not_before:
                return Offer(Outcome.KNOWN, "it is the kept one or older", kept)
            if old.public_key_der != new.public_key_der and old.not_after >= at:
                _write(self.pending, address, entry)
                reason = f"its key differs from that of the kept one, valid until {old.not_after:%Y-%m-%d}"
                return Offer(Outcome.PENDING, reason, entry)
        _write(self.folder, address, entry)
        return Offer(Outcome.KEPT, f"kept for {address.lower()}", entry)

    def accept(self, address: str) -> RecipientCertificate | None:
        """Let the waiting certificate of ``address`` replace the kept one; None when none waits."""
        waiting = _read(self.pending, address)
        if not waiting:
            return None
        _write(self.folder, address, waiting[0])
        _remove(self.pending, address)
        return waiting[0]

    def forget(self, address: str) -> bool:
        """Remove what is kept and what waits for ``address``; whether there was anything."""
        kept, waiting = _remove(self.folder, address), _remove(self.pending, address)
        return kept or waiting

    def entries(
        self, state: Literal["kept", "pending"] = "kept"
    ) -> tuple[tuple[str, RecipientCertificate], ...]:
        """Every address with its kept or waiting certificate; raises KeyStoreError."""
        folder = self.folder if state == "kept" else self.pending
        try:
            files = sorted(file for file in folder.iterdir() if is_entry(file)) if folder.is_dir() else []
        except OSError as error:
            raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(folder)) from error
        return tuple((name, entry) for name in map(entry_name, files) for entry in _read(folder, name))


def parse_capabilities(data: bytes | None) -> tuple[Literal["v15", "oaep"], str | None, bool]:
    """What a signer says that it reads: RSA key transport, the best cipher of ours, bound keys (RFC 9709).

    ``data`` is a DER SMIMECapabilities (RFC 8551 section 2.5.2), signed; None or damage = nothing is known.
    """
    if not data or len(data) > CAPABILITIES_LIMIT:
        return "v15", None, False
    try:
        capabilities = tlv.parse(data, Work()).expect(tlv.SEQUENCE, "SMIMECapabilities")
        found = set()
        for capability in capabilities.children:
            name = capability.fields(tlv.SEQUENCE, "a capability").next()
            found.add(tlv.dotted(name.object_identifier("a capability")))
    except (CmsError, LimitExceeded):
        return "v15", None, False
    cipher = next((name for oid, name in _CIPHERS if oid in found), None)
    return ("oaep" if _RSAES_OAEP in found else "v15"), cipher, _BOUND_KEYS in found


def _read(folder: Path, address: str) -> tuple[RecipientCertificate, ...]:
    file = entry_file(folder, address)
    try:
        return parse_entry(file.read_bytes(), "personal")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(file)) from error
    except CertificateError as error:
        raise KeyStoreError(error.message, where=str(file)) from error


def _write(folder: Path, address: str, entry: RecipientCertificate) -> None:
    write_atomically(entry_file(folder, address), format_entry(entry))


def _remove(folder: Path, address: str) -> bool:
    file = entry_file(folder, address)
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise KeyStoreError(f"cannot be removed ({error.strerror})", where=str(file)) from error
    return True


def write_atomically(file: Path, data: bytes, *, mode: int = 0o640) -> None:
    """Write a whole file or nothing, durably, in the group of its folder; raises KeyStoreError."""
    temporary = file.with_name(f".{secrets.token_hex(8)}.new")
    try:
        file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                group = file.parent.stat().st_gid
                if os.fstat(descriptor).st_gid != group:
                    os.fchown(descriptor, -1, group)
                os.fchmod(descriptor, mode)
                stream.flush()
                os.fsync(descriptor)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(file.parent)
    except OSError as error:
        raise KeyStoreError(f"cannot be written ({error.strerror})", where=str(file)) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
