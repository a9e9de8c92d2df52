"""Real DNSSEC for tests: zones signed by ldns-signzone, served and validated by one unbound.

unbound's ``auth-zone`` with ``for-downstream: no`` is an upstream only, so its data are validated and
answered with the AD bit. The root and ``test.`` are made and signed here too, with a DS for each signed
child; nothing is ever asked outside. No privilege is needed on a high port::

    with Dns(tmp_path, [Zone("care.test", 'www A 192.0.2.1')], port=5300) as dns:
        ...
        dns.reload(Zone("care.test", "www A 192.0.2.2"))
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

START_LIMIT = 10.0


@dataclass(frozen=True)
class Zone:
    """One zone, and how it is broken.

    ``records`` are zone-file lines with names relative to ``name`` (no SOA, no NS).
    ``signed=False`` leaves it unsigned and without a DS: insecure. ``bogus`` flips a byte of every
    signature but the DNSKEY's (SERVFAIL, Extended DNS Error 6); ``expired`` signs for the past (error 7).
    ``dead`` delegates it to a server that has no data (SERVFAIL). ``ttl`` and ``negative_ttl`` in seconds.
    """

    name: str
    records: str | Sequence[str] = ()
    signed: bool = True
    bogus: bool = False
    expired: bool = False
    dead: bool = False
    ttl: int = 300
    negative_ttl: int = 60

    def text(self, delegations: Iterable[str]) -> str:
        """The zone file before signing."""
        lines = [self.records] if isinstance(self.records, str) else list(self.records)
        return "\n".join(
            [
                f"$ORIGIN {_absolute(self.name)}",
                f"$TTL {self.ttl}",
                f"@ {self.negative_ttl} IN SOA ns.test. hostmaster.test. "
                f"{int(time.time())} 3600 600 86400 {self.negative_ttl}",
                "@ IN NS ns.test.",
                *delegations,
                *lines,
                "",
            ]
        )


def txt(text: str | bytes, *, piece: int = 255) -> str:
    """The RDATA of a TXT record with ``text`` cut into character-strings of ``piece`` bytes."""
    data = text.encode() if isinstance(text, str) else text
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)] or [b""]
    return " ".join('"' + "".join(map(_letter, each)) + '"' for each in pieces)


def _letter(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 and byte not in b'"\\;' else f"\\{byte:03d}"


class Dns:
    """A validating unbound with its zones; a context manager.

    ``prefix`` is put before the command lines of unbound and unbound-control, to run them in a namespace
    for example, where ``directory`` may have another name: ``seen``.
    ``servers`` has its address in the form of the setting ``dns.servers``.
    """

    def __init__(
        self,
        directory: Path,
        zones: Iterable[Zone],
        *,
        address: str = "127.0.0.1",
        port: int,
        prefix: Sequence[str] = (),
        seen: Path | None = None,
    ) -> None:
        self.directory = directory
        self.seen = seen or directory
        self.address = address
        self.port = port
        self.prefix = tuple(prefix)
        self.servers = (f"[{address}]:{port}" if ":" in address else f"{address}:{port}",)
        self._zones = {"": Zone(""), "test": Zone("test", "ns A 127.0.0.1")}
        self._zones.update({zone.name.rstrip(".").lower(): zone for zone in zones})
        self._keys: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Dns:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Sign every zone and start unbound; returns when it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in self._zones:
            self._write(name)
        self._configure()
        # Debian's AppArmor profile keeps /usr/sbin/unbound, and no copy of it, to files under /etc/unbound.
        shutil.copy(shutil.which("unbound", path="/usr/sbin:/usr/bin") or "", self.directory / "unbound")
        command = (str(self.seen / "unbound"), "-d", "-p", "-c", self._file())
        with (self.directory / "unbound.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.prefix, *command],
                stdout=log,
                stderr=log,
            )
        limit = time.monotonic() + START_LIMIT
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > limit:
                self.stop()
                raise RuntimeError("unbound: " + (self.directory / "unbound.log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        """End unbound."""
        if self._process is not None:
            # Behind a prefix that forks, a signal would end the prefix only.
            if self._unbound_control("stop").returncode:
                self._process.terminate()
            self._process.wait(timeout=START_LIMIT)
            self._process = None

    def reload(self, zone: Zone) -> None:
        """Serve another version of a zone, or a new zone; what was cached of it is forgotten."""
        name = zone.name.rstrip(".").lower()
        known = name in self._zones and self._zones[name].dead == zone.dead
        self._zones[name] = zone
        if not known:
            # A reload of unbound would keep what it holds of a zone whose file is gone.
            self.stop()
            self.start()
            return
        parent = self._parent(name)
        changed = [name] if parent is None else [name, parent]
        for each in changed:
            self._write(each)
            self.control("auth_zone_reload", _absolute(each))
        self.control("flush_zone", _absolute(name))
        self.control("flush_negative")

    def extend(self, name: str, records: Sequence[str]) -> None:
        """Add records to a zone that is served already."""
        zone = self._zones[name]
        old = (zone.records,) if isinstance(zone.records, str) else tuple(zone.records)
        self.reload(replace(zone, records=(*old, *records)))

    def control(self, *command: str) -> str:
        """Run unbound-control; raises CalledProcessError when unbound does not obey."""
        return _output(*self.prefix, "unbound-control", "-c", self._file(), *command)

    def _ready(self) -> bool:
        return self._unbound_control("status").returncode == 0

    def _unbound_control(self, command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            (*self.prefix, "unbound-control", "-c", self._file(), command), capture_output=True
        )

    def _file(self) -> str:
        return str(self.seen / "unbound.conf")

    def _parent(self, name: str) -> str | None:
        if not name:
            return None
        labels = name.split(".")
        above = (".".join(labels[at:]) for at in range(1, len(labels) + 1))
        return next(each for each in above if each in self._zones)

    def _key(self, name: str) -> str:
        """The base name of the zone's one key, made when it is first needed."""
        if name not in self._keys:
            made = _output(
                "ldns-keygen", "-k", "-a", "ECDSAP256SHA256", _absolute(name), directory=self.directory
            )
            self._keys[name] = made.strip()
        return self._keys[name]

    def _delegations(self, name: str) -> list[str]:
        lines = []
        for child, zone in self._zones.items():
            if child and self._parent(child) == name:
                lines.append(f"{_absolute(child)} IN NS ns.test.")
                if zone.signed and not zone.dead:
                    lines.append((self.directory / f"{self._key(child)}.ds").read_text().strip())
        return lines

    def _write(self, name: str) -> None:
        zone = self._zones[name]
        plain, signed = self.directory / f"zone-{name}.plain", self.directory / f"zone-{name}.signed"
        if zone.dead:
            signed.unlink(missing_ok=True)
            return
        plain.write_text(zone.text(self._delegations(name)))
        if not zone.signed:
            signed.write_text(plain.read_text())
            return
        now = int(time.time())
        self._sign(name, plain, signed, now - 86_400, now + 864_000)
        lines = signed.read_text().splitlines(keepends=True)
        if zone.bogus:
            lines = [_broken(line) if _is_breakable(line) else line for line in lines]
        if zone.expired:
            self._sign(name, plain, signed, now - 864_000, now - 86_400)
            late = [line for line in signed.read_text().splitlines(keepends=True) if _is_breakable(line)]
            lines = [line for line in lines if not _is_breakable(line)] + late
        signed.write_text("".join(lines))

    def _sign(self, name: str, plain: Path, signed: Path, begin: int, end: int) -> None:
        period = ("-i", str(begin), "-e", str(end))
        origin = ("-o", _absolute(name), "-f", str(signed))
        _output("ldns-signzone", *period, *origin, str(plain), self._key(name), directory=self.directory)

    def _configure(self) -> None:
        root = (self.directory / f"{self._key('')}.ds").read_text()
        (self.directory / "anchor").write_text(root)
        lines = [
            "server:",
            f"  interface: {self.address}@{self.port}",
            "  access-control: 0.0.0.0/0 allow",
            "  access-control: ::0/0 allow",
            '  username: ""',
            '  chroot: ""',
            '  pidfile: ""',
            f'  directory: "{self.seen}"',
            "  use-syslog: no",
            "  log-time-ascii: yes",
            "  num-threads: 1",
            "  do-not-query-localhost: no",
            "  hide-identity: yes",
            f'  trust-anchor-file: "{self.seen / "anchor"}"',
            '  module-config: "validator iterator"',
            "  ede: yes",
            "  val-bogus-ttl: 1",
            "  infra-host-ttl: 1",
            *(f'  local-zone: "{_absolute(name)}" nodefault' for name in self._zones if name),
            "remote-control:",
            "  control-enable: yes",
            f'  control-interface: "{self.seen / "control"}"',
            "  control-use-cert: no",
        ]
        for name, zone in self._zones.items():
            lines += [
                "auth-zone:",
                f'  name: "{_absolute(name)}"',
                "  primary: 127.0.0.1@1"
                if zone.dead
                else f'  zonefile: "{self.seen / f"zone-{name}.signed"}"',
                "  for-downstream: no",
                "  for-upstream: yes",
                "  fallback-enabled: no",
            ]
        (self.directory / "unbound.conf").write_text("\n".join(lines) + "\n")


def _absolute(name: str) -> str:
    return name.rstrip(".") + "."


def _is_breakable(line: str) -> bool:
    """A signature, but not the DNSKEY's: that one stays good, so that the data are bogus and not the zone."""
    fields = line.split()
    return fields[3:4] == ["RRSIG"] and fields[4] != "DNSKEY"


def _broken(line: str) -> str:
    """A signature with one byte changed."""
    signature = line.split()[12]
    return line.replace(signature, signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:])


def _output(*command: str, directory: Path | None = None) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout
