"""A portal of its own: store, keys and the real command on a port of loopback, and a small browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from nta_milter.portal.factors import code as access_code
from nta_milter.store import migrations
from nta_milter.store.blobs import FileBlobs
from nta_milter.store.database import Database
from nta_milter.store.keys import (
    PrivateKeys,
    PublicKeys,
    Token,
    new_id,
    new_key_pair,
    new_message_key,
)
from nta_milter.store.rows import Attempt, Factor, NewDelivery, NewLink, NewMessage
from nta_milter.store.store import Store
from tests.laboratory.ports import free_port

CODE = "roos-fiets-47"
URL = "https://veilig.care.test"
START_LIMIT = 30.0


@dataclass(frozen=True)
class Deposited:
    """A stored message: the token of its link, and its ids."""

    token: Token
    message_id: str
    delivery_id: str
    key: bytes = field(repr=False)

    @property
    def path(self) -> str:
        return f"/m/{self.token.text}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def cookies(self) -> dict[str, str]:
        pairs = (field.split(";")[0].split("=", 1) for field in self.headers.get_all("Set-Cookie", []))
        return dict(pairs)


class Visitor:
    """A browser that keeps cookies and follows nothing by itself."""

    def __init__(self, port: int, address: str = "192.0.2.10") -> None:
        self.port = port
        self.address = address
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"X-Forwarded-For": self.address, **self.headers, **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        for name, value in answer.cookies.items():
            if value and value != '""':
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return answer

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(
        self, path: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.request("POST", path, urlencode(fields or {}).encode(), sent)

    def open(self, deposited: Deposited, code: str = CODE) -> str:
        """Give the code; the path of the message."""
        answer = self.post(deposited.path, {"code": code})
        assert answer.status == 303, answer.text
        return answer.headers["Location"]

    def form_token(self, path: str) -> str:
        """The token that forms of the page bring back."""
        return re.search(r'name="token" value="([0-9a-f]{64})"', self.get(path).text)[1]


class Site:
    """One running portal; ``folder`` holds all of its state."""

    def __init__(
        self, folder: Path, *, on_unix_socket: bool = False, sms_command: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.unix = folder / "portal.sock" if on_unix_socket else None
        (folder / "blobs").mkdir()
        (folder / "public").mkdir()
        private: dict[str, bytes] = {}
        for service in ("portal", "worker"):
            private[service], public = new_key_pair()
            (folder / "public" / f"{service}.pem").write_bytes(public)
            secret = folder / f"{service}-key"
            secret.write_bytes(private[service])
            secret.chmod(0o600)
        self.worker_keys = PrivateKeys.parse(private["worker"], "worker-key")
        self.port = free_port()
        self.configuration = folder / "nta-milter.toml"
        self.configuration.write_text(
            f"""
[policy]
mode = "always"
[internal]
domains = ["care.test"]
[store]
url = "sqlite:///{folder}/store.sqlite"
blobs = "{folder}/blobs"
public = "{folder}/public"
[portal]
url = "{URL}"
socket = "{f"unix:{self.unix}" if self.unix else f"inet:{self.port}@127.0.0.1"}"
proxies = ["127.0.0.0/8"]
support = "Bel 020 555 01 23, op werkdagen van 8 tot 17 uur"
sms_command = {json.dumps(sms_command)}
[notification]
organisation = "Huisartsenpraktijk De Linde"
[audit]
file = "{folder}/audit.jsonl"
[secrets]
portal_key = "{folder}/portal-key"
"""
        )
        database = Database(f"sqlite:///{folder}/store.sqlite")
        migrations.migrate(database)
        self.store = Store.of(database, FileBlobs(folder / "blobs"), PublicKeys.load(folder / "public"))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of ours with this site's configuration."""
        return subprocess.run(
            [sys.executable, "-m", "nta_milter.cli.main", *words, "--config", str(self.configuration)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self) -> None:
        log = (self.folder / "portal.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nta_milter.cli.main", "portal", "--config", str(self.configuration)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning:nta_milter"},
        )
        log.close()
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self._connect()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"the portal did not start: {self.log}")

    def _connect(self) -> None:
        family, address = (
            (socket.AF_UNIX, str(self.unix)) if self.unix else (socket.AF_INET, ("127.0.0.1", self.port))
        )
        with socket.socket(family) as probe:
            probe.connect(address)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.store.close()
        return status

    @property
    def log(self) -> str:
        return (self.folder / "portal.log").read_text()

    @property
    def audit(self) -> str:
        return (self.folder / "audit.jsonl").read_text()

    def visitor(self, address: str = "192.0.2.10") -> Visitor:
        return Visitor(self.port, address)

    def agree(self, address: str, code: str = CODE) -> None:
        """Have an access code for an address."""
        now = datetime.now(UTC)
        self.store.access.put_factor(Factor(address, "code", access_code.hashed(code), "test", now))

    def deposit(
        self,
        message: bytes,
        recipient: str = "jan@citizen.test",
        *,
        code: str | None = CODE,
        author: str = "doctor@care.test",
        route: str = "portal",
        lifetime: timedelta = timedelta(days=30),
    ) -> Deposited:
        """Store a message for a recipient, as the milter would, and a link to it."""
        if code is not None:
            self.agree(recipient, code)
        message_id, delivery_id, key, token = new_id(), new_id(), new_message_key(), Token.new()
        now = datetime.now(UTC)
        blob = self.store.put(message_id, new_id(), key, [message])
        held = route == "hold"
        link = NewLink(
            token.lookup,
            delivery_id,
            "hold" if held else "open",
            b"" if held else self.store.public.for_link(token, key, message_id),
        )
        new = NewMessage(
            id=message_id,
            digest=message_id,
            sender=author,
            author=author,
            language="nl",
            created_at=now,
            expires_at=now + lifetime,
            worker_wrap=self.store.public.for_worker(key, message_id, (recipient,)),
            blobs=(blob,),
            deliveries=(NewDelivery(delivery_id, blob.id, recipient, route),),
        )
        attempt = Attempt(new_id(), message_id, "4X1", now)
        self.store.outgoing.prepare(new, attempt, None if held else link)
        self.store.outgoing.commit(attempt.id, now)
        if held:
            self.store.outgoing.add_link(link, now)
        return Deposited(token, message_id, delivery_id, key)
