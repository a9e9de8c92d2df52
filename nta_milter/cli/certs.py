"""``nta-milter certs``: recipients' certificates, configured and kept, and lists of revoked ones."""

from __future__ import annotations

import argparse
import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded, moment
from nta_milter.cli.stored import record
from nta_milter.errors import CertificateError, ConfigurationError, KeyStoreError
from nta_milter.lookup.name import domain_name
from nta_milter.smime.certificate import Certificate, RecipientCertificate, certificates_from_file
from nta_milter.smime.directory import CIPHERS, CertificateDirectory, entry_file, format_entry
from nta_milter.smime.harvest import HarvestStore, write_atomically
from nta_milter.smime.inventory import stage
from nta_milter.smime.keystore import certificate_addresses
from nta_milter.worker.lists import Attempt, Lists, Row

State = Literal["configured", "kept", "pending"]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``certs list``, ``add``, ``accept``, ``forget`` and ``crls``."""
    family = commands.add_parser(
        "certs",
        help="show, add, accept or forget recipients' certificates",
        description="The certificates that mail is encrypted to: configured for an address or a domain's "
        "gateway (the folder smime.certificates), or kept from signed mail (smime.harvested).",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="show every certificate that is known",
        description="Show every configured, kept and waiting certificate. Exit status 1 if there is none.",
    )
    listing.add_argument("name", nargs="?", metavar="NAME", help="only this address or domain")
    listing.add_argument(
        "--at", type=moment, metavar="MOMENT", help="as of this moment, ISO 8601 (default: now)"
    )
    listing.set_defaults(run=_list)
    add = actions.add_parser(
        "add",
        help="configure a certificate for an address or a domain's gateway",
        description="Configure a certificate (PEM or DER): a person's for an address, a gateway's for a "
        "whole domain. The milter uses it after a reload.",
    )
    add.add_argument("name", metavar="NAME", help="address, or domain whose gateway has the certificate")
    add.add_argument("file", type=Path, metavar="FILE", help="the certificate, PEM or DER")
    add.add_argument(
        "--cipher", choices=CIPHERS, metavar="CIPHER",
        help=f"content encryption that the owner reads: {', '.join(CIPHERS)} (default: smime.cipher)",
    )  # fmt: skip
    add.add_argument(
        "--key-transport", choices=("v15", "oaep"), default="v15",
        help="how an RSA key carries the content key (default: %(default)s)",
    )  # fmt: skip
    add.add_argument("--other-name", action="store_true", help="take it though it does not name NAME")
    add.add_argument("--replace", action="store_true", help="replace the certificate that is configured")
    add.set_defaults(run=_add)
    accept = actions.add_parser(
        "accept",
        help="use the certificate that waits for an address",
        description="Let the certificate that a sender changed to replace the kept one. Ask the sender by "
        "another way first whether the key is really new. Exit status 1 if none waits.",
    )
    accept.add_argument("name", metavar="ADDRESS", help="the sender's address")
    accept.set_defaults(run=_accept)
    forget = actions.add_parser(
        "forget",
        help="remove the certificates of an address or domain",
        description="Remove what is configured, kept and waiting. Exit status 1 if there was nothing.",
    )
    forget.add_argument("name", metavar="NAME", help="address or domain")
    forget.set_defaults(run=_forget)
    lists = actions.add_parser(
        "crls",
        help="show the revocation lists that known certificates name",
        description="Show the list of each address that a known certificate names (plain HTTP), and what "
        "became of the worker's last try to fetch it. Exit status 1 if one is missing or not in force, or "
        "if none is named.",
    )
    lists.add_argument("--fetch", action="store_true", help="fetch every list first, now")
    lists.set_defaults(run=_crls)
    for parser in (listing, add, accept, forget, lists):
        add_config(parser)
        add_json(parser)


def _list(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    wanted = None if arguments.name is None else _name(arguments.name)
    at = arguments.at or datetime.now(UTC)
    directory = CertificateDirectory.load(settings.smime.certificates)
    store = HarvestStore(settings.smime.harvested)
    rows: list[tuple[str, State, RecipientCertificate]] = [
        (name, "configured", entry) for name, entries in directory.entries.items() for entry in entries
    ]
    rows += [(name, "kept", entry) for name, entry in store.entries()]
    rows += [(name, "pending", entry) for name, entry in store.entries("pending")]
    rows = [row for row in rows if wanted is None or row[0] == wanted]
    if arguments.json:
        print(json.dumps([_plain(*row, at) for row in rows], indent=2, ensure_ascii=False))
    else:
        for name, state, entry in rows:
            certificate = entry.certificate
            kind = entry.certificate_class if state == "configured" else state
            life = f"{stage(certificate, at)} (until {certificate.not_after:%Y-%m-%d})"
            print(f"{name}: {kind}: {certificate.subject}: {_fault(entry, at) or life}")
        if not rows:
            print("no certificates")
    return 0 if rows else EXIT_NO


def _plain(name: str, state: State, entry: RecipientCertificate, at: datetime) -> dict[str, Any]:
    certificate = entry.certificate
    return {
        "name": name,
        "state": state,
        "class": entry.certificate_class,
        "subject": certificate.subject,
        "emails": list(certificate.emails),
        "not_after": certificate.not_after.isoformat(),
        "days_left": (certificate.not_after - at).days,
        "stage": stage(certificate, at),
        "usable": not _fault(entry, at),
        "fault": _fault(entry, at) or None,
        "cipher": entry.cipher,
        "key_transport": entry.key_transport,
        "sha256": certificate.fingerprint,
    }


def _fault(entry: RecipientCertificate, at: datetime) -> str:
    try:
        entry.usable_at(at)
    except CertificateError as error:
        return error.message
    return ""


def _add(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    name = _name(arguments.name)
    certificates = certificates_from_file(arguments.file)
    entry = RecipientCertificate(
        certificates[0],
        arguments.key_transport,
        arguments.cipher,
        "configured" if "@" in name else "gateway",
    )
    entry.usable_at(datetime.now(UTC))
    if not arguments.other_name and not _names(entry.certificate, name):
        found = ", ".join(entry.certificate.emails) or "no address"
        text = f"the certificate names {found} and not {name}; --other-name takes it all the same"
        raise CertificateError(text, where=str(arguments.file))
    target = entry_file(settings.smime.certificates, name)
    if target.exists() and not arguments.replace:
        raise ConfigurationError("is there already; --replace replaces it", where=str(target))
    record(settings, _event(Event.CERTIFICATE_SET, name, entry.certificate))
    write_atomically(target, format_entry(entry), mode=0o644)
    return _report(arguments, name, entry, f"configured in {target}")


def _names(certificate: Certificate, name: str) -> bool:
    """Whether a certificate names an address, or for a domain anybody or anything in it."""
    if "@" in name:
        return name in {email.lower() for email in certificate.emails}
    return name in {address.rpartition("@")[2] for address in certificate_addresses(certificate)}


def _accept(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    name = _name(arguments.name)
    store = HarvestStore(settings.smime.harvested)
    waiting = [entry for address, entry in store.entries("pending") if address == name]
    if not waiting:
        print(f"no certificate waits for {name}")
        return EXIT_NO
    record(settings, _event(Event.CERTIFICATE_SET, name, waiting[0].certificate))
    store.accept(name)
    return _report(arguments, name, waiting[0], "accepted")


def _forget(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    name = _name(arguments.name)
    record(settings, _event(Event.CERTIFICATE_REMOVED, name, None))
    file = entry_file(settings.smime.certificates, name)
    try:
        file.unlink()
        removed = True
    except FileNotFoundError:
        removed = False
    except OSError as error:
        raise KeyStoreError(f"cannot be removed ({error.strerror})", where=str(file)) from error
    removed = HarvestStore(settings.smime.harvested).forget(name) or removed
    if arguments.json:
        print(json.dumps({"name": name, "removed": removed}))
    else:
        print(f"{name}: {'removed' if removed else 'nothing is known'}")
    return 0 if removed else EXIT_NO


def _crls(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    if settings.smime.crls is None:
        raise ConfigurationError(
            "names no folder, so that nothing is known to be revoked", where="smime.crls"
        )
    folder = settings.smime.crls
    lists = Lists(settings, lambda: datetime.now(UTC))
    if arguments.fetch:
        lists.round(every=True)
    rows = list(lists.rows())
    if arguments.json:
        print(json.dumps([_plain_list(row, folder) for row in rows], indent=2, ensure_ascii=False))
    else:
        for row in rows:
            print(f"{row.place.url}: {_list_words(row)}")
        if not rows:
            print("no known certificate names a list")
    return 0 if rows and all(row.state == "current" for row in rows) else EXIT_NO


def _list_words(row: Row) -> str:
    words: list[str] = [row.state]
    if row.held is not None:
        until = "" if row.held.next_update is None else f" until {row.held.next_update:%Y-%m-%d %H:%M} UTC"
        words.append(f"{row.held.entries} revoked, of {row.held.this_update:%Y-%m-%d %H:%M}{until}")
    if row.attempt is None:
        words.append("never fetched")
    elif row.attempt.error:
        words.append(f"last try {_time(row.attempt):%Y-%m-%d %H:%M} UTC: {row.attempt.error}")
    return "; ".join(words)


def _plain_list(row: Row, folder: Path) -> dict[str, Any]:
    held, attempt = row.held, row.attempt
    return {
        "url": row.place.url,
        "issuer": row.place.issuer,
        "state": row.state,
        "file": str(row.place.file(folder)),
        "this_update": None if held is None else held.this_update.isoformat(),
        "next_update": None if held is None or held.next_update is None else held.next_update.isoformat(),
        "revoked": None if held is None else held.entries,
        "tried_at": None if attempt is None else _time(attempt).isoformat(timespec="seconds"),
        "error": None if attempt is None else attempt.error or None,
    }


def _time(attempt: Attempt) -> datetime:
    return datetime.fromtimestamp(attempt.at, UTC)


def _report(arguments: argparse.Namespace, name: str, entry: RecipientCertificate, text: str) -> int:
    if arguments.json:
        state: State = "configured" if entry.certificate_class != "personal" else "kept"
        print(json.dumps(_plain(name, state, entry, datetime.now(UTC)), indent=2, ensure_ascii=False))
    else:
        print(f"{name}: {entry.certificate.subject}: {text}")
    return 0


def _name(text: str) -> str:
    """An address or domain in lower case, its domain as A-labels."""
    local, at, domain = text.rpartition("@")
    found = domain_name(domain)
    if found is None or (at and not local):
        raise ConfigurationError("is neither an address nor a domain", where=text)
    return f"{local.lower()}{at}{found}"


def _event(event: Event, name: str, certificate: Certificate | None) -> AuditRecord:
    details = {"name": name, "by": getpass.getuser()}
    if certificate is not None:
        details |= {"subject": certificate.subject, "sha256": certificate.fingerprint}
    recipients = (name,) if "@" in name else ()
    return AuditRecord(datetime.now(UTC), event, "", "", recipients, "", (), details)
