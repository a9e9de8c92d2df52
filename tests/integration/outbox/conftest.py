"""A real Postfix with a milter that obeys, and nta-milter's worker on a store of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

import pytest

from nta_milter.config.load import load
from nta_milter.message.headers import split
from nta_milter.message.model import Entity, Message, Recipient
from nta_milter.outbox.queue import Copy, Outbox
from nta_milter.policy.route import Route
from nta_milter.store.keys import PrivateKeys, Token
from nta_milter.store.rows import Delivery
from nta_milter.store.store import Store, open_store, private_keys
from tests.integration.conftest import Plumbing
from tests.laboratory import INSIDE
from tests.laboratory.laboratory import Reply
from tests.laboratory.names import PORTAL_URL, secure_download

DOCTOR = "doctor@care.test"
COLLEAGUE = "colleague@care.test"
NURSE = "nurse@hospital.test"
JAN = "jan@citizen.test"
NOOP = (sys.executable, "-m", "tests.laboratory.noop")
HOSPITAL_HOP = "[nta.hospital.test]"


def mail(number: int, *to: str) -> bytes:
    """A mail with a canary in each place."""
    return (
        f"From: {DOCTOR}\r\nTo: {', '.join(to)}\r\nSubject: canary-subject-{number}\r\n"
        f"Message-ID: <canary-{number}@care.test>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\ncanary-text-{number}\r\n"
    ).encode()


class Site(Plumbing):
    """The laboratory with a store, which tests use from outside as the milter does from inside."""

    def open_store(self) -> None:
        """Open what the laboratory has made."""
        outside = self.directory / "care" / "nta-milter"
        inside = (outside / "nta-milter.toml").read_text()
        (outside / "outside.toml").write_text(
            inside.replace(str(INSIDE / "care" / "nta-milter"), str(outside))
        )
        self.settings = load(outside / "outside.toml").settings
        self.store: Store = open_store(self.settings)
        self.outbox = Outbox(self.store, self.settings)
        self.portal_keys: PrivateKeys = private_keys("portal", self.settings)

    def worker_runs(self) -> bool:
        """Whether the worker has been started and has not ended."""
        return "worker" in self._services and not self._services["worker"].ended()

    def prepare(
        self,
        raw: bytes,
        *routes: tuple[str, Route, str],
        queue_id: str = "4X1",
        at: datetime | None = None,
    ) -> str:
        """What the milter does: store copies for (recipient, route, next hop), give the commit address."""
        headers, start = split(raw)
        recipients = tuple(Recipient(recipient) for recipient, _, _ in routes)
        message = Message(DOCTOR, (), recipients, headers, raw[start:])
        content = Entity(headers, raw[start:])
        copies = [
            Copy(Recipient(recipient), route, content, hop, ("because",)) for recipient, route, hop in routes
        ]
        return self.outbox.prepare(message, copies, queue_id, at or datetime.now(UTC))

    def commit(self, address: str, raw: bytes, *recipients: str, **orders: Any) -> Reply:
        """Send a mail to whom it passes, with the commit recipient added by the milter."""
        self.order(recipient=address, **orders)
        return self.send(DOCTOR, DOCTOR, recipients or (COLLEAGUE,), raw)

    def delivery(self, recipient: str) -> Delivery:
        """The newest delivery of a recipient."""
        return self.store.handover.list_deliveries(recipient=recipient)[0]

    def audit(self) -> list[dict[str, Any]]:
        """The records of all chains."""
        status, output = self.nta_milter("audit", "export", "--config", str(self.configuration))
        assert status == 0, output
        return [json.loads(line)["record"] for line in output.splitlines()]

    def events(self, delivery: Delivery) -> list[str]:
        """What was recorded about a delivery, in order of time."""
        mine = [each for each in self.audit() if each.get("details", {}).get("delivery") == delivery.id]
        return [each["event"] for each in sorted(mine, key=lambda each: each["at"])]


@pytest.fixture(scope="session")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    changes = secure_download()
    changes["audit"] = {"target": "store"}
    changes["secrets"]["audit_key"] = f"{INSIDE}/care/nta-milter/secrets/audit-key"
    with Site(tmp_path_factory.mktemp("outbox"), milter=NOOP, download=True, **changes) as site:
        drop_ins = site.directory / "care" / "nta-milter" / "conf.d"
        drop_ins.mkdir()
        (drop_ins / "short.toml").write_text("[milter]\ntimeout = 10\n[dns]\ndeadline = 5.0\n")
        site.stop_service("worker")
        site.open_store()
        yield site
        site.store.close()


@pytest.fixture
def site(_site: Site) -> Site:
    """The laboratory with nothing in its queues and the worker running."""
    _site.reset()
    _site.order()
    if not _site.worker_runs():
        _site.start_service("worker")
    return _site


def link_in(raw: bytes, page: str) -> Token | None:
    """The token of the link to a page, ``m`` or ``hold``."""
    return Token.parse(text_of(raw).partition(f"{PORTAL_URL}/{page}/")[2][:43])


def text_of(raw: bytes) -> str:
    """All text of a mail, decoded."""
    found = message_from_bytes(raw)
    return "\n".join(
        part.get_payload(decode=True).decode("utf-8", "replace")
        for part in found.walk()
        if part.get_content_maintype() == "text"
    )
