"""The laboratory itself: it ends with its owner, changes nothing of the machine and stands beside others."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.laboratory import Laboratory, Namespace, NamespaceError
from tests.laboratory.laboratory import CHECKOUT
from tests.laboratory.messages import ordinary, sensitive, sightings

DOCTOR = "doctor@care.test"
JAN = "jan@citizen.test"
WATCHED = ("/etc", "/var/spool/postfix", "/var/lib/postfix")


def digest_of_the_machine() -> str:
    """Names, modes, times and contents of what a mail system has on this machine."""
    digest = hashlib.sha256()
    for top in WATCHED:
        for path in sorted(Path(top).rglob("*")):
            status = path.lstat()
            digest.update(f"{path} {status.st_mode} {status.st_uid} {status.st_mtime_ns}\n".encode())
            if path.is_file() and not path.is_symlink():
                digest.update(path.read_bytes())
    return digest.hexdigest()


def listening() -> list[str]:
    """The addresses of this machine where somebody takes mail or answers DNS; others come and go."""
    sockets = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if int(address.rpartition(":")[2], 16) in (25, 53, 587) and (state == "0A" or "udp" in table):
                sockets.append(f"{table} {address}")
    return sorted(sockets)


def space_of(laboratory: Laboratory) -> str:
    """The process namespace of a laboratory."""
    return str(Path(f"/proc/{laboratory.namespace.process}/ns/pid").readlink())


def processes_in(space: str) -> list[str]:
    """The command lines of the processes in a process namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((process / "ns" / "pid").readlink()) == space:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [command for command in found if command]  # a zombie has none


def mail_through(laboratory: Laboratory) -> None:
    mail = ordinary(DOCTOR, JAN)
    assert laboratory.send(DOCTOR, DOCTOR, [JAN], mail.raw).accepted
    laboratory.wait_for(lambda: laboratory.mailbox("mx.citizen", JAN), "the mail")


def test_the_machine_is_as_before_and_another_laboratory_does_not_collide(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    before, sockets = digest_of_the_machine(), listening()
    noop = (sys.executable, "-m", "tests.laboratory.noop")
    with Laboratory(tmp_path / "second", milter=noop) as second:
        space = space_of(second)
        mail_through(second)
        mail_through(laboratory)
        assert len(second.everything()) == len(laboratory.everything()) == 1
        assert len(processes_in(space)) > 10
        assert listening() == sockets
    assert processes_in(space) == []
    assert digest_of_the_machine() == before
    assert listening() == sockets


def test_nothing_is_left_when_its_owner_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.laboratory import Laboratory\n"
        "laboratory = Laboratory(Path(sys.argv[1]), milter=None); laboratory.start()\n"
        "print(Path(f'/proc/{laboratory.namespace.process}/ns/pid').readlink(), flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lost")], cwd=CHECKOUT, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout
        space = owner.stdout.readline().decode().strip()
        running = len(processes_in(space))
        owner.kill()
    assert running > 10
    until = time.monotonic() + 10
    while processes_in(space) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_in(space) == []


def test_nothing_outside_can_be_reached(laboratory: Laboratory) -> None:
    assert "lo" in laboratory.namespace.run("ip", "-brief", "link").stdout.decode()
    assert len(laboratory.namespace.run("ip", "-brief", "link").stdout.splitlines()) == 1
    with pytest.raises(OSError, match="unreachable"):
        laboratory.namespace.connect("192.0.2.1", 25, limit=5)


def test_a_command_that_fails_says_why(laboratory: Laboratory) -> None:
    with pytest.raises(NamespaceError, match=r"ended with 2: .*no-such-file"):
        laboratory.namespace.run("ls", "/no-such-file")


def test_a_namespace_that_does_not_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(NamespaceError, match="not running"):
        Namespace(tmp_path).run("true")


def test_canaries_are_seen_in_every_place() -> None:
    mail = sensitive(DOCTOR, JAN)
    for place, canary in mail.canaries.items():
        assert sightings(mail.raw, [canary]), place
    assert sightings(mail.raw, ["Kanarie-nergens"]) == []
