"""Our private keys: read from PKCS#12 and PEM files, checked once, found by what a message names.

Expired keys stay: they open old mail for ever, and sign nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asn1crypto import keys, x509

from nta_milter.errors import CertificateError, KeyStoreError, LimitExceeded, MalformedCms
from nta_milter.smime import tlv
from nta_milter.smime.certificate import Certificate, certificates_from_file
from nta_milter.smime.compatibility import PARSE_ERRORS
from nta_milter.smime.keyfile import read_key_file
from nta_milter.smime.limits import Work
from nta_milter.smime.pkcs12 import SIZE_LIMIT, WrongPassword

SUFFIXES = (".p12", ".pfx", ".pem")
KEY_LIMIT = 10_000

_DOMAIN_ROLES = ("domain-confidentiality-authority", "domain-signing-authority")
"""Local parts by which a gateway's certificate names its role (RFC 3183 sections 2.2 and 3.2)."""

_NAME_ERRORS: tuple[type[Exception], ...] = (*PARSE_ERRORS, MalformedCms, LimitExceeded)
_ADDRESS = re.compile(r"[^@\s]*@[^@\s]+")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key with one certificate of it.

    ``chain`` leads from the certificate's issuer upwards, as far as the file had it. ``addresses`` are
    what the key opens and signs for: lower-case addresses, and ``@domain`` for everybody there.
    ``source`` is the file's name.
    """

    certificate: Certificate
    key: Any = field(repr=False, compare=False)
    chain: tuple[Certificate, ...] = field(repr=False)
    addresses: frozenset[str]
    source: str


@dataclass(frozen=True)
class KeyRing:
    """Private keys, indexed; immutable, so that a message ends with the ring it began with."""

    keys: tuple[PrivateKey, ...] = ()
    _by_serial: dict[int, list[PrivateKey]] = field(init=False, repr=False, compare=False)
    _by_identifier: dict[bytes, PrivateKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_serial: dict[int, list[PrivateKey]] = {}
        by_identifier: dict[bytes, PrivateKey] = {}
        for key in self.keys:
            by_serial.setdefault(key.certificate.serial, []).append(key)
            by_identifier.setdefault(_identifier(key.certificate), key)
        object.__setattr__(self, "_by_serial", by_serial)
        object.__setattr__(self, "_by_identifier", by_identifier)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        passwords: Sequence[bytes] = (),
        bindings: Mapping[str, Sequence[str]] | None = None,
    ) -> KeyRing:
        """Load a file, or every .p12, .pfx and .pem file of a folder.

        The password of NAME.p12 is the first line of NAME.password beside it, else one of ``passwords``.
        ``bindings`` gives a file's keys addresses or ``@domain`` besides those of its certificates. Raises
        KeyStoreError, which names the file and the cause; nothing is half loaded.
        """
        bindings = bindings or {}
        files = key_files(path)
        names = {file.name for file in files}
        for name in bindings:
            if path.is_dir() and name not in names:
                raise KeyStoreError(
                    "smime.bindings names a key file that is not there", where=str(path / name)
                )
        found: list[PrivateKey] = []
        for file in files:
            found += _load_file(file, passwords, _bound_addresses(file, bindings.get(file.name, ())))
            if len(found) > KEY_LIMIT:
                raise KeyStoreError(f"more than {KEY_LIMIT} keys", where=str(path))
        return cls(tuple(found))

    def find(self, issuer: bytes, serial: int) -> PrivateKey | None:
        """The key whose certificate has this issuer (DER Name) and serial number (RFC 5652 section 10.2.4).

        Names are compared octet by octet, then as RFC 5280 section 7.1 has it: some writers encode the
        issuer anew, with other string types.
        """
        candidates = self._by_serial.get(serial, ())
        for key in candidates:
            if key.certificate.issuer == issuer:
                return key
        for key in candidates:
            if same_name(key.certificate.issuer, issuer):
                return key
        return None

    def find_by_ski(self, ski: bytes) -> PrivateKey | None:
        """The key with this subject key identifier (RFC 5280 section 4.2.1.2).

        A certificate without the extension is found by SHA-1 over its public key, the usual identifier.
        """
        return self._by_identifier.get(ski)

    def bound_to(self, addresses: Iterable[str]) -> KeyRing:
        """Only the keys that may open mail for one of ``addresses``; letter case does not matter."""
        wanted: set[str] = set()
        for address in addresses:
            lower = address.lower()
            wanted.add(lower)
            wanted.add("@" + lower.rpartition("@")[2])
        return KeyRing(tuple(key for key in self.keys if not wanted.isdisjoint(key.addresses)))

    def signer_for(
        self, address: str, *, domain_too: bool = True, at: datetime | None = None
    ) -> PrivateKey | None:
        """The key that signs for ``address`` at ``at`` (None = now).

        The sender's own key (certificate first, then configuration), else, with ``domain_too``, the
        domain's. Of several the one issued last.
        """
        at = at or datetime.now(UTC)
        lower = address.lower()
        able = [k for k in self.keys if k.certificate.may_sign() and k.certificate.valid_at(at)]
        choices = [
            [k for k in able if lower in {email.lower() for email in k.certificate.emails}],
            [k for k in able if lower in k.addresses],
            [k for k in able if domain_too and "@" + lower.rpartition("@")[2] in k.addresses],
        ]
        for keys_found in choices:
            if keys_found:
                return max(keys_found, key=lambda k: k.certificate.not_before)
        return None


def certificate_addresses(certificate: Certificate) -> frozenset[str]:
    """What a certificate speaks for: its addresses, and ``@domain`` for a gateway's.

    A gateway says so by a dNSName or by a role address of RFC 3183.
    """
    addresses = set()
    for email in certificate.emails:
        local, _, domain = email.lower().rpartition("@")
        addresses.add("@" + domain if local in _DOMAIN_ROLES else email.lower())
    addresses.update("@" + name for name in certificate.dns_names if "*" not in name)
    return frozenset(addresses)


def read_passwords(file: Path, passwords: Sequence[bytes]) -> tuple[bytes, ...]:
    """The passwords to try for ``file``: NAME.password beside it alone, else ``passwords``.

    Raises KeyStoreError when NAME.password cannot be read.
    """
    beside = file.with_suffix(".password")
    try:
        if not beside.exists():
            return tuple(passwords)
        return (beside.read_bytes().split(b"\n", 1)[0].rstrip(b"\r"),)
    except OSError as error:
        raise KeyStoreError(f"cannot read the password ({error.strerror})", where=str(beside)) from error


def _identifier(certificate: Certificate) -> bytes:
    if certificate.subject_key_identifier is not None:
        return certificate.subject_key_identifier
    info = keys.PublicKeyInfo.load(certificate.public_key_der)
    return hashlib.sha1(bytes(info["public_key"]), usedforsecurity=False).digest()


def same_name(ours: bytes, theirs: bytes) -> bool:
    """Whether two Names (DER, the second perhaps BER) are equal as RFC 5280 section 7.1 has it."""
    try:
        der = tlv.parse(theirs, Work(), "name").der()
        return ours == der or bool(x509.Name.load(ours) == x509.Name.load(der, strict=True))
    except _NAME_ERRORS:
        return False


def key_files(path: Path) -> list[Path]:
    """The key files of a folder, by name, or the one file; raises KeyStoreError."""
    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise KeyStoreError("there is no such file or folder of keys", where=str(path))
        return sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
        )
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(path)) from error


def _bound_addresses(file: Path, configured: Sequence[str]) -> frozenset[str]:
    for address in configured:
        if not _ADDRESS.fullmatch(address):
            raise KeyStoreError(
                f"smime.bindings has {address!r}, which is neither an address nor @domain", where=str(file)
            )
    return frozenset(address.lower() for address in configured)


def load_together(
    files: Sequence[Path], passwords: Sequence[bytes]
) -> tuple[tuple[PrivateKey, ...], dict[Path, KeyStoreError]]:
    """The keys of several files, and why others gave none; never raises for what they are.

    A PEM file may hold a private key whose certificate is in another of them.
    """
    found: list[PrivateKey] = []
    faults: dict[Path, KeyStoreError] = {}
    for file in files:
        try:
            found += _load_file(file, passwords, frozenset())
        except KeyStoreError as error:
            faults[file] = error
    certificates = {file: _certificates_of(file) for file in faults}
    lent = b"".join(certificate.pem() for several in certificates.values() for certificate in several)
    for file in list(faults) if lent else []:
        try:
            found += _load_file(file, passwords, frozenset(), lent)
            del faults[file]
        except KeyStoreError:
            continue
    used = {key.certificate for key in found}
    return tuple(found), {file: fault for file, fault in faults.items() if not used & set(certificates[file])}


def _certificates_of(file: Path) -> tuple[Certificate, ...]:
    try:
        return certificates_from_file(file)
    except KeyStoreError:
        return ()


def _load_file(
    file: Path, passwords: Sequence[bytes], bound: frozenset[str], more: bytes = b""
) -> list[PrivateKey]:
    """The keys of a file; ``more`` is PEM that is read with it, if it is PEM itself."""
    try:
        size = file.stat().st_size
        if size > SIZE_LIMIT:
            raise KeyStoreError(f"the file has {size} bytes; at most {SIZE_LIMIT} are read", where=str(file))
        data = file.read_bytes()
        if more and not data.startswith(b"\x30"):
            data += b"\n" + more
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(file)) from error
    candidates = read_passwords(file, passwords)
    try:
        return [
            PrivateKey(certificate, key, chain, bound | certificate_addresses(certificate), file.name)
            for certificate, key, chain in read_key_file(data, candidates)
        ]
    except WrongPassword as error:
        beside = file.with_suffix(".password")
        if beside.exists():
            advice = f"the password in {beside} does not fit"
        elif candidates:
            advice = f"no known password fits; put its password in {beside} or in the secret keys-password"
        else:
            advice = f"it needs a password; put it in {beside} or in the secret keys-password"
        raise WrongPassword(advice, where=str(file)) from error
    except (CertificateError, KeyStoreError) as error:
        raise KeyStoreError(error.message, where=str(file)) from error
