"""The real milter process with real DNSSEC and real keys, but no Postfix: the test itself is its MTA."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.laboratory.certificates import Certificates
from tests.laboratory.dns import Dns, Zone
from tests.laboratory.mta import Mta
from tests.laboratory.names import milter_settings, secure_download, zones
from tests.laboratory.postfix import SHIPPED

START_LIMIT = 30.0
STOP_LIMIT = 30.0


class Alone:
    """``nta-milter run`` on a socket in ``directory``; ``more_zones`` are served besides the laboratory's;
    ``download`` gives it a store and a portal's address; ``changes`` replaces tables of its settings."""

    def __init__(
        self,
        directory: Path,
        port: int,
        more_zones: Iterable[Zone] = (),
        *,
        download: bool = False,
        **changes: Any,
    ) -> None:
        self.directory = directory
        self.certificates = Certificates(directory / "certificates")
        self.dns = Dns(directory / "dns", [*zones(self.certificates), *more_zones], port=port)
        self.socket = directory / "milter.sock"
        self.postfix = directory / "postfix"
        self.control = directory / "control"
        self._download = download
        self._changes = {**(secure_download(directory / "milter") if download else {}), **changes}
        self._process: subprocess.Popen[bytes] | None = None
        self.configuration = directory / "milter" / "nta-milter.toml"

    def __enter__(self) -> Alone:
        self._write()
        self.dns.start()
        try:
            self.start()
        except BaseException:
            self.dns.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.dns.stop()

    def start(self) -> None:
        """Start the process and wait until it has proven routing and resolver."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *(
                        sys.executable,
                        "-m",
                        "nta_milter.cli.main",
                        "run",
                        "--config",
                        str(self.configuration),
                    ),
                ],
                stderr=log,
            )
        self.wait_for("event=proven")

    def stop(self) -> int:
        """Stop it as systemd would and return its exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        status = self._process.wait(STOP_LIMIT)
        self._process = None
        return status

    @property
    def pid(self) -> int:
        """The parent process."""
        assert self._process is not None
        return self._process.pid

    def reload(self) -> None:
        """SIGHUP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    @property
    def log_file(self) -> Path:
        return self.directory / "milter.log"

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    @property
    def audit(self) -> str:
        return (self.directory / "milter" / "audit.jsonl").read_text()

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Wait until the log holds a text so many times."""
        limit = time.monotonic() + START_LIMIT
        while self.log.count(text) < times:
            if time.monotonic() > limit or (self._process is not None and self._process.poll() is not None):
                raise AssertionError(f"no {text!r} in the milter's log:\n{self.log}")
            time.sleep(0.02)

    def mta(self, **client: Any) -> Mta:
        """A connection as Postfix would make it."""
        return Mta(self.socket, **client)

    def command(self, *arguments: str) -> None:
        """Run an nta-milter command with its configuration; raises CalledProcessError when it fails."""
        subprocess.run(
            [
                *(sys.executable, "-m", "nta_milter.cli.main"),
                *(*arguments, "--config", str(self.configuration)),
            ],
            check=True,
            capture_output=True,
        )

    def _write(self) -> None:
        folder = self.directory / "milter"
        self.postfix.mkdir(parents=True)
        self.control.mkdir(mode=0o700)
        for file in filter(Path.is_file, SHIPPED.iterdir()):
            text = file.read_text().replace("/etc/postfix", str(self.postfix))
            (self.postfix / file.name).write_text(text)
        with (self.postfix / "main.cf").open("a") as main:
            main.write(
                "compatibility_level = 3.6\nmyhostname = mx.care.test\nmessage_size_limit = 60000000\n"
            )
        with (self.postfix / "master.cf").open("a") as master:
            master.write("smtp unix - - y - - smtp\ncleanup unix n - y - 0 cleanup\n")
        paths = {
            "milter": {
                "socket": f"unix:{self.socket}",
                "spool": str(folder / "spool"),
                "hostname": "mx.care.test",
                "control": str(self.control),
                "workers": 1,
            },
            "dns": {
                "servers": list(self.dns.servers),
                "probe_secure": "care.test",
                "probe_bogus": "broken.test",
            },
            "smime": {name: str(folder / name) for name in ("keys", "certificates", "trust")},
            "routing": {"postfix": str(self.postfix), "probe": ""},
            "audit": {"file": str(folder / "audit.jsonl")},
            "secrets": {"keys_password": str(folder / "keys-password")},
        }
        milter_settings(folder, self.certificates, {**paths, **self._changes})
        (folder / "keys-password").chmod(0o600)
        if self._download:
            self.command("store", "init", "--secrets", str(folder / "secrets"))
