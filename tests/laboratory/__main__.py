"""What ``packaging/quickstart`` runs when all is installed: the scenarios, or a laboratory to play with."""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from tests.laboratory import scenarios
from tests.laboratory.certificates import OpensslError
from tests.laboratory.laboratory import CHECKOUT, Laboratory, LaboratoryError
from tests.laboratory.names import PORTAL_URL, STORES, USERS
from tests.laboratory.namespace import NamespaceError
from tests.laboratory.relay import relayed
from tests.laboratory.scenarios.download import CODE
from tests.laboratory.scenarios.proof import JAN

STATE = CHECKOUT / ".quickstart"

_HELP = """
The miniature internet runs; Ctrl-C stops it. As root, in another terminal, in {checkout}:

  .quickstart/send --from doctor@care.test --to nurse@hospital.test --text 'De diagnose is besproken.'
  .quickstart/send --from doctor@care.test --to jan@citizen.test --text 'Zin in pannenkoeken?'
  .quickstart/send --from doctor@care.test --to jan@citizen.test --text 'De diagnose is besproken.'
  .quickstart/send --from doctor@care.test --to dietician@clinic.test --text 'De diagnose is besproken.'
  .quickstart/send --from doctor@care.test --to piet@citizen.test --text 'De diagnose is besproken.'

Secure download:    jan@citizen.test has the access code {code}. The link in his mail begins with
                    {portal}/ and opens in a browser here, or from elsewhere
                    after: ssh -L 8443:127.0.0.1:8443 this-machine
                    (In this laboratory the pages are http on loopback; a real portal stands behind https.)
                    For piet@citizen.test no code is known: doctor@care.test gets a mail that asks for one.

  .quickstart/read jan@citizen.test          his newest mail; .quickstart/read doctor@care.test, ...
  .quickstart/nta-milter status
  .quickstart/nta-milter message list
  .quickstart/nta-milter message show QUEUE-ID      its whole way, by the id that Postfix gave it
  .quickstart/nta-milter recipients list
  .quickstart/nta-milter explain --from doctor@care.test --to nurse@hospital.test
  .quickstart/nta-milter explain --from doctor@care.test --to jan@citizen.test --json
  .quickstart/nta-milter check hospital.test citizen.test broken.test

What has arrived:   .quickstart/mailboxes/HOST/ADDRESS/*.eml, for the hosts
                    {stores}
Logs:               .quickstart/laboratory/{{care,hospital,citizen}}/mail.log
                    .quickstart/laboratory/care/{{milter,worker,portal}}.log
The milter's file:  .quickstart/laboratory/care/nta-milter/nta-milter.toml
A shell inside:     .quickstart/inside bash

Logins at care.test: {users}.
Mail with a BSN or the words diagnose or behandelplan is sensitive.
"""


def main() -> int:
    """0 when all went well, 1 when a scenario failed, 2 when the laboratory cannot be built."""
    parser = argparse.ArgumentParser(prog="quickstart", description=__doc__)
    parser.add_argument("--once", action="store_true", help="run the scenarios and stop")
    once = parser.parse_args().once
    STATE.mkdir(exist_ok=True)
    lock = os.open(STATE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"quickstart: another quickstart is using {STATE}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with Laboratory(STATE / "laboratory", download=True) as laboratory:
            _write_commands(laboratory)
            return _show(laboratory) if once else _stay(laboratory)
    except (LaboratoryError, NamespaceError, OpensslError, RuntimeError, OSError) as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130 if once else 0


def _show(laboratory: Laboratory) -> int:
    passed = failed = 0
    for scenario in scenarios.SCENARIOS:
        good, words = scenarios.run(laboratory, scenario)
        passed, failed = passed + good, failed + (not good)
        print(f"{'passed' if good else 'FAILED'} {scenario.number:3} {scenario.title}: {words}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def _stay(laboratory: Laboratory) -> int:
    laboratory.agree(JAN, CODE)
    portal = urlsplit(PORTAL_URL)
    assert portal.hostname
    assert portal.port
    words = {
        "checkout": CHECKOUT,
        "stores": ", ".join(STORES),
        "users": ", ".join(f"{user}@care.test" for user in USERS),
        "code": CODE,
        "portal": PORTAL_URL,
    }
    with relayed(portal.hostname, portal.port, laboratory.portal_socket):
        print(_HELP.format(**words), flush=True)
        while laboratory.milter_runs():
            time.sleep(1)
    raise LaboratoryError(f"the milter has ended:\n{laboratory.milter_log()}")


def _write_commands(laboratory: Laboratory) -> None:
    """Small commands that run inside the namespaces; they end with this laboratory."""
    inside = shlex.join((*laboratory.namespace.prefix, "env", f"PYTHONPATH={CHECKOUT}"))
    python = shlex.quote(sys.executable)
    configuration = f"NTA_MILTER_CONFIG={laboratory.configuration}"
    commands = {
        "inside": f'exec {inside} "$@"',
        "send": f'exec {inside} {python} -m tests.laboratory.send "$@"',
        "read": f'exec {inside} {python} -m tests.laboratory.read "$@"',
        "nta-milter": f'exec {inside} {configuration} {python} -m nta_milter.cli.main "$@"',
    }
    for name, command in commands.items():
        file = STATE / name
        file.write_text(f"#!/bin/sh\n{command}\n")
        file.chmod(0o755)
    link = STATE / "mailboxes"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("laboratory") / "mailboxes")


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
