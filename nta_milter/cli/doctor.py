"""``nta-milter doctor``: every fault of Postfix, resolver, keys and folders, with its mend."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nta_milter.cli import host, probe
from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded
from nta_milter.config.model import Settings
from nta_milter.errors import NtaMilterError
from nta_milter.policy.snapshot import Snapshot, build
from nta_milter.postfix.configuration import Postfix
from nta_milter.postfix.doctor import examine
from nta_milter.postfix.finding import Finding, Level

EXPIRES_SOON = timedelta(days=30)
USER = "nta-milter"
"""The user that the package makes for the milter."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``doctor``."""
    parser = commands.add_parser(
        "doctor",
        help="find what is wrong with Postfix, the resolver, keys and folders, and say how to mend it",
        description="Read the configuration of nta-milter and of Postfix (postconf) and name every fault "
        "with its mend. Nothing is changed; --probe keeps its proofs. Exit status 0 if there is no fault, 1 "
        "otherwise; warnings and notes do not count.",
    )
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--fix-print",
        action="store_true",
        help="print the commands that would mend what a command can mend, and nothing else",
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="send forged results through each verifier of [[verifiers]], and keep what is proven; "
        "nta-milter, which must run, refuses the probes",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings, the worst first."""
    settings = loaded(arguments).settings
    order = list(Level)
    verifiers = probe.prove(settings) if arguments.probe else probe.unproven(settings)
    found = sorted((*_examine(settings), *verifiers), key=lambda finding: order.index(finding.level))
    if arguments.fix_print:
        print("".join(f"{finding.command}\n" for finding in found if finding.command), end="")
    elif arguments.json:
        print(json.dumps([_as_json(finding) for finding in found], ensure_ascii=False, indent=2))
    else:
        print("\n".join(map(_as_text, found)) if found else "nothing is wrong")
    return EXIT_NO if any(finding.level is Level.FAULT for finding in found) else 0


def _examine(settings: Settings) -> Iterator[Finding]:
    yield from examine(Postfix(settings.routing.postfix), settings)
    yield from _folders(settings)
    yield from host.findings(settings)
    try:
        snapshot = build(settings)
    except NtaMilterError as error:
        yield Finding(
            Level.FAULT,
            "cannot-start",
            error.diagnostics(),
            "do what it says: nta-milter neither starts nor reloads before",
        )
        return
    yield from _resolver(snapshot)
    yield from _keys(snapshot)


def _resolver(snapshot: Snapshot) -> Iterator[Finding]:
    proof = snapshot.compliance.proof()
    if not proof.proven:
        yield Finding(
            Level.FAULT,
            "resolver-not-proven",
            proof.reason,
            "run a validating resolver (unbound) on loopback and name it in dns.servers",
        )


def _keys(snapshot: Snapshot) -> Iterator[Finding]:
    now = datetime.now(UTC)
    if not snapshot.keys.keys:
        yield Finding(
            Level.WARNING,
            "no-keys",
            f"{snapshot.settings.smime.keys} has no key: nothing is opened or signed",
            "nta-milter keys import, or keys request",
        )
    for key in snapshot.keys.keys:
        left = key.certificate.not_after - now
        if left < EXPIRES_SOON:
            when = f"{key.certificate.not_after:%Y-%m-%d}"
            yield Finding(
                Level.WARNING,
                "key-expires",
                f"{key.source}: the certificate of {key.certificate.subject} "
                + (f"expired on {when}" if left < timedelta(0) else f"expires on {when}"),
                "renew it; keep the old file, it still opens what was sent to it",
            )


def _folders(settings: Settings) -> Iterator[Finding]:
    """Folders that must be there, and whose content or names nobody else may see."""
    for path, level, why in (
        (settings.smime.keys, Level.FAULT, "nobody but nta-milter may read it"),
        (settings.milter.spool, Level.FAULT, "nobody but nta-milter may read it"),
        (
            settings.smime.certificates,
            Level.WARNING,
            "its files are named after those who get encrypted mail; the group of milter and worker reads it",
        ),
    ):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            yield Finding(Level.FAULT, "folder", f"{path}: {error.strerror}", "make it")
            continue
        if mode & stat.S_IRWXO:
            yield Finding(
                level,
                "folder-open",
                f"{path} is open to everybody (mode {stat.S_IMODE(mode):o})",
                why,
                f"chmod o= {path}",
            )
    yield from _key_files(settings)
    kind, _, socket = settings.milter.socket.partition(":")
    folder = Path(socket).parent
    if kind in ("unix", "local") and not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            Level.FAULT,
            "socket-folder",
            f"{folder} is not there or cannot be written",
            "make it, owned by nta-milter with group postfix and mode 2750",
        )


def _key_files(settings: Settings) -> Iterator[Finding]:
    """Key files that root sees and the milter's own user does not."""
    try:
        user = pwd.getpwnam(USER)
        files = sorted(path for path in settings.smime.keys.iterdir() if path.is_file())
    except (KeyError, OSError):
        return  # not installed as a package, or told as a fault of the folder
    groups = {user.pw_gid, *os.getgrouplist(USER, user.pw_gid)}
    for path in files:
        status = path.stat()
        bit = (
            stat.S_IRUSR
            if status.st_uid == user.pw_uid
            else stat.S_IRGRP
            if status.st_gid in groups
            else stat.S_IROTH
        )
        if not status.st_mode & bit:
            yield Finding(
                Level.FAULT,
                "key-unreadable",
                f"{path} cannot be read by the user {USER}",
                "give it to its group; nta-milter keys import does so by itself",
                f"chgrp {USER} {path} && chmod g+r {path}",
            )


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "level": finding.level.value,
        "code": finding.code,
        "text": finding.text,
        "mend": finding.mend,
        "command": finding.command,
    }


def _as_text(finding: Finding) -> str:
    lines = [
        f"{finding.level.value.upper():8} {finding.text}  [{finding.code}]",
        f"         mend: {finding.mend}",
    ]
    if finding.command:
        lines.append(f"         {finding.command}")
    return "\n".join(lines)
