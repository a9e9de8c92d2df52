"""Certificate revocation lists (RFC 5280 section 5) from a folder: never fetched in the mail path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asn1crypto import crl, pem, x509
from OpenSSL import crypto

from nta_milter.errors import KeyStoreError
from nta_milter.smime.certificate import first_line
from nta_milter.smime.compatibility import PARSE_ERRORS, load_crl

SUFFIXES = (".crl", ".pem", ".der")
SIZE_LIMIT = 67_108_864
"""Largest list that is loaded, in bytes; a national authority's may have some millions."""


@dataclass(frozen=True)
class RevocationLists:
    """The lists that could be read, by issuer, and in ``problems`` a sentence about each that could not."""

    problems: tuple[str, ...] = ()
    _lists: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, folder: Path) -> RevocationLists:
        """Load every .crl, .pem and .der file, PEM or DER.

        A list that cannot be read is left out: what it would say is unknown then, and mail goes on.
        Raises KeyStoreError when the folder itself cannot be read.
        """
        problems = []
        lists: dict[str, tuple[Any, ...]] = {}
        try:
            files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
        except OSError as error:
            raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(folder)) from error
        for file in files:
            try:
                if file.stat().st_size > SIZE_LIMIT:
                    raise ValueError(f"more than {SIZE_LIMIT} bytes")
                for der in _ders(file.read_bytes()):
                    issuer = _name(crl.CertificateList.load(der, strict=True)["tbs_cert_list"]["issuer"])
                    lists[issuer] = (*lists.get(issuer, ()), load_crl(der))
            except OSError as error:
                problems.append(f"{file}: cannot be read ({error.strerror})")
            except PARSE_ERRORS as error:
                problems.append(f"{file}: not a certificate revocation list ({first_line(error)})")
        return cls(tuple(problems), lists)

    def __len__(self) -> int:
        return sum(len(lists) for lists in self._lists.values())

    def add_to(self, store: crypto.X509Store, issuers: Iterable[bytes]) -> None:
        """Give an OpenSSL store the lists of some issuers (DER Names), and no more: they may be large."""
        for issuer in issuers:
            try:
                name = _name(x509.Name.load(issuer))
            except PARSE_ERRORS:
                continue
            for item in self._lists.get(name, ()):
                store.add_crl(item)


def _name(name: Any) -> str:
    """A name such that equal ones are equal (RFC 5280 section 7.1)."""
    hashable: str = name.hashable
    return hashable


def _ders(data: bytes) -> list[bytes]:
    if not pem.detect(data):
        return [data]
    return [der for label, _, der in pem.unarmor(data, multiple=True) if label == "X509 CRL"]
