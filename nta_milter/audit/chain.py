"""Chains of records that show what was changed, removed or added, and checkpoints signed with Ed25519.

Each record's hash covers the hash before it. Who can write to the database could build a chain anew; so
the worker signs where each chain stands, with a key that no database holds. The checkpoint that old records
were removed up to is signed as such: no other first record but number 1 is believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from nta_milter.audit.events import moment
from nta_milter.config.model import Settings
from nta_milter.config.secrets import secret
from nta_milter.errors import KeyStoreError, SealError
from nta_milter.store.records import Checkpoint, Record, Records


def link(before: str, line: bytes) -> str:
    """A record's hash: SHA-256 over the hash before it and its line, in hex."""
    return hashlib.sha256(before.encode("ascii") + b"\n" + line).hexdigest()


def key_id(public: Ed25519PublicKey) -> str:
    """The first 8 bytes of the SHA-256 of a public key, in hex."""
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def statement(writer: str, sequence: int, at: datetime, digest: str, *, pruned: bool = False) -> bytes:
    """What a checkpoint's signature covers: that the chain stands so, or was ``pruned`` up to there."""
    fields = {"writer": writer, "sequence": sequence, "at": at.isoformat(), "hash": digest}
    kind = b"nta-milter audit pruned\n" if pruned else b"nta-milter audit checkpoint\n"
    return kind + json.dumps(fields, sort_keys=True).encode("ascii")


class Signer:
    """Signs checkpoints."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())

    @classmethod
    def parse(cls, pem: bytes, where: str) -> Signer:
        """From a private key in PEM form (PKCS#8, Ed25519); raises KeyStoreError."""
        try:
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError) as error:
            raise KeyStoreError("is not a private key in PEM form", where=where) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyStoreError("is not an Ed25519 key", where=where)
        return cls(key)

    @classmethod
    def of(cls, settings: Settings) -> Signer | None:
        """With the secret ``audit-key``; None where nobody gave one. Raises KeyStoreError."""
        pem = secret("audit-key", settings)
        return None if pem is None else cls.parse(pem + b"\n", "audit-key")

    def sign(self, records: Records, at: datetime) -> tuple[Checkpoint, ...]:
        """A checkpoint for every chain that has grown since its last; raises StoreUnavailable."""
        made = []
        for writer in records.writers():
            sequence, digest = records.last(writer)
            checkpoint = self._signed(writer, sequence, digest, at, pruned=False)
            if records.add_checkpoint(checkpoint):
                made.append(checkpoint)
        return tuple(made)

    def pruned(self, checkpoint: Checkpoint, at: datetime) -> Checkpoint:
        """A checkpoint signed anew, as the one that older records were removed up to."""
        return self._signed(checkpoint.writer, checkpoint.sequence, checkpoint.hash, at, pruned=True)

    def _signed(self, writer: str, sequence: int, digest: str, at: datetime, *, pruned: bool) -> Checkpoint:
        signature = self._key.sign(statement(writer, sequence, at, digest, pruned=pruned))
        return Checkpoint(writer, sequence, at, digest, signature, self.key_id)


def load_public(path: Path) -> dict[str, Ed25519PublicKey]:
    """The public keys of a PEM file, newest first, by key id; raises KeyStoreError."""
    end = b"-----END PUBLIC KEY-----"
    try:
        blocks = path.read_bytes().split(end)[:-1]
        keys = [load_pem_public_key(block.strip() + b"\n" + end + b"\n") for block in blocks]
    except OSError as error:
        raise KeyStoreError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise KeyStoreError("is not a public key in PEM form", where=str(path)) from error
    found = {key_id(key): key for key in keys if isinstance(key, Ed25519PublicKey)}
    if len(found) != len(keys) or not found:
        raise KeyStoreError("holds no Ed25519 key, or another one", where=str(path))
    return found


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a chain is broken, and how."""

    writer: str
    sequence: int
    text: str


@dataclass(frozen=True, slots=True)
class Verified:
    """One chain: its records, the number and moment of the first and the number of the last one, how far the
    checkpoints reach, when it was pruned, its first fault.

    ``first`` is 0 where there is no record. ``pruned_at`` is None where none was removed.
    """

    writer: str
    records: int
    first: int
    last: int
    signed: int
    since: datetime | None
    pruned_at: datetime | None
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Signed:
    """What the checkpoints of a chain vouch for: the hash at each, and which one it was pruned up to."""

    hashes: Mapping[int, str]
    base: Checkpoint | None

    @property
    def start(self) -> tuple[int, str]:
        """Number and hash of the record before the first one."""
        return (0, "") if self.base is None else (self.base.sequence, self.base.hash)


def verify(records: Records, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[Verified]:
    """Every chain from its begin, or from the checkpoint that older records were removed up to."""
    for writer in records.writers():
        yield _verify(records, writer, keys)


def signed(checkpoints: Iterable[Checkpoint], keys: Mapping[str, Ed25519PublicKey]) -> Signed | Fault:
    """What a chain's checkpoints say together, or the first one that is not ours."""
    hashes: dict[int, str] = {}
    base = None
    for checkpoint in checkpoints:
        key = keys.get(checkpoint.key_id)
        if key is None:
            text = f"the checkpoint is signed with the unknown key {checkpoint.key_id}"
            return Fault(checkpoint.writer, checkpoint.sequence, text)
        if _says(checkpoint, key, pruned=True):
            base = checkpoint
        elif not _says(checkpoint, key, pruned=False):
            return Fault(checkpoint.writer, checkpoint.sequence, "the checkpoint's signature is wrong")
        hashes[checkpoint.sequence] = checkpoint.hash
    return Signed(hashes, base)


@dataclass(frozen=True, slots=True)
class Followed:
    """A part of a chain that was followed: number and moment of its first record, number of its last good
    one, and what is wrong after that.
    """

    first: int
    since: datetime | None
    last: int
    fault: Fault | None


def follow(
    records: Records, writer: str, begin: tuple[int, str], hashes: Mapping[int, str], upto: int | None = None
) -> Followed:
    """Follow a chain after a record with this number and hash, to its end or up to the record ``upto``.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    first, since, fault = 0, None, None
    sequence, digest = begin
    try:
        for record in records.read(writer, sequence if upto else 0, upto):
            fault = _fault(record, sequence, digest, hashes)
            if fault:
                return Followed(first, since, sequence, fault)
            if not first:
                first, since = record.sequence, record.at
            sequence, digest = record.sequence, record.hash
    except SealError as error:
        return Followed(first, since, sequence, Fault(writer, sequence + 1, error.message))
    end = upto or max(hashes, default=0)
    if sequence < end:
        fault = Fault(writer, sequence + 1, f"records up to {end} were signed and are missing")
    return Followed(first, since, sequence, fault)


def _fault(record: Record, sequence: int, digest: str, hashes: Mapping[int, str]) -> Fault | None:
    """What is wrong with a record after the one with this number and hash."""
    text = ""
    if record.sequence <= sequence:
        text = f"records up to {sequence} were removed, and one of them is there"
    elif record.sequence != sequence + 1:
        text = f"records {sequence + 1} to {record.sequence - 1} are missing"
    elif record.hash != link(digest, record.line):
        text = "the record was changed, or is not the one that followed"
    elif hashes.get(record.sequence, record.hash) != record.hash:
        text = "the chain is not the one that was signed"
    elif not record.line.startswith(b'{"at": "%s"' % moment(record.at).encode("ascii")):
        text = "its moment was changed, by which old records are found"
    return Fault(record.writer, record.sequence, text) if text else None


def _verify(records: Records, writer: str, keys: Mapping[str, Ed25519PublicKey]) -> Verified:
    known = signed(records.checkpoints(writer), keys)
    if isinstance(known, Fault):
        return Verified(writer, 0, 0, 0, 0, None, None, known)
    found = follow(records, writer, known.start, known.hashes)
    return Verified(
        writer,
        records=found.last - found.first + 1 if found.first else 0,
        first=found.first,
        last=found.last,
        signed=max(known.hashes, default=0),
        since=found.since,
        pruned_at=None if known.base is None else known.base.at,
        fault=found.fault,
    )


def _says(checkpoint: Checkpoint, key: Ed25519PublicKey, *, pruned: bool) -> bool:
    covered = statement(checkpoint.writer, checkpoint.sequence, checkpoint.at, checkpoint.hash, pruned=pruned)
    try:
        key.verify(checkpoint.signature, covered)
    except InvalidSignature:
        return False
    return True


def new_key_pair() -> tuple[bytes, bytes]:
    """A new private key (PKCS#8) and its public half, both in PEM form."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, public
