"""Whom we believe: path validation (RFC 5280) by OpenSSL, and what S/MIME (RFC 8550) asks on top.

OpenSSL does signatures, dates, basic constraints, key usage of issuers, name constraints and CRLs. Ours are
the purpose (emailProtection along the path, signing by the end certificate), the strength of digests and
keys, and the judgement of what is not known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import crypto

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.smime.certificate import RSA_MAXIMUM, RSA_MINIMUM, Certificate, certificates_from_file
from nta_milter.smime.revocation import RevocationLists

INTERMEDIATE_LIMIT = 32
"""Certificates of a message that are looked at; more are left aside."""

STORE_LIMIT = 8
"""OpenSSL stores with revocation lists that are kept; one list may take tens of megabytes in it."""

REFRESH = 60.0
"""Seconds between two looks whether the folder of revocation lists has changed."""

FILE_SUFFIXES = (".pem", ".crt", ".cer")

_STRONG_HASHES = frozenset(
    {"sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "shake256"}
)
_NO_CRL, _EXPIRED, _REVOKED = 3, 10, 23
"""X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_REVOKED of OpenSSL."""

_EXTENDED_CRL_SUPPORT, _USE_DELTAS = 0x1000, 0x2000
"""X509_V_FLAG of OpenSSL, without a name in pyOpenSSL: lists for some reasons, or signed by another key of
the issuer, and delta lists."""

TrustStatus = Literal["trusted", "untrusted", "expired", "revoked", "unknown"]


@dataclass(frozen=True, slots=True)
class TrustVerdict:
    """What a certificate is worth at a moment, and why.

    ``unknown`` = the path is right, but whether it is revoked is not known and the policy wants to know.
    ``revocation`` is ``good``, ``revoked`` or ``unknown`` (no fitting CRL, or nothing was looked up).
    ``chain`` leads from the certificate to the trust anchor; empty when there is no path.
    """

    status: TrustStatus
    reason: str
    revocation: Literal["good", "revoked", "unknown"] = "unknown"
    chain: tuple[Certificate, ...] = field(default=(), repr=False)

    @property
    def trusted(self) -> bool:
        """Whether the status is ``trusted``."""
        return self.status == "trusted"


class Trust:
    """Trust anchors, helping intermediates and cached CRLs; usable by threads.

    Every certificate in the folder is an anchor, be it a root, a subordinate authority or one person's
    certificate. Certificates in its sub-folder ``intermediates`` only help to find a path. Who is believed
    never changes; revocation lists that change in their folder are read within a minute.
    """

    def __init__(
        self,
        anchors: Iterable[Certificate],
        intermediates: Iterable[Certificate] = (),
        lists: RevocationLists | None = None,
        *,
        unknown_revocation: Literal["accept", "refuse"] = "accept",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.anchors = tuple(dict.fromkeys(anchors))
        self.intermediates = tuple(dict.fromkeys(intermediates))
        self._anchors = frozenset(self.anchors)
        self._refuse_unknown = unknown_revocation == "refuse"
        self._lists = lists
        self._clock = clock
        self._looked = clock()
        self._revocation_stores: dict[tuple[tuple[bytes, ...], int, int], crypto.X509Store] = {}
        self._lock = threading.Lock()
        self._openssl_anchors = tuple(_to_openssl_anchor(anchor) for anchor in self.anchors)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        crls: Path | None = None,
        unknown_revocation: Literal["accept", "refuse"] = "accept",
        clock: Callable[[], float] = time.monotonic,
    ) -> Trust:
        """Load a PEM or DER file, or every .pem, .crt and .cer file of a folder.

        ``crls`` is the folder of cached CRLs; a damaged list is left out, so that it counts as unknown.
        Raises KeyStoreError, which names the file.
        """
        anchors = [c for file in _files(path) for c in certificates_from_file(file)]
        helping = path / "intermediates"
        intermediates = (
            [c for file in _files(helping) for c in certificates_from_file(file)] if helping.is_dir() else []
        )
        lists = RevocationLists.load(crls) if crls is not None else None
        return cls(anchors, intermediates, lists, unknown_revocation=unknown_revocation, clock=clock)

    def judge(
        self,
        certificate: Certificate,
        intermediates: Sequence[Certificate],
        at: datetime,
        *,
        purpose: Literal["sign", "encrypt"] = "sign",
    ) -> TrustVerdict:
        """Judge ``certificate`` as it was at ``at``; it never raises for what the certificates are.

        ``intermediates`` are what the message brought, not believed, in any order. For ``sign`` the
        certificate must be one that may sign mail; for ``encrypt`` the caller looks at its key usage.
        """
        helping = (*intermediates[:INTERMEDIATE_LIMIT], *self.intermediates)
        outcome = self._verify(certificate, helping, self._new_store(at))
        if isinstance(outcome, _Failure):
            return TrustVerdict("expired" if outcome.code == _EXPIRED else "untrusted", outcome.reason)
        fault = _purpose_fault(outcome, purpose, self._anchors) or _strength_fault(outcome)
        if fault:
            return TrustVerdict("untrusted", fault, chain=outcome)
        return self._judge_revocation(outcome, helping, at)

    def _judge_revocation(
        self, chain: tuple[Certificate, ...], helping: Sequence[Certificate], at: datetime
    ) -> TrustVerdict:
        unknown = "no revocation list is at hand"
        self._refresh()
        if self._lists:
            issuers = tuple(dict.fromkeys(certificate.issuer for certificate in chain))
            everything = crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
            outcome = self._verify(chain[0], helping, self._revocation_store(issuers, at, everything))
            unknown = ""
            # An anchor is believed without a list about it; what is below was found good before.
            if isinstance(outcome, _Failure) and (outcome.code, outcome.depth) != (_NO_CRL, len(chain) - 1):
                unknown = outcome.reason
                revoked = self._revoked_in(chain, helping, at)
                if revoked:
                    return TrustVerdict("revoked", revoked, "revoked", chain)
        if not unknown:
            return TrustVerdict("trusted", "the path to a trust anchor is valid", "good", chain)
        if self._refuse_unknown:
            return TrustVerdict("unknown", f"whether it is revoked is not known: {unknown}", "unknown", chain)
        return TrustVerdict(
            "trusted",
            f"the path to a trust anchor is valid; revocation not known: {unknown}",
            "unknown",
            chain,
        )

    def list_fault(
        self, certificate: Certificate, intermediates: Sequence[Certificate], data: bytes, at: datetime
    ) -> str:
        """Why a revocation list does not tell about ``certificate`` at ``at``; empty = it does.

        It must be signed by the certificate's issuer, with a key that may, and be in force.
        """
        try:
            lists = RevocationLists.of(data)
        except ValueError as error:
            return str(error)
        store = self._new_store(at)
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | _EXTENDED_CRL_SUPPORT)
        lists.add_to(store, (certificate.issuer,))
        outcome = self._verify(certificate, (*intermediates[:INTERMEDIATE_LIMIT], *self.intermediates), store)
        return outcome.reason if isinstance(outcome, _Failure) and outcome.code != _REVOKED else ""

    def _refresh(self) -> None:
        """Read what has changed in the folder of revocation lists, if it is time to look."""
        with self._lock:
            if self._lists is None or self._clock() - self._looked < REFRESH:
                return
            self._looked = self._clock()
            found = self._lists.refreshed()
            if found is not self._lists:
                self._lists = found
                self._revocation_stores.clear()

    def _revoked_in(
        self, chain: tuple[Certificate, ...], helping: Sequence[Certificate], at: datetime
    ) -> str:
        """Which certificate below the anchor is revoked, in words; empty when none is known to be.

        OpenSSL stops at the first list that it misses: that must not hide another certificate's revocation.
        """
        for certificate in chain:
            if certificate in self._anchors:
                break
            store = self._revocation_store((certificate.issuer,), at, crypto.X509StoreFlags.CRL_CHECK)
            outcome = self._verify(certificate, (*helping, *chain), store)
            if isinstance(outcome, _Failure) and outcome.code == _REVOKED:
                return outcome.reason
        return ""

    def _verify(
        self, certificate: Certificate, helping: Sequence[Certificate], store: crypto.X509Store
    ) -> tuple[Certificate, ...] | _Failure:
        try:
            target = _to_openssl(certificate)
            others = [item for item in map(_to_openssl_or_none, helping) if item is not None]
            chain = crypto.X509StoreContext(store, target, others).get_verified_chain()
        except crypto.X509StoreContextError as error:
            code, depth, message = error.errors[:3]
            names = _to_certificate(error.certificate)
            subject = names.subject if names is not None else certificate.subject
            return _Failure(int(code), int(depth), f"{message} (at {subject}, depth {depth})")
        except crypto.Error as error:
            return _Failure(0, 0, f"OpenSSL does not read the certificate ({error})")
        found = tuple(_to_certificate(item) for item in chain)
        if None in found:
            return _Failure(0, 0, "an issuer's certificate cannot be read")
        return tuple(item for item in found if item is not None)

    def _new_store(self, at: datetime) -> crypto.X509Store:
        """A store for one time: OpenSSL keeps the first time that a store is given for ever."""
        store = crypto.X509Store()
        for anchor in self._openssl_anchors:
            store.add_cert(anchor)
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        store.set_time(at.astimezone(UTC))
        return store

    def _revocation_store(self, issuers: tuple[bytes, ...], at: datetime, flags: int) -> crypto.X509Store:
        """A store with the lists of these issuers, kept for verifications in the same minute.

        pyOpenSSL after 23 parses a list anew for each store: 74 ms for one of 100,000 certificates.
        """
        key = (issuers, flags, int(at.timestamp()) // 60)
        with self._lock:
            store = self._revocation_stores.get(key)
            if store is None:
                store = self._new_store(at)
                store.set_flags(flags | _EXTENDED_CRL_SUPPORT | _USE_DELTAS)
                if self._lists is not None:
                    self._lists.add_to(store, issuers)
                if len(self._revocation_stores) >= STORE_LIMIT:
                    self._revocation_stores.pop(next(iter(self._revocation_stores)))
                self._revocation_stores[key] = store
        return store


@dataclass(frozen=True, slots=True)
class _Failure:
    """An X509_V_ERR code, where on the path (0 = the certificate itself), and a sentence."""

    code: int
    depth: int
    reason: str


def _purpose_fault(
    chain: Sequence[Certificate], purpose: Literal["sign", "encrypt"], anchors: frozenset[Certificate]
) -> str:
    """RFC 8550 section 4.4.4: emailProtection (or no extension) below the anchor; and a signing key."""
    for certificate in chain:
        if certificate in anchors and certificate is not chain[0]:
            break
        if not certificate.for_email():
            return f"the extended key usage of {certificate.subject} does not allow e-mail (emailProtection)"
    if purpose == "sign" and not chain[0].may_sign():
        return "its key usage does not allow signing"
    return ""


def _strength_fault(chain: Sequence[Certificate]) -> str:
    """Weak digests and short keys anywhere on the path; an anchor's own signature proves nothing."""
    for certificate in chain:
        key = certificate.public_key
        if isinstance(key, rsa.RSAPublicKey) and not RSA_MINIMUM <= key.key_size <= RSA_MAXIMUM:
            return f"{certificate.subject} has an RSA key of {key.key_size} bits"
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < 256:
            return f"{certificate.subject} has a key on {key.curve.name}"
        if certificate.algorithm == "dsa":
            return f"{certificate.subject} has a DSA key"
        if certificate is not chain[-1] and certificate.signature_hash not in _STRONG_HASHES:
            return f"{certificate.subject} is signed with {certificate.signature_hash or 'an unknown digest'}"
    return ""


def _to_openssl(certificate: Certificate) -> crypto.X509:
    return crypto.load_certificate(crypto.FILETYPE_ASN1, certificate.der)


def _to_openssl_anchor(anchor: Certificate) -> crypto.X509:
    try:
        return _to_openssl(anchor)
    except crypto.Error as error:
        raise KeyStoreError(f"the trust anchor {anchor.subject} is not readable by OpenSSL") from error


def _to_openssl_or_none(certificate: Certificate) -> crypto.X509 | None:
    """One bad certificate among those that a message brings must not spoil the path over the others."""
    try:
        return _to_openssl(certificate)
    except crypto.Error:
        return None


def _to_certificate(certificate: Any) -> Certificate | None:
    try:
        return Certificate.from_der(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
    except (CertificateError, crypto.Error):
        return None


def _files(path: Path) -> list[Path]:
    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise KeyStoreError("there is no such file or folder of certificates", where=str(path))
        return sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in FILE_SUFFIXES and not file.name.startswith(".") and file.is_file()
        )
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(path)) from error
