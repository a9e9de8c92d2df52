"""``nta-milter recipients``: how recipients prove who they are in the portal."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded, visible
from nta_milter.cli.stored import opened, record
from nta_milter.errors import ConfigurationError
from nta_milter.message.address import envelope_address, envelope_domain
from nta_milter.portal.factors import code, phone
from nta_milter.portal.locks import Lock, Locks
from nta_milter.store.rows import Factor

CODE_BYTES = 1_000
"""Longest file with an access code."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``recipients add``, ``list``, ``unlock`` and ``remove``."""
    family = commands.add_parser(
        "recipients",
        help="manage how recipients prove who they are",
        description="Access codes and telephone numbers with which recipients open messages in the portal.",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser(
        "add",
        help="set the access code or telephone number of a recipient",
        description="Set the access code or the telephone number of a recipient; an earlier one of the same "
        "kind is replaced.",
    )
    add.add_argument("address", metavar="ADDRESS", help="e-mail address of the recipient")
    given = add.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--code-file",
        type=Path,
        metavar="FILE",
        help="file with the access code that was agreed with the recipient; - is standard input",
    )
    given.add_argument(
        "--phone",
        metavar="NUMBER",
        help="mobile number, such as +31612345678, for codes by SMS; needs portal.sms_command",
    )
    add_config(add)
    add_json(add)
    add.set_defaults(run=_add)
    listing = actions.add_parser(
        "list",
        help="show for which recipients something is known",
        description="Show for which recipients an access code or telephone number is known. Codes themselves "
        "are not kept. Exit status 1 if there are none.",
    )
    listing.add_argument("address", nargs="?", metavar="ADDRESS", help="only this recipient")
    listing.add_argument(
        "--locked",
        action="store_true",
        help="who is locked out after too many wrong codes instead: by delivery, network and moment",
    )
    add_config(listing)
    add_json(listing)
    listing.set_defaults(run=_list)
    unlock = actions.add_parser(
        "unlock",
        help="let a recipient try again who is locked out after wrong codes",
        description="Forget the wrong codes for every message to a recipient, who can try again at once. "
        "A new access code does the same. Exit status 1 if there were none.",
    )
    unlock.add_argument("address", metavar="ADDRESS", help="e-mail address of the recipient")
    add_config(unlock)
    add_json(unlock)
    unlock.set_defaults(run=_unlock)
    remove = actions.add_parser(
        "remove",
        help="forget what is known of a recipient",
        description="Forget the access code and telephone number of a recipient. Exit status 1 if there was "
        "none.",
    )
    remove.add_argument("address", metavar="ADDRESS", help="e-mail address of the recipient")
    remove.add_argument("--kind", choices=(code.KIND, phone.KIND), help="only this kind")
    add_config(remove)
    add_json(remove)
    remove.set_defaults(run=_remove)


def _add(arguments: argparse.Namespace) -> int:
    address = _address(arguments.address)
    settings = loaded(arguments).settings
    if arguments.phone is not None:
        kind, value = phone.KIND, phone.normal(arguments.phone)
        if not settings.portal.sms_command:
            raise ConfigurationError(
                "is empty: nothing sends codes to a telephone", where="portal.sms_command"
            )
    else:
        kind, value = code.KIND, code.hashed(_code(arguments.code_file))
    factor = Factor(address, kind, value, getpass.getuser(), datetime.now(UTC))
    with opened(settings) as store:
        record(settings, _event(Event.FACTOR_SET, address, kind))
        store.access.put_factor(factor)
    if arguments.json:
        print(json.dumps(_plain(factor), indent=2, ensure_ascii=False))
    else:
        print(f"{address}: {kind} set")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    if arguments.locked:
        return _list_locked(arguments)
    with opened(loaded(arguments).settings) as store:
        known = store.access
        found = known.factors(_address(arguments.address)) if arguments.address else known.all_factors()
    if arguments.json:
        print(json.dumps([_plain(factor) for factor in found], indent=2, ensure_ascii=False))
    else:
        for factor in found:
            shown = factor.value if factor.kind == phone.KIND else ""
            since = factor.created_at.isoformat(timespec="minutes")
            print(f"{factor.address}\t{factor.kind}\t{shown}\t{factor.created_by}\t{since}")
    return 0 if found else EXIT_NO


def _list_locked(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    address = _address(arguments.address) if arguments.address else ""
    with opened(settings) as store:
        found = [
            lock
            for lock in Locks(store.access, settings).locked(datetime.now(UTC))
            if address in ("", lock.delivery.recipient.lower())
        ]
    if arguments.json:
        print(json.dumps([_plain_lock(lock) for lock in found], indent=2, ensure_ascii=False))
    else:
        for lock in found:
            since = lock.since.isoformat(timespec="minutes")
            who, where = visible(lock.delivery.recipient), lock.network or "everywhere"
            print(f"{who}\t{lock.delivery.id}\t{where}\t{since}")
    return 0 if found else EXIT_NO


def _plain_lock(lock: Lock) -> dict[str, str]:
    return {
        "address": lock.delivery.recipient,
        "delivery": lock.delivery.id,
        "sender": lock.delivery.author,
        "network": lock.network,
        "since": lock.since.isoformat(timespec="seconds"),
    }


def _unlock(arguments: argparse.Namespace) -> int:
    address = _address(arguments.address)
    settings = loaded(arguments).settings
    with opened(settings) as store:
        record(settings, _event(Event.UNLOCKED, address, code.KIND))
        count = Locks(store.access, settings).unlock(address)
    if arguments.json:
        print(json.dumps({"address": address, "forgotten": count}))
    else:
        print(f"{address}: {'can try again' if count else 'had no wrong codes'}")
    return 0 if count else EXIT_NO


def _remove(arguments: argparse.Namespace) -> int:
    address = _address(arguments.address)
    settings = loaded(arguments).settings
    with opened(settings) as store:
        record(settings, _event(Event.FACTOR_REMOVED, address, arguments.kind or "all"))
        count = store.access.remove_factors(address, arguments.kind)
    if arguments.json:
        print(json.dumps({"address": address, "removed": count}))
    else:
        print(f"{address}: {count} removed")
    return 0 if count else EXIT_NO


def _plain(factor: Factor) -> dict[str, str]:
    """What may be shown: never the hash of a code."""
    shown = {"phone": factor.value} if factor.kind == phone.KIND else {}
    return {
        "address": factor.address,
        "kind": factor.kind,
        **shown,
        "created_by": factor.created_by,
        "created_at": factor.created_at.isoformat(),
    }


def _address(text: str) -> str:
    address = envelope_address(text).lower()
    if not address.partition("@")[0] or not envelope_domain(address):
        raise ConfigurationError("is not an e-mail address", where=ascii(text))
    return address


def _code(file: Path) -> str:
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(CODE_BYTES + 1)
        else:
            with file.open("rb") as source:
                data = source.read(CODE_BYTES + 1)
        text = data.decode("utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except UnicodeDecodeError:
        raise ConfigurationError("is not UTF-8 text", where=str(file)) from None
    if len(data) > CODE_BYTES or "\n" in text:
        raise ConfigurationError("holds more than one line with an access code", where=str(file))
    return text


def _event(event: Event, address: str, kind: str) -> AuditRecord:
    return AuditRecord(
        at=datetime.now(UTC),
        event=event,
        queue_id="-",
        sender="",
        recipients=(address,),
        route="",
        reasons=(),
        details={"kind": kind, "by": getpass.getuser()},
    )
