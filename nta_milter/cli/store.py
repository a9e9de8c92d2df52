"""``nta-milter store`` and ``nta-milter migrate``: make or renew the database, the folders and the keys."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nta_milter.audit import chain
from nta_milter.cli.options import add_config, add_json, loaded
from nta_milter.config.model import Settings
from nta_milter.errors import ConfigurationError
from nta_milter.store import keys, migrations
from nta_milter.store.blobs import FileBlobs
from nta_milter.store.schema import VERSION
from nta_milter.store.store import open_database

SECRETS = Path("/etc/nta-milter/secrets")
"""Where private keys are written unless another folder is named."""


@dataclass(frozen=True)
class Pair:
    """A key pair of ours: who holds its private half, how it is made, and if old public halves are kept."""

    holder: str
    make: Callable[[], tuple[bytes, bytes]]
    keeps_public: bool = False


PAIRS = {
    "portal": Pair("nta-milter portal", keys.new_key_pair),
    "worker": Pair("nta-milter worker", keys.new_key_pair),
    "audit": Pair("nta-milter worker", chain.new_key_pair, keeps_public=True),
}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``store init``, ``store rotate`` and ``migrate``."""
    family = commands.add_parser(
        "store",
        help="make the store and its keys, or renew a key",
        description="The store keeps messages sealed: a database, a folder of blobs, and public keys that "
        "content is sealed to. The private keys belong to the portal and the worker alone.",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    init = actions.add_parser(
        "init",
        help="make the database, the folder of blobs and the keys, where they are missing",
        description="Make what is missing: the database of store.url, the folder store.blobs, "
        "and the key pairs portal, worker and audit. What exists stays as it is.",
    )
    _add_secrets(init)
    add_config(init)
    add_json(init)
    init.set_defaults(run=_init)
    rotate = actions.add_parser(
        "rotate",
        help="renew one key pair; what was sealed to the old key can still be opened",
        description="Put a new key before the old ones in the file of private keys, and its public half in "
        "store.public. Restart the services after it. Remove an old private key when no message of its time "
        "is left.",
    )
    rotate.add_argument("key", choices=sorted(PAIRS), metavar="KEY", help="portal, worker or audit")
    _add_secrets(rotate)
    add_config(rotate)
    rotate.set_defaults(run=_rotate)
    migrate = commands.add_parser(
        "migrate",
        help="bring the database to the version that this program needs",
        description="Bring the tables of store.url to the version that this program needs, all or nothing.",
    )
    add_config(migrate)
    add_json(migrate)
    migrate.set_defaults(run=_migrate)


def _add_secrets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--secrets",
        type=Path,
        default=SECRETS,
        metavar="FOLDER",
        help=f"folder of the private keys portal-key, worker-key and audit-key (default: {SECRETS})",
    )


def _init(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    _folder(settings.store.blobs, 0o2770)
    _folder(settings.store.public, 0o755)
    _folder(arguments.secrets, 0o700)
    found = _migrated(settings)
    FileBlobs(settings.store.blobs).make_folders()
    made = [name for name in PAIRS if _made(name, arguments.secrets, settings.store.public)]
    if arguments.json:
        print(json.dumps({"version": {"found": found, "now": VERSION}, "keys": made}))
        return 0
    print(f"database: {'made' if found == 0 else 'was there'}, version {VERSION}")
    for name, pair in PAIRS.items():
        state = "made" if name in made else "was there"
        print(f"key {name}: {state}; {arguments.secrets / f'{name}-key'} is for {pair.holder} alone")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    name, pair = arguments.key, PAIRS[arguments.key]
    secret, public = arguments.secrets / f"{name}-key", settings.store.public / f"{name}.pem"
    old_private, old_public = _read(secret), _read(public)
    new_private, new_public = pair.make()
    _write(secret, new_private + old_private, 0o600)
    _write(public, new_public + (old_public if pair.keeps_public else b""), 0o644)
    print(f"key {name}: renewed; restart the services")
    return 0


def _migrate(arguments: argparse.Namespace) -> int:
    found = _migrated(loaded(arguments).settings)
    if arguments.json:
        print(json.dumps({"found": found, "now": VERSION}))
    else:
        print(f"version {VERSION}, " + ("nothing to do" if found == VERSION else f"was {found}"))
    return 0


def _migrated(settings: Settings) -> int:
    os.umask(0o007)  # SQLite's files are written by the three services, which share a group
    database = open_database(settings)
    try:
        return migrations.migrate(database)
    finally:
        database.close()


def _made(name: str, secrets: Path, public: Path) -> bool:
    """Make a key pair unless it is there."""
    secret_file, public_file = secrets / f"{name}-key", public / f"{name}.pem"
    if public_file.exists():
        return False
    if secret_file.exists():
        raise ConfigurationError(f"exists, but not its public half {public_file}", where=str(secret_file))
    private_half, public_half = PAIRS[name].make()
    _write(secret_file, private_half, 0o600)
    _write(public_file, public_half, 0o644)
    return True


def _folder(path: Path, mode: int) -> None:
    try:
        if not path.is_dir():
            path.mkdir(parents=True)
            path.chmod(mode)
    except OSError as error:
        raise ConfigurationError(f"cannot be made: {error.strerror}", where=str(path)) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, with owner and group of what stands there."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            if path.exists():
                status = path.stat()
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except OSError as error:
        raise ConfigurationError(f"cannot be written: {error.strerror}", where=str(path)) from error
