"""Reports about mail that was opened on arrival: for each recipient that one names, and for nobody else."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nta_milter.audit.write import AuditWriter
from nta_milter.config.model import InternalSettings, PolicySettings, Settings
from nta_milter.message.headers import Headers
from nta_milter.message.model import Message, Recipient
from nta_milter.outbox.addresses import bounced_id
from nta_milter.outbox.queue import Outbox
from nta_milter.store.blobs import FileBlobs
from nta_milter.store.database import Database
from nta_milter.store.keys import PublicKeys
from nta_milter.store.migrations import migrate
from nta_milter.store.store import Store
from nta_milter.worker.answer import Answers

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
GROUP = "\r\nFinal-Recipient: rfc822; %s\r\nAction: %s\r\nStatus: %s\r\n"


@pytest.fixture
def store(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/store.sqlite")
    migrate(database)
    (tmp_path / "blobs").mkdir()
    public = PublicKeys(X25519PrivateKey.generate().public_key(), X25519PrivateKey.generate().public_key())
    yield Store.of(database, FileBlobs(tmp_path / "blobs"), public)
    database.close()


@pytest.fixture
def answers(store, tmp_path):
    audit = AuditWriter(tmp_path / "audit.jsonl")
    yield Answers(store, audit, lambda: AT, lambda: None)
    audit.close()


def opened_for(store, *recipients, sender="nurse@hospital.test"):
    settings = Settings(
        policy=PolicySettings(mode="always"), internal=InternalSettings(domains=("care.test",))
    )
    whole = Message(
        sender, (), tuple(Recipient(address, ()) for address in recipients), Headers(), memoryview(b"")
    )
    return bounced_id(Outbox(store, settings).opened(whole, "4X1", AT))


def report(*groups):
    status = "Reporting-MTA: dns; mx.care.test\r\n" + "".join(GROUP % group for group in groups)
    return (
        "From: MAILER-DAEMON@care.test\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="x"\r\n\r\n--x\r\n'
        f"Content-Type: message/delivery-status\r\n\r\n{status}\r\n--x--\r\n"
    ).encode()


def reported(store):
    claimed = store.handover.claim(AT, timedelta(minutes=1))
    return sorted((each.delivery.sender, each.delivery.recipient, each.status) for each in claimed)


def test_each_recipient_that_refused_is_reported_once(store, answers):
    name = opened_for(store, "doctor@care.test", "Aide@care.test", "clerk@care.test")
    groups = [("doctor@care.test", "failed", "5.1.1"), ("aide@care.test", "failed", "5.2.2")]
    content = report(
        *groups, ("clerk@care.test", "delayed", "4.2.2"), ("jan@citizen.test", "failed", "5.0.0")
    )
    for _ in range(2):
        answers.receive("bounce", name, content)
    assert reported(store) == [
        ("nurse@hospital.test", "Aide@care.test", "5.2.2"),
        ("nurse@hospital.test", "doctor@care.test", "5.1.1"),
    ]


def test_what_is_remembered_of_opened_mail_is_forgotten_with_the_rest(store, answers):
    name = opened_for(store, "doctor@care.test")
    swept = store.retention.sweep(AT, timedelta(days=30))
    assert (swept.expired, swept.shredded, swept.forgotten) == ((), (), 0)
    assert store.retention.sweep(AT + timedelta(days=30), timedelta(days=30)).forgotten == 1
    answers.receive("bounce", name, report(("doctor@care.test", "failed", "5.1.1")))
    assert reported(store) == []
