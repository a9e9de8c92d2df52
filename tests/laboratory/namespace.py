"""A machine inside the machine: own mounts, processes and network, gone when its owner is gone.

Inside, ``/run`` is empty but for the laboratory's folder at a short path (socket paths end at 107 bytes, and
a private parent folder would keep the postfix user out), ``/etc`` is a private copy, and the only network is
a loopback on which every port is free. Nothing outside is changed, and nothing inside can reach outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

INSIDE = Path("/run/laboratory")
"""Where the laboratory's folder is seen by every process inside."""

NEEDED = ("unshare", "nsenter", "mount", "ip")
START_LIMIT = 20.0
_CLONE_NEWNET = 0x40000000

# The first process ends, and with it everything inside, when its standard input closes: when the owner ends,
# by whatever signal. As process 1 bash also buries the daemons that leave their parent.
_FIRST = r"""
set -eu
cd "$1"
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/laboratory /run/etc /run/lock
mount --bind . /run/laboratory
cp -a /etc/. /run/etc
mount --bind /run/etc /etc
rm -f /etc/resolv.conf /etc/nsswitch.conf
printf 'nameserver 127.0.0.1\n' >/etc/resolv.conf
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >/etc/nsswitch.conf
printf '127.0.0.1 localhost\n' >/etc/hosts
unshare --net bash -c 'ip link set lo up; echo "$1"; exec sleep infinity' inner ready </dev/null &
cat >/dev/null
"""


class NamespaceError(Exception):
    """The namespaces cannot be made; the text says why, in one line."""


def missing_privilege() -> str | None:
    """Why this user cannot make namespaces, or None."""
    if os.geteuid() != 0:
        return "the laboratory needs root, for network namespaces with the real ports 25, 53 and 587"
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, text=True)
    if tried.returncode:
        return f"the laboratory needs CAP_SYS_ADMIN: {tried.stderr.strip() or 'unshare failed'}"
    return None


class Process:
    """A process that runs inside. nsenter(1) waits for it outside, and hands no signal on."""

    def __init__(self, nsenter: subprocess.Popen[bytes]) -> None:
        self._nsenter = nsenter

    def ended(self) -> bool:
        """Whether it is gone."""
        return self._nsenter.poll() is not None

    def end(self, *, kill: bool = False) -> None:
        """Send SIGTERM to it, or SIGKILL to it and its children, and wait until they are gone."""
        own = _children(self._nsenter.pid)
        children = [child for number in own for child in _children(number)]
        for each in (*children, *own) if kill else own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL if kill else signal.SIGTERM)
        self._nsenter.wait(timeout=START_LIMIT)
        limit = time.monotonic() + START_LIMIT
        while any(Path(f"/proc/{each}").exists() for each in children) and time.monotonic() < limit:
            time.sleep(0.005)  # a child holds the listening socket until it is gone


class Namespace:
    """The namespaces around one folder; a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._first: subprocess.Popen[str] | None = None
        self._process: int | None = None
        self._started: list[Process] = []

    def __enter__(self) -> Namespace:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Make them; raises NamespaceError with the reason."""
        for program in NEEDED:
            if shutil.which(program) is None:
                raise NamespaceError(f"{program} is not installed")
        reason = missing_privilege()
        if reason:
            raise NamespaceError(reason)
        self.directory.mkdir(parents=True, exist_ok=True)
        unshare = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL")
        self._first = subprocess.Popen(
            [*unshare, "--propagation", "private", "bash", "-c", _FIRST, "laboratory", str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._first.stdout
        if self._first.stdout.readline() != "ready\n":
            said = self._first.communicate(timeout=START_LIMIT)[1].strip()
            self._first = None
            raise NamespaceError(f"the namespaces cannot be made: {said or 'no reason given'}")
        self._process = _inner_process(self._first.pid)

    def stop(self) -> None:
        """End every process inside and give the namespaces back."""
        if self._first is not None:
            try:
                # The first process ends with its input; the kernel lets it go when all others are gone.
                self._first.communicate(timeout=START_LIMIT)
            except subprocess.TimeoutExpired:
                self._first.kill()
                self._first.communicate()
            self._first = None
            self._process = None
        for each in self._started:
            each.end(kill=True)
        self._started.clear()

    @property
    def process(self) -> int:
        """The number, outside, of a process that lives in all the namespaces."""
        if self._process is None:
            raise NamespaceError("the laboratory is not running")
        return self._process

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it runs inside, in the laboratory's folder."""
        return (
            "nsenter",
            f"--target={self.process}",
            "--root",
            "--mount",
            "--pid",
            "--net",
            f"--wdns={INSIDE}",
        )

    def run(
        self, *command: str | Path, stdin: bytes | None = None, check: bool = True, limit: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside as root; with ``check`` a failure raises and shows what it said."""
        done = subprocess.run(
            [*self.prefix, *map(str, command)], input=stdin, capture_output=True, timeout=limit
        )
        if check and done.returncode:
            said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
            raise NamespaceError(f"{' '.join(map(str, command))} ended with {done.returncode}: {said}")
        return done

    def popen(
        self, *command: str | Path, log: Path, environment: dict[str, str], umask: int = 0o022
    ) -> Process:
        """Start a process inside that stays; its output is appended to ``log``."""
        with log.open("ab") as output:
            started = subprocess.Popen(
                [*self.prefix, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                umask=umask,
            )
        self._started.append(Process(started))
        return self._started[-1]

    def connect(
        self, address: str, port: int, *, source: str = "127.0.0.1", limit: float = 30.0
    ) -> socket.socket:
        """A TCP connection made inside, usable outside: a socket stays in the network it was made in.

        Raises:
            OSError: what the connection attempt met.
        """
        answers: queue.Queue[socket.socket | OSError] = queue.Queue()
        threading.Thread(target=self._connect, args=(address, port, source, limit, answers)).start()
        answer = answers.get()
        if isinstance(answer, OSError):
            raise answer
        return answer

    def _connect(self, address: str, port: int, source: str, limit: float, answers: queue.Queue[Any]) -> None:
        # setns(2) moves this thread alone, and the thread ends here.
        made = None
        try:
            with Path(f"/proc/{self.process}/ns/net").open() as network:
                library = ctypes.CDLL(None, use_errno=True)
                if library.setns(network.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns failed")
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            made.settimeout(limit)
            made.bind((source, 0))
            made.connect((address, port))
            answers.put(made)
        except OSError as error:
            if made is not None:
                made.close()
            answers.put(error)


def _inner_process(outermost: int) -> int:
    """Follow the children of unshare to the process that is in the inner network namespace too."""
    outside = Path("/proc/self/ns/net").readlink()
    waiting = [outermost]
    while waiting:
        number = waiting.pop()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{number}/ns/net").readlink() != outside:
                return number
            waiting += _children(number)
    raise NamespaceError("the process inside has ended")


def _children(number: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(each) for each in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    return []
