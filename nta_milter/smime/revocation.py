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


@dataclass(frozen=True, slots=True)
class _File:
    """What one file held when it had this time and size."""

    stamp: tuple[int, int]
    lists: tuple[tuple[str, Any], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class RevocationLists:
    """The lists that could be read, by issuer, and in ``problems`` a sentence about each that could not."""

    folder: Path | None = None
    _files: Mapping[Path, _File] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, folder: Path) -> RevocationLists:
        """Load every .crl, .pem and .der file, PEM or DER.

        A list that cannot be read is left out: what it would say is unknown then, and mail goes on.
        Raises KeyStoreError when the folder itself cannot be read.
        """
        return cls(folder, _load(folder, {}))

    @classmethod
    def of(cls, data: bytes) -> RevocationLists:
        """The lists in one file's content. Raises ValueError: there is none, or one cannot be read."""
        return cls(None, {Path(): _File((0, 0), _parse(data))})

    def refreshed(self) -> RevocationLists:
        """The lists as the folder has them now: itself where nothing has changed.

        Only files that are new or changed are read. A folder that cannot be read changes nothing.
        """
        if self.folder is None:
            return self
        try:
            files = _load(self.folder, self._files)
        except KeyStoreError:
            return self
        return self if files == self._files else RevocationLists(self.folder, files)

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence about each file that could not be read."""
        return tuple(file.problem for file in self._files.values() if file.problem)

    def __len__(self) -> int:
        return sum(len(file.lists) for file in self._files.values())

    def add_to(self, store: crypto.X509Store, issuers: Iterable[bytes]) -> None:
        """Give an OpenSSL store the lists of some issuers (DER Names), and no more: they may be large."""
        wanted = set()
        for issuer in issuers:
            try:
                wanted.add(_name(x509.Name.load(issuer)))
            except PARSE_ERRORS:
                continue
        for file in self._files.values():
            for name, item in file.lists:
                if name in wanted:
                    store.add_crl(item)


def _load(folder: Path, known: Mapping[Path, _File]) -> dict[Path, _File]:
    try:
        names = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise KeyStoreError(f"cannot be read ({error.strerror})", where=str(folder)) from error
    files = {}
    for name in names:
        try:
            status = name.stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError as error:
            files[name] = _File((0, 0), problem=f"{name}: cannot be read ({error.strerror})")
            continue
        old = known.get(name)
        files[name] = old if old is not None and old.stamp == stamp else _read(name, stamp)
    return files


def _read(file: Path, stamp: tuple[int, int]) -> _File:
    try:
        if stamp[1] > SIZE_LIMIT:
            raise ValueError(f"more than {SIZE_LIMIT} bytes")
        return _File(stamp, _parse(file.read_bytes()))
    except OSError as error:
        return _File(stamp, problem=f"{file}: cannot be read ({error.strerror})")
    except ValueError as error:
        return _File(stamp, problem=f"{file}: {error}")


def _parse(data: bytes) -> tuple[tuple[str, Any], ...]:
    """Each list with its issuer's name. Raises ValueError."""
    try:
        found = tuple((_name(read(der)["tbs_cert_list"]["issuer"]), load_crl(der)) for der in ders(data))
    except PARSE_ERRORS as error:
        raise ValueError(f"not a certificate revocation list ({first_line(error)})") from error
    if not found:
        raise ValueError("no certificate revocation list in it")
    return found


def read(der: bytes) -> Any:
    """One list as asn1crypto reads it; raises one of PARSE_ERRORS."""
    found = crl.CertificateList.load(der, strict=True)
    if found["tbs_cert_list"]["version"].native not in (None, "v2"):
        raise ValueError("a version that there is not")
    return found


def _name(name: Any) -> str:
    """A name such that equal ones are equal (RFC 5280 section 7.1)."""
    hashable: str = name.hashable
    return hashable


def ders(data: bytes) -> list[bytes]:
    """The lists of a file, PEM or DER; raises one of PARSE_ERRORS."""
    if not pem.detect(data):
        return [data]
    return [der for label, _, der in pem.unarmor(data, multiple=True) if label == "X509 CRL"]
