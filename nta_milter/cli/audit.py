"""``nta-milter audit``: verify that the record of events is whole, and give it out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import datetime

from nta_milter.audit.chain import Verified, load_public, verify
from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded, moment
from nta_milter.config.model import Settings
from nta_milter.errors import ConfigurationError
from nta_milter.store import migrations
from nta_milter.store.records import Record, Records
from nta_milter.store.store import open_database


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``audit verify`` and ``audit export``."""
    family = commands.add_parser(
        "audit",
        help="verify or export the record of events",
        description="The record of events in the store (audit.target = store): a chain for each writer, and "
        "checkpoints that the worker signs.",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "verify",
        help="show whether any record was changed, removed or added",
        description="Follow each chain from its first record and check every checkpoint with the public key "
        "audit.pem of store.public. Exit status 1 if a chain is broken.",
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
    fault = found.fault
    return {
        "writer": found.writer,
        "records": found.records,
        "first": found.first,
        "last": found.last,
        "signed": found.signed,
        "fault": None if fault is None else {"record": fault.sequence, "text": fault.text},
    }


def _as_text(found: Verified) -> str:
    text = f"{found.writer}: records {found.first} to {found.last}, signed up to {found.signed}"
    if found.fault is None:
        return f"{text}: whole"
    return f"{text}: BROKEN at record {found.fault.sequence}: {found.fault.text}"


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
