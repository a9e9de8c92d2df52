import dataclasses
from datetime import timedelta

import pytest

from nta_milter.audit.write import AuditWriter, StoreTarget
from nta_milter.config.download import WorkerSettings
from nta_milter.errors import TemporaryError
from nta_milter.store.database import Database
from nta_milter.store.records import Records
from nta_milter.store.schema import blobs
from nta_milter.worker.postqueue import Queued
from tests.unit.outbox.conftest import (  # noqa: F401
    AT,
    copies,
    message,
    outbox,
    portal,
    private,
    store,
    worker,
)
from tests.unit.outbox.conftest import settings as outbox_settings  # noqa: F401
from tests.unit.worker.smtp import Postfix

WRITER = "mx.care.test:worker"


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.at = AT

    def __call__(self):
        return self.at

    def advance(self, **amount):
        self.at += timedelta(**amount)


class Queue:
    """Postfix's queue as a test wants it seen."""

    def __init__(self):
        self.holds: list[Queued] = []
        self.hurried: list[str] = []
        self.broken = False
        self.looks = 0

    def look(self):
        self.looks += 1
        if self.broken:
            raise TemporaryError("cannot be run", where="postqueue")
        return tuple(self.holds)

    def deliver_now(self, queue_id):
        self.hurried.append(queue_id)


def queued(recipient="", sender="", queue="deferred", queue_id="4X1", at=AT) -> Queued:
    return Queued(queue, queue_id, at, sender, (recipient,), ("connect: no",))


def lose(store, delivery):  # noqa: F811
    """Have the content of a delivery changed by somebody."""
    with store.database.transaction() as connection:
        mine = blobs.c.id == delivery.blob_id
        assert connection.execute(blobs.update().where(mine).values(content=b"nonsense" * 20)).rowcount


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue():
    return Queue()


@pytest.fixture
def settings(outbox_settings, tmp_path):  # noqa: F811
    return dataclasses.replace(
        outbox_settings,
        worker=WorkerSettings(hand=tmp_path / "hand", mail=tmp_path / "mail", tries=3),
    )


@pytest.fixture
def audit(store):  # noqa: F811
    writer = AuditWriter(StoreTarget(Database(store.database.url), WRITER))
    yield writer
    writer.close()


@pytest.fixture
def events(store):  # noqa: F811
    """What was recorded so far, in order."""
    import json

    return lambda: [json.loads(record.line)["event"] for record in Records(store.database).read(WRITER)]


@pytest.fixture
def postfix(tmp_path):
    """Starts a server in Postfix's place: its replies by step, where it leaves."""
    servers = []

    def start(name="hand", leave_at="", **replies):
        known = {step.replace("dot", "."): reply for step, reply in replies.items()}
        server = Postfix(tmp_path / name, known, leave_at)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
