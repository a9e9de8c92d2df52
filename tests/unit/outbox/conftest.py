from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nta_milter.config.model import InternalSettings, PolicySettings, PortalSettings, Settings
from nta_milter.message.headers import split
from nta_milter.message.model import Entity, Message, Recipient
from nta_milter.outbox.queue import Copy, Outbox
from nta_milter.policy.route import Route
from nta_milter.store.blobs import FileBlobs
from nta_milter.store.database import Database
from nta_milter.store.keys import PrivateKeys, PublicKeys
from nta_milter.store.migrations import migrate
from nta_milter.store.store import Store

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
MAIL = (
    b"From: Doctor <doctor@care.test>\r\nTo: jan@citizen.test\r\nBcc: piet@citizen.test\r\n"
    b"Subject: canary-subject\r\nMessage-ID: <1@care.test>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
    b"\r\ncanary-text\r\n"
)


@pytest.fixture
def settings():
    return Settings(
        policy=PolicySettings(mode="always"),
        internal=InternalSettings(domains=("care.test",)),
        portal=PortalSettings(url="https://veilig.care.test"),
    )


@pytest.fixture
def private():
    return {name: X25519PrivateKey.generate() for name in ("portal", "worker")}


@pytest.fixture
def portal(private):
    return PrivateKeys([private["portal"]])


@pytest.fixture
def worker(private):
    return PrivateKeys([private["worker"]])


@pytest.fixture
def store(tmp_path, private):
    database = Database(f"sqlite:///{tmp_path}/store.sqlite")
    migrate(database)
    (tmp_path / "blobs").mkdir()
    public = PublicKeys(private["portal"].public_key(), private["worker"].public_key())
    yield Store.of(database, FileBlobs(tmp_path / "blobs"), public)
    database.close()


@pytest.fixture
def outbox(store, settings):
    return Outbox(store, settings)


def message(mail: bytes = MAIL, *recipients: str, sender: str = "doctor@care.test") -> Message:
    headers, start = split(mail)
    addresses = recipients or ("jan@citizen.test",)
    return Message(sender, (), tuple(Recipient(each) for each in addresses), headers, mail[start:])


def copies(whole: Message, *routes: Route) -> list[Copy]:
    content = Entity(whole.headers, whole.body)
    return [
        Copy(recipient, route, content, reasons=("because",))
        for recipient, route in zip(whole.recipients, routes, strict=True)
    ]
