"""A Debian of its own with a running systemd: namespaces around a root that mmdebstrap has made.

The root has Debian's packages only, those that ours depend on and what the laboratory needs. Its network is a
loopback. Nothing of the machine around it is changed, and all of it is gone when its owner ends.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "packaging"
CHECKOUT = "/opt/laboratory"
"""Where a machine has the tests, and nothing of the program: that is what the package brings."""

RELEASES = {"12": "bookworm", "13": "trixie"}
LABORATORY = (
    *("systemd-sysv", "dbus", "procps", "iproute2", "openssl", "debconf-utils"),
    *("unbound", "ldnsutils", "opendkim", "opendkim-tools", "sasl2-bin", "libsasl2-modules"),
)
"""What a machine has besides the dependencies of our packages."""

START_LIMIT = 120.0
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# systemd wants a cgroup2 tree of its own, /run on a tmpfs, and shared mounts for its credentials. It believes
# that it is in a container.
_BOOT = """
set -eu
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755 tmpfs run
mount --rbind /dev dev
pivot_root . mnt
umount -l /mnt
mount --make-rshared /
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
"""


class MachineError(Exception):
    """The machine cannot be made or a command in it failed; the text says what was seen."""


def depended(control: str) -> tuple[str, ...]:
    """The packages that a debian/control names in Depends, but for our own and debhelper's variables."""
    names = []
    for field in re.findall(r"^Depends:((?:.*\n)(?: .*\n)*)", control, re.MULTILINE):
        names += [entry.split()[0] for entry in field.replace("\n", " ").split(",")]
    return tuple(name for name in names if not name.startswith(("$", "nta-")))


def root_archive(release: str) -> Path:
    """The root of a release as a tar file, made once for the same list of packages.

    Raises:
        MachineError: mmdebstrap failed, for example because a package is not in Debian's main section.
    """
    control = (ROOT / "packaging" / "debian" / "control").read_text()
    packages = ",".join((*depended(control), *LABORATORY))
    digest = hashlib.sha256(packages.encode()).hexdigest()[:16]
    archive = CACHE / f"debian-{release}-{digest}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_suffix(".unfinished.tar")
        command = ("mmdebstrap", "--variant=minbase", f"--include={packages}", RELEASES[release])
        done = subprocess.run(
            [*command, unfinished], capture_output=True, text=True, env={**os.environ, "PATH": PATH}
        )
        if done.returncode:
            raise MachineError(f"mmdebstrap {release}:\n{done.stderr[-3000:]}")
        unfinished.rename(archive)
    return archive


class Machine:
    """One machine; a context manager. ``folder`` is its root as seen from outside."""

    def __init__(self, release: str) -> None:
        self.release = release
        self._scratch = Path(tempfile.mkdtemp(prefix=f"nta-machine-{release}-"))
        self.folder = self._scratch / "root"
        self._outer: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Machine:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, script: str, *, check: bool = True, limit: float = 300.0) -> str:
        """What a shell script prints in the machine; raises MachineError when it fails and ``check``."""
        done = self.try_run(script, limit=limit)
        if check and done.returncode:
            raise MachineError(f"{script}\nended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def try_run(self, script: str, *, limit: float = 300.0) -> subprocess.CompletedProcess[str]:
        """A shell script in the machine: its status and what it printed, errors included.

        Raises:
            MachineError: it did not end in ``limit`` seconds; with what the machine was doing.
        """
        try:
            return self._execute(script, limit)
        except subprocess.TimeoutExpired as late:
            state = (
                "ps -ef --forest; systemctl list-jobs; journalctl --no-pager -o short-monotonic | tail -60"
            )
            doing = self._execute(state, START_LIMIT).stdout
            raise MachineError(f"{script}\nnot ended in {limit:.0f} s:\n{doing}") from late

    def _execute(self, script: str, limit: float) -> subprocess.CompletedProcess[str]:
        inside = ("nsenter", f"--target={self._init}", "--mount", "--pid", "--net", "--ipc", "--uts")
        environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/"}
        return subprocess.run(
            [*inside, "--cgroup", "--wdns=/", "bash", "-euc", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            timeout=limit,
        )

    def copy(self, *sources: Path, to: str) -> None:
        """Copy files and folders into a folder of the machine, without caches."""
        target = self.folder / to.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "node_modules")
                shutil.copytree(source, target / source.name, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)

    def text(self, path: str) -> str:
        """A file of the machine."""
        return (self.folder / path.lstrip("/")).read_text()

    def _start(self) -> None:
        self.folder.mkdir()
        self._scratch.chmod(0o755)
        archive = root_archive(self.release)
        subprocess.run(["tar", "-C", self.folder, "-xf", archive, "--numeric-owner"], check=True)
        (self.folder / "etc" / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        unshare = ("unshare", "--mount", "--pid", "--fork", "--cgroup", "--net", "--uts", "--ipc")
        self._outer = subprocess.Popen(
            [
                *(
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    *unshare,
                    "--kill-child=KILL",
                    "--propagation",
                    "private",
                ),
                *("bash", "-c", _BOOT, "boot", self.folder),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        limit = time.monotonic() + START_LIMIT
        state = ""
        while state not in ("running", "degraded"):
            if self._outer.poll() is not None or time.monotonic() > limit:
                said = b"" if self._outer.poll() is None else self._outer.communicate()[0]
                raise MachineError(f"systemd of Debian {self.release} does not start: {state} {said!r}")
            time.sleep(0.2)
            self._init = next(_children(self._outer.pid), 0)
            if self._init:
                state = self.try_run("systemctl is-system-running || true").stdout.strip()

    def _stop(self) -> None:
        if self._outer is not None:
            self._outer.kill()  # --kill-child ends systemd, and with it all that runs there
            self._outer.communicate()
            self._outer = None
        shutil.rmtree(self._scratch)


def _children(number: int) -> Iterator[int]:
    yield from map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split())
