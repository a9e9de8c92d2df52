"""``nta-milter keys``: our private keys, their certificates and when they expire."""

from __future__ import annotations

import argparse
import getpass
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded, moment
from nta_milter.cli.stored import record
from nta_milter.config.model import Settings
from nta_milter.config.secrets import secret
from nta_milter.errors import CertificateError, ConfigurationError, KeyStoreError
from nta_milter.lookup.name import domain_name
from nta_milter.smime.certificate import Certificate, certificates_from_pem
from nta_milter.smime.harvest import write_atomically
from nta_milter.smime.inventory import FORECAST, KeyFile, examine, opens, stage, successor, survey
from nta_milter.smime.keyfile import read_key_file
from nta_milter.smime.keystore import PrivateKey, certificate_addresses
from nta_milter.smime.pkcs12 import SIZE_LIMIT, WrongPassword
from nta_milter.smime.request import KEY_TYPES, make_request
from nta_milter.smime.trust import Trust

REQUESTS = "requests"
"""Sub-folder of the key folder with the private keys whose certificates are still asked for."""

_NAME = re.compile(r"[A-Za-z0-9_@+][A-Za-z0-9._@+-]*")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``keys list``, ``check``, ``import`` and ``request``."""
    family = commands.add_parser(
        "keys",
        help="show, check, import or request S/MIME keys",
        description="The private keys with which mail is opened and signed (the folder smime.keys).",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="show every key with the end of its certificate",
        description="Show every key: what it is bound to, what it is for, and when its certificate expires, "
        "with a forecast for 30, 14 and 7 days. Exit status 1 if there is none or a file cannot be used.",
    )
    check = actions.add_parser(
        "check",
        help="tell what is wrong with the keys, or soon will be",
        description="Check that every key file opens, that nobody else may read it, that its certificate is "
        "valid, trusted and followed by another before it expires, and that it is bound to an address. Exit "
        "status 1 if there is a fault; a warning alone changes nothing.",
    )
    for parser in (listing, check):
        parser.add_argument(
            "--at", type=moment, metavar="MOMENT", help="as of this moment, ISO 8601 (default: now)"
        )
        add_config(parser)
        add_json(parser)
    listing.set_defaults(run=_list)
    check.set_defaults(run=_check)
    _register_import(actions)
    _register_request(actions)


def _register_import(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "import",
        help="put a key file into the key folder",
        description="Open a PKCS#12 or PEM file with its password and put it into the key folder (mode 0640, "
        "the folder's group). A certificate without a key goes together with the key that nta-milter keys "
        "request made for it. The milter uses the new key after a reload.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="PKCS#12 or PEM file")
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="file with the password; asked for on a terminal if it is needed and not given",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="name in the key folder, without suffix (default: the file's)"
    )
    parser.add_argument("--replace", action="store_true", help="replace a file of the same name")
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=_import)


def _register_request(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "request",
        help="make a key pair and the request for its certificate",
        description="Make a key pair and a certificate signing request (PKCS#10) for one or more addresses, "
        "or for a domain's gateway. The private key stays here, encrypted with the secret keys-password if "
        "there is one.",
    )
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="address, or domain for its gateway (RFC 3183)"
    )
    parser.add_argument(
        "--type",
        choices=KEY_TYPES,
        default=KEY_TYPES[0],
        metavar="TYPE",
        help=f"kind of key: {', '.join(KEY_TYPES)} (default: %(default)s)",
    )
    parser.add_argument("--common-name", default="", metavar="TEXT", help="subject (default: the first NAME)")
    parser.add_argument("--organisation", default="", metavar="TEXT", help="organisation in the subject")
    parser.add_argument("--replace", action="store_true", help="replace an earlier request for the same NAME")
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=_request)


def _survey(settings: Settings) -> tuple[KeyFile, ...]:
    return survey(settings.smime.keys, _passwords(settings), settings.smime.bindings)


def _passwords(settings: Settings) -> tuple[bytes, ...]:
    password = secret("keys-password", settings)
    return () if password is None else (password,)


def _list(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    files = _survey(settings)
    at = arguments.at or datetime.now(UTC)
    keys = [key for file in files for key in file.keys]
    errors = [(file.file.name, file.error.message) for file in files if file.error is not None]
    if arguments.json:
        stages = [stage(key.certificate, at) for key in keys]
        report = {
            "keys": [_plain(key, keys, at) for key in keys],
            "errors": [{"file": name, "error": text} for name, text in errors],
            "forecast": {
                "expired": stages.count("expired"),
                **{
                    str(days): sum(
                        0 <= (key.certificate.not_after - at).total_seconds() < days * 86_400 for key in keys
                    )
                    for days in FORECAST
                },
            },
        }
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for key in keys:
            print(_line(key, keys, at))
        for name, text in errors:
            print(f"{name}: {text}")
        if not files:
            print(f"no key files in {settings.smime.keys}; nta-milter keys import FILE brings one")
    return 0 if keys and not errors else EXIT_NO


def _plain(key: PrivateKey, keys: Sequence[PrivateKey], at: datetime) -> dict[str, Any]:
    certificate = key.certificate
    follower = successor(key, keys)
    return {
        "file": key.source,
        "subject": certificate.subject,
        "addresses": sorted(key.addresses),
        "serial": f"{certificate.serial:x}",
        "algorithm": certificate.algorithm,
        "signs": certificate.may_sign(),
        "opens": opens(certificate),
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
        "days_left": (certificate.not_after - at).days,
        "stage": stage(certificate, at),
        "successor": None if follower is None else follower.source,
        "sha256": certificate.fingerprint,
    }


def _line(key: PrivateKey, keys: Sequence[PrivateKey], at: datetime) -> str:
    certificate = key.certificate
    uses = [word for word, able in (("signs", certificate.may_sign()), ("opens", opens(certificate))) if able]
    follower = successor(key, keys)
    life = f"{stage(certificate, at)} (until {certificate.not_after:%Y-%m-%d})"
    if follower is not None:
        life += f", followed by {follower.source}"
    bound = ", ".join(sorted(key.addresses)) or "nobody"
    return f"{key.source}: {certificate.subject}: {' and '.join(uses) or 'nothing'} for {bound}: {life}"


def _check(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    domains = settings.internal.sender_domains or settings.internal.domains
    findings = examine(
        _survey(settings),
        Trust.load(settings.smime.trust, crls=settings.smime.crls),
        [domain.lower() for domain in domains] if settings.smime.sign else [],
        settings.smime.bindings,
        arguments.at or datetime.now(UTC),
    )
    faults = any(finding.level == "fault" for finding in findings)
    if arguments.json:
        plain = [{"level": f.level, "subject": f.subject, "text": f.text} for f in findings]
        print(json.dumps({"ok": not faults, "findings": plain}, indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{finding.level}: {finding.subject}: {finding.text}")
        if not findings:
            print("every key is in order")
    return EXIT_NO if faults else 0


def _import(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    data = _as_pem(_read(arguments.file))
    name = arguments.name or arguments.file.stem
    if not _NAME.fullmatch(name):
        raise ConfigurationError("letters, digits and . _ @ + - make a name in the key folder", where=name)
    requested = _requested(data, settings)
    if requested is not None:
        data += b"\n" + requested.read_bytes()
    password, certificates = _open(data, arguments, settings)
    suffix = ".p12" if data.startswith(b"\x30") else ".pem"
    target = settings.smime.keys / f"{name}{suffix}"
    beside = target.with_suffix(".password")
    if not arguments.replace:
        for file in (target, beside):
            if file.exists():
                raise ConfigurationError("is there already; --replace replaces it", where=str(file))
    record(settings, _event(Event.KEY_IMPORTED, certificates[0], target.name))
    # The password first: a reload must not find the file without it.
    if password and password not in _passwords(settings):
        write_atomically(beside, password + b"\n")
    else:
        beside.unlink(missing_ok=True)
    write_atomically(target, data)
    if requested is not None:
        requested.unlink()
        requested.with_suffix(".csr").unlink(missing_ok=True)
    addresses = sorted({address for each in certificates for address in certificate_addresses(each)})
    if arguments.json:
        plain = [{"subject": c.subject, "not_after": c.not_after.isoformat()} for c in certificates]
        print(
            json.dumps(
                {"file": str(target), "keys": plain, "addresses": addresses}, indent=2, ensure_ascii=False
            )
        )
    else:
        for each in certificates:
            print(f"{target}: {each.subject}, valid until {each.not_after:%Y-%m-%d}")
        if addresses:
            print(f"It opens and signs for {', '.join(addresses)}.")
        else:
            print(f'It names no address: bind it, "{target.name}" = ["@DOMAIN"] in [smime.bindings].')
    return 0


def _as_pem(data: bytes) -> bytes:
    """A certificate in DER, as some authorities send it, in PEM; other data as it is."""
    try:
        return Certificate.from_der(data).pem() if data.startswith(b"\x30") else data
    except CertificateError:
        return data


def _requested(data: bytes, settings: Settings) -> Path | None:
    """The file of the private key that ``keys request`` made for a certificate that came without one."""
    if data.startswith(b"\x30") or b"PRIVATE KEY-----" in data:
        return None
    wanted = list(certificates_from_pem(data))
    folder = settings.smime.keys / REQUESTS
    for file in sorted(folder.glob("*.key")) if folder.is_dir() else ():
        try:
            if read_key_file(file.read_bytes() + data, _passwords(settings)):
                return file
        except (KeyStoreError, CertificateError):
            continue
    if wanted:
        raise KeyStoreError(f"has no private key, and none in {folder} belongs to it")
    return None


def _open(data: bytes, arguments: argparse.Namespace, settings: Settings) -> tuple[bytes, list[Certificate]]:
    """The password that opens the file (empty = none needed) and the certificates of its keys."""
    given = (
        []
        if arguments.password_file is None
        else [_read(arguments.password_file).split(b"\n", 1)[0].rstrip(b"\r")]
    )
    try:
        for password in (b"", *given, *_passwords(settings)):
            try:
                return password, [certificate for certificate, _, _ in read_key_file(data, [password])]
            except WrongPassword:
                continue
        if not given and sys.stdin.isatty():
            password = getpass.getpass(f"Password of {arguments.file}: ").encode()
            return password, [certificate for certificate, _, _ in read_key_file(data, [password])]
    except WrongPassword:
        pass
    except (KeyStoreError, CertificateError) as error:
        raise KeyStoreError(error.message, where=str(arguments.file)) from error
    text = (
        "the password is wrong" if given or sys.stdin.isatty() else "needs a password: --password-file FILE"
    )
    raise WrongPassword(f"{text}; nothing was imported", where=str(arguments.file))


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read ({error.strerror})", where=str(file)) from error
    if len(data) > SIZE_LIMIT:
        raise ConfigurationError(f"is larger than {SIZE_LIMIT} bytes", where=str(file))
    return data


def _request(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    names = [_wanted(name) for name in arguments.names]
    folder = settings.smime.keys / REQUESTS
    key, request = folder / f"{names[0]}.key", folder / f"{names[0]}.csr"
    if not arguments.replace and key.exists():
        raise ConfigurationError("is there already; --replace throws that key away", where=str(key))
    made = make_request(
        names,
        key_type=arguments.type,
        common_name=arguments.common_name,
        organisation=arguments.organisation,
        password=next(iter(_passwords(settings)), None),
    )
    record(settings, _event(Event.KEY_MADE, None, key.name))
    write_atomically(key, made.key, mode=0o600)
    write_atomically(request, made.request, mode=0o644)
    if arguments.json:
        print(json.dumps({"key": str(key), "request": str(request), "emails": made.emails}, indent=2))
    else:
        print(f"1. Send {request} to your certification authority; it asks for {', '.join(made.emails)}.")
        print("2. Save what comes back, with the intermediate certificates, as PEM: CERTIFICATE.pem.")
        print(f"3. nta-milter keys import CERTIFICATE.pem --name {names[0]}")
        print("4. Reload the milter, and publish the certificate to those who write to you.")
        print(f"The private key is {key}; it never leaves this host.")
    return 0


def _wanted(name: str) -> str:
    local, at, domain = name.rpartition("@")
    found = domain_name(domain)
    if found is None or (at and not local) or not _NAME.fullmatch(name):
        raise ConfigurationError("is neither an address nor a domain", where=name)
    return f"{local}{at}{found}".lower()


def _event(event: Event, certificate: Certificate | None, file: str) -> AuditRecord:
    details = {"file": file, "by": getpass.getuser()}
    if certificate is not None:
        details |= {"subject": certificate.subject, "sha256": certificate.fingerprint}
    return AuditRecord(datetime.now(UTC), event, "", "", (), "", (), details)
