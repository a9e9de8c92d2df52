"""``nta-milter audit``: verify that the record of events is whole, give it out, remove what is old."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from nta_milter.audit.chain import Fault, Signer, Verified, load_public, verify
from nta_milter.audit.prune import Pruned, prune
from nta_milter.cli import stored
from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded, moment
from nta_milter.config.model import Settings
from nta_milter.errors import ConfigurationError
from nta_milter.store import migrations
from nta_milter.store.records import Record, Records
from nta_milter.store.store import open_database


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``audit verify``, ``audit export`` and ``audit prune``."""
    family = commands.add_parser(
        "audit",
        help="verify, export or shorten the record of events",
        description="The record of events in the store (audit.target = store): a chain for each writer, and "
        "checkpoints that the worker signs.",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "verify",
        help="show whether any record was changed, removed or added",
        description="Follow each chain from its first record and check every checkpoint with the public key "
        "audit.pem of store.public. Where old records were removed, a signed checkpoint vouches for the "
        "rest, and the moment of the first one that is left is told. Exit status 1 if a chain is broken.",
    )
    add_config(check)
    add_json(check)
    check.set_defaults(run=_verify)
    export = actions.add_parser(
        "export",
        help="print the records as JSON lines",
        description="Print the records of all chains as JSON lines, each with its writer, number and hash.",
    )
    export.add_argument("--since", type=moment, metavar="TIME", help="from this moment on (ISO 8601)")
    export.add_argument("--until", type=moment, metavar="TIME", help="up to this moment (ISO 8601)")
    export.add_argument("--writer", metavar="NAME", help="this writer's chain alone")
    add_config(export)
    export.set_defaults(run=_export)
    shorten = actions.add_parser(
        "prune",
        help="remove old records, so that what is left can still be verified",
        description="Remove each chain's records from its begin up to a moment, as far as a checkpoint "
        "covers them, and sign that checkpoint as the new begin; needs the private key audit-key. A chain "
        "that is broken stays as it is: exit status 1. That records were removed is recorded. The worker "
        "does the same every day where audit.retention is set.",
    )
    shorten.add_argument(
        "--before", type=moment, required=True, metavar="TIME", help="remove what is older (ISO 8601)"
    )
    shorten.add_argument("--dry-run", action="store_true", help="remove nothing, and say what would go")
    add_config(shorten)
    add_json(shorten)
    shorten.set_defaults(run=_prune)


def _records(settings: Settings) -> Records:
    if settings.audit.target != "store":
        raise ConfigurationError("is not store: records in a file have no chain", where="audit.target")
    database = open_database(settings)
    migrations.require(database)
    return Records(database)


def _verify(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    found = list(verify(_records(settings), load_public(settings.store.public / "audit.pem")))
    if arguments.json:
        print(json.dumps([_as_json(each) for each in found], indent=2))
    else:
        for each in found:
            print(_as_text(each))
    return EXIT_NO if any(each.fault for each in found) else 0


def _as_json(found: Verified) -> dict[str, object]:
    return {
        "writer": found.writer,
        "records": found.records,
        "first": found.first,
        "last": found.last,
        "signed": found.signed,
        "since": _iso(found.since),
        "pruned_at": _iso(found.pruned_at),
        "fault": _fault_as_json(found.fault),
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def _fault_as_json(fault: Fault | None) -> dict[str, object] | None:
    return None if fault is None else {"record": fault.sequence, "text": fault.text}


def _as_text(found: Verified) -> str:
    text = (
        f"{found.writer}: no records"
        if not found.records
        else (f"{found.writer}: records {found.first} to {found.last}, since {found.since:%Y-%m-%d %H:%M:%S}")
    )
    text += f", signed up to {found.signed}"
    if found.pruned_at is not None:
        text += f", older ones removed on {found.pruned_at:%Y-%m-%d}"
    return f"{text}: {_broken(found.fault) if found.fault else 'whole'}"


def _broken(fault: Fault) -> str:
    return f"BROKEN at record {fault.sequence}: {fault.text}"


def _prune(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    records, at = _records(settings), datetime.now(UTC)
    if arguments.before > at:
        raise ConfigurationError("lies in the future", where="--before")
    keys = load_public(settings.store.public / "audit.pem")
    signer = None if arguments.dry_run else Signer.of(settings)
    if signer is None and not arguments.dry_run:
        raise ConfigurationError(
            "is needed to sign where the chains begin then: name it in secrets.audit_key", where="audit-key"
        )
    found = []
    for each in prune(records, keys, arguments.before, at, signer):
        found.append(each)
        if signer is not None and each.removed:
            stored.record(settings, each.record(arguments.before, at, getpass.getuser()))
    if arguments.json:
        print(json.dumps([_pruned_as_json(each, arguments.dry_run) for each in found], indent=2))
    elif found:
        print("\n".join(_pruned_as_text(each, arguments.dry_run) for each in found))
    else:
        print("nothing is that old")
    return EXIT_NO if any(each.fault for each in found) else 0


def _pruned_as_json(found: Pruned, dry: bool) -> dict[str, object]:
    return {
        "writer": found.writer,
        "would_remove" if dry else "removed": found.removed,
        "last": found.last,
        "uncovered": found.uncovered,
        "fault": _fault_as_json(found.fault),
    }


def _pruned_as_text(found: Pruned, dry: bool) -> str:
    parts = []
    if found.removed:
        verb = "would be removed" if dry else "removed"
        parts.append(f"{found.removed} records up to number {found.last} {verb}")
    if found.uncovered:
        parts.append(f"{found.uncovered} stay until the worker has signed a checkpoint after them")
    if found.fault is not None:
        parts.append(f"{_broken(found.fault)}; the rest stays")
    return f"{found.writer}: {', '.join(parts)}"


def _export(arguments: argparse.Namespace) -> int:
    records = _records(loaded(arguments).settings)
    writers = records.writers() if arguments.writer is None else (arguments.writer,)
    for record in _selected(records, writers, arguments.since, arguments.until):
        fields = {
            "writer": record.writer,
            "sequence": record.sequence,
            "hash": record.hash,
            "record": json.loads(record.line),
        }
        sys.stdout.write(json.dumps(fields, ensure_ascii=False) + "\n")
    return 0


def _selected(
    records: Records, writers: tuple[str, ...], since: datetime | None, until: datetime | None
) -> Iterator[Record]:
    for writer in writers:
        for record in records.read(writer):
            if (since is None or record.at >= since) and (until is None or record.at <= until):
                yield record
