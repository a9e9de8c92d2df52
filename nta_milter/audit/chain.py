"""Chains of records that show what was changed, removed or added, and checkpoints signed with Ed25519.

Each record's hash covers the hash before it. Who can write to the database could build a chain anew; so
the worker signs where each chain stands, with a key that no database holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
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

from nta_milter.errors import KeyStoreError
from nta_milter.store.records import Checkpoint, Record, Records


def link(before: str, line: bytes) -> str:
    """A record's hash: SHA-256 over the hash before it and its line, in hex."""
    return hashlib.sha256(before.encode("ascii") + b"\n" + line).hexdigest()


def key_id(public: Ed25519PublicKey) -> str:
    """The first 8 bytes of the SHA-256 of a public key, in hex."""
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def statement(writer: str, sequence: int, at: datetime, digest: str) -> bytes:
    """What a checkpoint's signature covers."""
    fields = {"writer": writer, "sequence": sequence, "at": at.isoformat(), "hash": digest}
    return b"nta-milter audit checkpoint\n" + json.dumps(fields, sort_keys=True).encode("ascii")


class Signer:
    """Signs checkpoints."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._key_id = key_id(key.public_key())

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

    def sign(self, records: Records, at: datetime) -> tuple[Checkpoint, ...]:
        """A checkpoint for every chain that has grown since its last; raises StoreUnavailable."""
        made = []
        for writer in records.writers():
            sequence, digest = records.last(writer)
            signature = self._key.sign(statement(writer, sequence, at, digest))
            checkpoint = Checkpoint(writer, sequence, at, digest, signature, self._key_id)
            if records.add_checkpoint(checkpoint):
                made.append(checkpoint)
        return tuple(made)


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
    """One chain: how many records, the first and last one, how far the checkpoints reach, its first fault.

    A chain whose first record is not number 1 was pruned up to a checkpoint.
    """

    writer: str
    records: int
    first: int
    last: int
    signed: int
    fault: Fault | None


def verify(records: Records, keys: dict[str, Ed25519PublicKey]) -> Iterator[Verified]:
    """Every chain from its begin, or from the checkpoint that older records were removed up to."""
    for writer in records.writers():
        yield _verify(records, writer, keys)


def _verify(records: Records, writer: str, keys: dict[str, Ed25519PublicKey]) -> Verified:
    signed: dict[int, str] = {}
    for checkpoint in records.checkpoints(writer):
        text = _signature_fault(checkpoint, keys)
        if text:
            return Verified(writer, 0, 0, 0, 0, Fault(writer, checkpoint.sequence, text))
        signed[checkpoint.sequence] = checkpoint.hash
    latest = max(signed, default=0)
    first, sequence, digest = 0, 0, ""
    fault = None
    for record in records.read(writer):
        if not first:
            first = record.sequence
            if first - 1 in signed:  # older ones were pruned
                sequence, digest = first - 1, signed[first - 1]
        text = _record_fault(record, sequence, digest, signed)
        if text:
            fault = Fault(writer, record.sequence, text)
            break
        sequence, digest = record.sequence, record.hash
    if fault is None and sequence < latest:
        fault = Fault(writer, sequence + 1, f"records up to {latest} were signed and are missing")
    count = sequence - first + 1 if first and sequence >= first else 0
    return Verified(writer, count, first, sequence, latest, fault)


def _record_fault(record: Record, sequence: int, digest: str, signed: dict[int, str]) -> str:
    """What is wrong with a record after the one with this sequence and hash; empty when nothing is."""
    if record.sequence != sequence + 1:
        return f"records {sequence + 1} to {record.sequence - 1} are missing"
    if record.hash != link(digest, record.line):
        return "the record was changed, or is not the one that followed"
    if signed.get(record.sequence, record.hash) != record.hash:
        return "the chain is not the one that was signed"
    return ""


def _signature_fault(checkpoint: Checkpoint, keys: dict[str, Ed25519PublicKey]) -> str:
    key = keys.get(checkpoint.key_id)
    if key is None:
        return f"the checkpoint is signed with the unknown key {checkpoint.key_id}"
    covered = statement(checkpoint.writer, checkpoint.sequence, checkpoint.at, checkpoint.hash)
    try:
        key.verify(checkpoint.signature, covered)
    except InvalidSignature:
        return "the checkpoint's signature is wrong"
    return ""


def new_key_pair() -> tuple[bytes, bytes]:
    """A new private key (PKCS#8) and its public half, both in PEM form."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, public
