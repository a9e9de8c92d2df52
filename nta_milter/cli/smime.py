"""``nta-milter smime``: encrypt, sign, decrypt and verify one message, by the code that the milter uses."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nta_milter.cli.options import EXIT_NO, moment
from nta_milter.errors import CertificateError, ConfigurationError, KeyStoreError
from nta_milter.message.headers import Headers, split
from nta_milter.message.model import Entity
from nta_milter.smime.certificate import Certificate, RecipientCertificate, certificates_from_file
from nta_milter.smime.encrypt import encrypt
from nta_milter.smime.keystore import KeyRing, PrivateKey, key_files, load_together
from nta_milter.smime.mime import message_and_body
from nta_milter.smime.open import Opened, open_message
from nta_milter.smime.protect import HIDDEN_SUBJECT, protect
from nta_milter.smime.sign import sign
from nta_milter.smime.trust import Trust

CIPHERS = ("aes-256-gcm", "aes-256-cbc", "aes-192-cbc", "aes-128-gcm", "aes-128-cbc")
ALGORITHMS = ("rsassa-pkcs1-v1_5", "rsassa-pss", "ecdsa", "ed25519")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``smime`` and its commands."""
    family = commands.add_parser("smime", help="encrypt, sign, decrypt or verify one message")
    actions = family.add_subparsers(metavar="ACTION", required=True)
    _register_encrypt(actions)
    _register_sign(actions)
    _register_decrypt(actions)
    _register_verify(actions)


def _register_encrypt(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("encrypt", help="encrypt the message on standard input")
    parser.add_argument(
        "--to", type=Path, action="append", required=True, metavar="CERT.pem",
        help="certificate of a recipient, PEM or DER; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--cipher",
        choices=CIPHERS,
        default="aes-256-cbc",
        metavar="CIPHER",
        help=f"content encryption: {', '.join(CIPHERS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--key-transport", choices=("oaep", "v15"), default="v15",
        help="how an RSA key carries the content key (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--identify-by", choices=("issuer", "key"), default="issuer",
        help="name a recipient by issuer and serial number or by key identifier (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--bind-key", action="store_true",
        help="derive the key from the one that is sent and the cipher (RFC 9709)",
    )  # fmt: skip
    parser.add_argument(
        "--hide-subject", action="store_true",
        help="protect the header fields inside and hide the Subject outside (RFC 9788)",
    )  # fmt: skip
    parser.set_defaults(run=_encrypt)


def _register_sign(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("sign", help="sign the message on standard input")
    parser.add_argument(
        "--key", type=Path, required=True, metavar="KEYS.p12", help="the signer's key, PKCS#12 or PEM"
    )
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file with the key's password")
    parser.add_argument("--opaque", action="store_true", help="put the content into the signature")
    parser.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        metavar="NAME",
        help=f"signature algorithm: {', '.join(ALGORITHMS)} (default: the key's)",
    )
    parser.add_argument("--at", type=moment, metavar="MOMENT", help="signing time, ISO 8601 (default: now)")
    parser.set_defaults(run=_sign)


def _register_decrypt(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("decrypt", help="open every layer of the message on standard input")
    parser.add_argument(
        "--keys", type=Path, action="append", required=True, metavar="DIR_OR_FILE",
        help="private keys, .p12, .pfx or .pem, certificates there or in another; may be repeated",
    )  # fmt: skip
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file with the keys' password")
    _add_judgement(parser, required=False)
    parser.set_defaults(run=_decrypt)


def _register_verify(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("verify", help="verify the signatures of the message on standard input")
    _add_judgement(parser, required=True)
    parser.set_defaults(run=_verify)


def _add_judgement(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--trust", type=Path, required=required, metavar="DIR_OR_FILE",
        help="certificates of the authorities to believe; without it no signature is good",
    )  # fmt: skip
    parser.add_argument("--crls", type=Path, metavar="DIR", help="folder of certificate revocation lists")
    parser.add_argument(
        "--at", type=moment, metavar="MOMENT",
        help="judge signatures as of this moment, ISO 8601 such as 2026-11-24T00:00:00Z (default: now)",
    )  # fmt: skip
    parser.add_argument("--report", metavar="FILE", help="write what was found as JSON; - is standard error")


def _encrypt(arguments: argparse.Namespace) -> int:
    recipients = [
        RecipientCertificate(certificate, arguments.key_transport)
        for path in arguments.to
        for certificate in _certificates(path)[:1]
    ]
    message = _read()
    outer, inner = message_and_body(message.headers)
    entity = Entity(inner, message.body)
    if arguments.hide_subject:
        entity, _ = protect(outer, entity, hide_subject=True)
        subject = outer.all("Subject")
        outer = outer.without(("Comments", "Keywords", *(("Subject",) if subject else ())))
        outer = outer.add("Subject", HIDDEN_SUBJECT)
    sealed = encrypt(
        entity,
        recipients,
        cipher=arguments.cipher,
        identify_by=arguments.identify_by,
        bind_key=arguments.bind_key,
    )
    _write(_message(outer, sealed))
    return 0


def _sign(arguments: argparse.Namespace) -> int:
    ring = KeyRing.load(arguments.key, passwords=_passwords(arguments.password_file))
    at = arguments.at or datetime.now(UTC)
    message = _read()
    outer, inner = message_and_body(message.headers)
    signer = _signer(ring, arguments.key, at)
    entity = sign(
        Entity(inner, message.body), signer, at=at, opaque=arguments.opaque, algorithm=arguments.algorithm
    )
    _write(_message(outer, entity))
    return 0


def _decrypt(arguments: argparse.Namespace) -> int:
    passwords = _passwords(arguments.password_file)
    keys = _keys(arguments.keys, passwords)
    return _open(arguments, KeyRing(keys))


def _verify(arguments: argparse.Namespace) -> int:
    return _open(arguments, KeyRing(()))


def _open(arguments: argparse.Namespace, keys: KeyRing) -> int:
    trust = None if arguments.trust is None else Trust.load(arguments.trust, crls=arguments.crls)
    message = _read()
    opened = open_message(message.headers, message.body, keys, trust, at=arguments.at or datetime.now(UTC))
    if arguments.report:
        _write_report(arguments.report, opened.report())
    if opened.error is not None:
        print(f"nta-milter: {opened.error.diagnostics()}", file=sys.stderr)
    if opened.opened and opened.entity is not None:
        _write(_message(opened.headers, opened.entity))
    else:
        _write(message)
    return 0 if _satisfied(opened) else EXIT_NO


def _satisfied(opened: Opened) -> bool:
    return opened.opened and opened.signature in (None, "good")


def _keys(paths: Sequence[Path], passwords: tuple[bytes, ...]) -> tuple[PrivateKey, ...]:
    """The keys of files; of folders all that can be loaded, with a word about the others."""
    found, faults = load_together([file for path in paths for file in key_files(path)], passwords)
    for file, fault in faults.items():
        if file in paths:
            raise fault
        print(f"nta-milter: {fault.diagnostics()}", file=sys.stderr)
    if not found:
        raise KeyStoreError("no key in it can be used", where=", ".join(map(str, paths)))
    return found


def _message(outer: Headers, entity: Entity) -> Entity:
    """A message of these fields around this entity."""
    version = outer if outer.all("MIME-Version") else outer.add("MIME-Version", "1.0")
    return Entity(Headers((*version.fields, *entity.headers.fields)), entity.body)


def _signer(ring: KeyRing, path: Path, at: datetime) -> PrivateKey:
    able = [key for key in ring.keys if key.certificate.may_sign()]
    able = [key for key in able if key.certificate.valid_at(at)] or able
    if not able:
        raise KeyStoreError("no key that may sign mail", where=str(path))
    return able[0]


def _certificates(path: Path) -> list[Certificate]:
    try:
        found = list(certificates_from_file(path))
    except (OSError, CertificateError) as error:
        raise ConfigurationError(str(error), where=str(path)) from error
    if not found:
        raise ConfigurationError("no certificate in it", where=str(path))
    return found


def _passwords(path: Path | None) -> tuple[bytes, ...]:
    if path is None:
        return ()
    try:
        return (path.read_bytes().split(b"\n", 1)[0].rstrip(b"\r"),)
    except OSError as error:
        raise ConfigurationError(f"cannot be read ({error.strerror})", where=str(path)) from error


def _read() -> Entity:
    """The message on standard input; lines that end with LF alone get CRLF, which CMS is about."""
    data = sys.stdin.buffer.read()
    first = data.find(b"\n")
    if first >= 0 and data[first - 1 : first] != b"\r":
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    headers, start = split(data)
    return Entity(headers, data[start:])


def _write(entity: Entity) -> None:
    for piece in _pieces(entity):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _pieces(entity: Entity) -> Iterable[bytes | memoryview]:
    return bytes(entity.headers), b"\r\n", entity.body


def _write_report(target: str, report: dict[str, Any]) -> None:
    text = json.dumps(report, ensure_ascii=False) + "\n"
    if target == "-":
        sys.stderr.write(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot be written ({error.strerror})", where=target) from error
