from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, text, update

from nta_milter.audit.chain import Signer, load_public, new_key_pair, verify
from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.write import AuditWriter, StoreTarget
from nta_milter.store.database import Database
from nta_milter.store.migrations import migrate
from nta_milter.store.records import Records
from nta_milter.store.schema import checkpoints, records

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
WRITER = "mx.care.test:portal"


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path}/store.sqlite")
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def kept(database):
    return Records(database)


@pytest.fixture
def keys(tmp_path):
    private, public = new_key_pair()
    (tmp_path / "audit.pem").write_bytes(public)
    return Signer.parse(private, "audit-key"), load_public(tmp_path / "audit.pem")


def record(number: int, at: datetime = AT) -> AuditRecord:
    return AuditRecord(at, Event.SENT, f"Q{number}", "doctor@care.test", ("jan@citizen.test",), "portal", ())


def fill(database, count=5, at=AT, writer=WRITER):
    target = StoreTarget(database, writer)
    for number in range(count):
        target.append([record(number, at)])


def only(kept, public):
    (found,) = verify(kept, public)
    return found


def test_a_whole_chain_verifies_with_and_without_checkpoints(database, kept, keys):
    signer, public = keys
    fill(database)
    assert (only(kept, public).records, only(kept, public).signed, only(kept, public).fault) == (5, 0, None)
    assert len(signer.sign(kept, AT)) == 1
    assert signer.sign(kept, AT) == ()
    fill(database, 2)
    found = only(kept, public)
    assert (found.records, found.first, found.last, found.signed, found.fault) == (7, 1, 7, 5, None)
    assert (found.since, found.pruned_at) == (AT, None)


def test_each_writer_has_a_chain_of_its_own(database, kept, keys):
    fill(database, 2)
    fill(database, 3, writer="mx.care.test:worker")
    assert [(found.writer, found.records) for found in verify(kept, keys[1])] == [
        (WRITER, 2),
        ("mx.care.test:worker", 3),
    ]


@pytest.mark.parametrize(
    ("change", "sequence", "words"),
    [
        (update(records).where(records.c.sequence == 3).values(line=b"{}\n"), 3, "was changed"),
        (delete(records).where(records.c.sequence == 3), 4, "3 to 3 are missing"),
        (delete(records).where(records.c.sequence >= 4), 4, "up to 5 were signed"),
        (delete(records), 1, "up to 5 were signed"),
        (delete(records).where(records.c.sequence == 1), 2, "1 to 1 are missing"),
        (delete(records).where(records.c.sequence <= 5), 1, "up to 5 were signed"),
        (update(records).where(records.c.sequence == 4).values(at=AT - timedelta(days=900)), 4, "moment"),
        (update(checkpoints).values(sequence=4), 4, "signature is wrong"),
        (update(checkpoints).values(key_id="0" * 16), 5, "unknown key"),
        (text("UPDATE records SET sequence = sequence + 100"), 101, "1 to 100 are missing"),
    ],
)
def test_a_change_is_seen(database, kept, keys, change, sequence, words):
    signer, public = keys
    fill(database)
    signer.sign(kept, AT)
    with database.transaction() as connection:
        connection.execute(change)
    fault = only(kept, public).fault
    assert fault is not None
    assert (fault.sequence, words in fault.text) == (sequence, True), fault


@pytest.mark.parametrize("value", ["line = 'text'", "line = 5", "hash = 5", "at = 'x'", "at = 9e18"])
def test_a_column_of_another_type_is_seen(database, kept, keys, value):
    fill(database)
    with database.transaction() as connection:
        connection.execute(text(f"UPDATE records SET {value} WHERE sequence = 3"))
    fault = only(kept, keys[1]).fault
    assert (fault.sequence, "was changed" in fault.text) == (3, True)


def test_a_chain_built_anew_is_not_the_one_that_was_signed(database, kept, keys):
    signer, public = keys
    fill(database)
    signer.sign(kept, AT)
    with database.transaction() as connection:
        connection.execute(delete(records))
        kept_checkpoints = connection.execute(checkpoints.select()).all()
        connection.execute(delete(checkpoints))
    fill(database, 5, AT + timedelta(seconds=1))
    with database.transaction() as connection:
        for row in kept_checkpoints:
            connection.execute(checkpoints.insert().values(**row._mapping))
    fault = only(kept, public).fault
    assert fault is not None
    assert fault.text == "the chain is not the one that was signed"


def test_writers_of_one_name_share_a_chain(database, kept, keys):
    first = AuditWriter(StoreTarget(database, WRITER))
    second = AuditWriter(StoreTarget(database, WRITER))
    for number in range(10):
        (first if number % 3 else second).write(record(number))
    found = only(kept, keys[1])
    assert (found.records, found.fault) == (10, None)
    first.close()
    second.close()
