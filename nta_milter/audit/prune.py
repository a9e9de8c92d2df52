"""Removes old records from the begin of each chain, up to a checkpoint, so that what is left can be verified.

What is removed is verified before: the rest of a chain that somebody has changed stays as evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nta_milter.audit.chain import Fault, Signer, follow, signed
from nta_milter.audit.events import AuditRecord, Event
from nta_milter.errors import KeyStoreError
from nta_milter.store.records import Checkpoint, Records

PIECE = 2_000
"""Records that are removed in one transaction, where checkpoints allow: who writes one waits for it."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """One chain: how many records went, the number of the last one, how many older ones no checkpoint covers
    yet, and what keeps the rest.
    """

    writer: str
    removed: int
    last: int
    uncovered: int
    fault: Fault | None

    def record(self, before: datetime, at: datetime, by: str = "") -> AuditRecord:
        """The event; ``by`` names the person who asked for it."""
        details = {
            "chain": self.writer,
            "records": str(self.removed),
            "last": str(self.last),
            "before": before.isoformat(),
        }
        return AuditRecord(at, Event.PRUNED, "-", "", (), "", (), {**details, "by": by} if by else details)


def prune(
    records: Records,
    keys: Mapping[str, Ed25519PublicKey],
    before: datetime,
    at: datetime,
    signer: Signer | None,
) -> Iterator[Pruned]:
    """Each chain that has older records; without a signer, what would be done.

    Any number of hosts may prune at the same time.

    Raises:
        KeyStoreError: the signer's public half is not among the keys, so that nobody would believe it.
        StoreUnavailable: the database cannot be changed; what was removed before that stays removed.
    """
    if signer is not None and signer.key_id not in keys:
        raise KeyStoreError("its public half is not in audit.pem of store.public", where="audit-key")
    for writer in records.writers():
        found = _chain(records, writer, keys, before, at, signer)
        if found is not None:
            yield found


def _chain(
    records: Records,
    writer: str,
    keys: Mapping[str, Ed25519PublicKey],
    before: datetime,
    at: datetime,
    signer: Signer | None,
) -> Pruned | None:
    limit = records.older(writer, before)
    if not limit:
        return None
    checkpoints = records.checkpoints(writer)
    known = signed(checkpoints, keys)
    if isinstance(known, Fault):
        return Pruned(writer, 0, 0, 0, known)
    start, digest = known.start
    usable = [each for each in checkpoints if start < each.sequence <= limit]
    removed, last = 0, start
    for end in _pieces(usable, start):
        fault = follow(records, writer, (last, digest), known.hashes, end.sequence).fault
        if fault is not None:
            if _start(records, writer, keys) != (start if signer is None else last):
                fault = None  # another removes them
            return Pruned(writer, removed, last if removed else 0, 0, fault) if removed or fault else None
        removed += end.sequence - last if signer is None else records.remove(signer.pruned(end, at))
        last, digest = end.sequence, end.hash
    uncovered = limit - last
    return Pruned(writer, removed, last if removed else 0, uncovered, None) if removed or uncovered else None


def _pieces(checkpoints: Sequence[Checkpoint], sequence: int) -> Iterator[Checkpoint]:
    """Of a chain's checkpoints those that bound pieces after a record."""
    for number, each in enumerate(checkpoints, 1):
        if number == len(checkpoints) or checkpoints[number].sequence - sequence > PIECE:
            yield each
            sequence = each.sequence


def _start(records: Records, writer: str, keys: Mapping[str, Ed25519PublicKey]) -> int:
    """The number of the record that a chain is pruned up to now."""
    known = signed(records.checkpoints(writer), keys)
    return -1 if isinstance(known, Fault) else known.start[0]
