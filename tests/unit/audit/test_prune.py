import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from nta_milter.audit.chain import Signer, load_public, new_key_pair, verify
from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.prune import PIECE, prune
from nta_milter.audit.write import StoreTarget
from nta_milter.errors import KeyStoreError
from nta_milter.store.database import Database
from nta_milter.store.migrations import migrate
from nta_milter.store.records import Records
from nta_milter.store.schema import checkpoints, records

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW = AT + timedelta(days=100)
DAY = timedelta(days=1)
WRITER = "mx.care.test:portal"


@pytest.fixture
def kept(database):
    return Records(database)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    private, public = new_key_pair()
    (folder / "audit.pem").write_bytes(public)
    return Signer.parse(private, "audit-key"), load_public(folder / "audit.pem")


def fill(database, count, at=AT, writer=WRITER):
    record = AuditRecord(at, Event.READ, "4X1", "doctor@care.test", ("jan@citizen.test",), "portal", ())
    StoreTarget(database, writer).append([record] * count)


def only(kept, public):
    (found,) = verify(kept, public)
    return found


def shown(found):
    return (found.records, found.first, found.last, found.fault)


def test_what_is_left_is_verified_from_the_checkpoint_on_and_says_since_when(database, kept, keys):
    signer, public = keys
    fill(database, 3)
    signer.sign(kept, AT)
    fill(database, 3, AT + 10 * DAY)
    assert list(prune(kept, public, AT, NOW, signer)) == []
    (found,) = prune(kept, public, AT + DAY, NOW, signer)
    assert (found.writer, found.removed, found.last, found.uncovered, found.fault) == (WRITER, 3, 3, 0, None)
    whole = only(kept, public)
    assert (*shown(whole), whole.since, whole.pruned_at) == (3, 4, 6, None, AT + 10 * DAY, NOW)
    assert list(prune(kept, public, AT + DAY, NOW, signer)) == []
    fill(database, 1, AT + 11 * DAY)
    assert shown(only(kept, public)) == (4, 4, 7, None)


def test_what_no_checkpoint_covers_stays_until_one_does(database, kept, keys):
    signer, public = keys
    fill(database, 3)
    signer.sign(kept, AT)
    fill(database, 2)
    (found,) = prune(kept, public, AT + DAY, NOW, signer)
    assert (found.removed, found.uncovered) == (3, 2)
    (found,) = prune(kept, public, AT + DAY, NOW, signer)
    assert (found.removed, found.uncovered) == (0, 2)
    signer.sign(kept, AT)
    (found,) = prune(kept, public, AT + DAY, NOW, signer)
    assert (found.removed, found.last, found.uncovered) == (2, 5, 0)


def test_a_chain_can_go_whole_and_goes_on_where_it_was(database, kept, keys):
    signer, public = keys
    fill(database, 5)
    signer.sign(kept, AT)
    (found,) = prune(kept, public, AT + DAY, NOW, signer)
    assert found.removed == 5
    assert shown(only(kept, public)) == (0, 0, 5, None)
    assert list(kept.read(WRITER)) == []
    assert signer.sign(kept, NOW) == ()
    fill(database, 2, NOW)
    assert shown(only(kept, public)) == (2, 6, 7, None)


def test_without_a_signer_it_is_only_told(database, kept, keys):
    signer, public = keys
    fill(database, 3)
    signer.sign(kept, AT)
    fill(database, 2)
    for _ in range(2):
        (found,) = prune(kept, public, AT + DAY, NOW, None)
        assert (found.removed, found.last, found.uncovered, found.fault) == (3, 3, 2, None)
    assert shown(only(kept, public)) == (5, 1, 5, None)


def test_many_records_go_in_pieces(database, kept, keys):
    signer, public = keys
    for _ in range(5):
        fill(database, PIECE // 2)
        signer.sign(kept, AT)
    (found,) = prune(kept, public, AT + DAY, NOW, signer)
    assert (found.removed, found.last, found.fault) == (PIECE // 2 * 5, PIECE // 2 * 5, None)
    assert len(kept.checkpoints(WRITER)) == 1


@pytest.mark.parametrize(
    ("change", "sequence", "words"),
    [
        (update(records).where(records.c.sequence == 2).values(line=b"{}\n"), 2, "was changed"),
        (delete(records).where(records.c.sequence == 2), 3, "2 to 2 are missing"),
        (delete(records).where(records.c.sequence == 3), 3, "up to 3 were signed"),
        (update(checkpoints).values(hash="0" * 64), 3, "signature is wrong"),
        (update(checkpoints).values(key_id="0" * 16), 3, "unknown key"),
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_a_broken_chain_stays_as_evidence(database, kept, keys, change, sequence, words, signed):
    signer, public = keys
    fill(database, 3)
    signer.sign(kept, AT)
    fill(database, 1, NOW)
    with database.transaction() as connection:
        connection.execute(change)
    before = list(kept.read(WRITER))
    (found,) = prune(kept, public, AT + DAY, NOW, signer if signed else None)
    assert (found.removed, found.fault.sequence, words in found.fault.text) == (0, sequence, True)
    assert list(kept.read(WRITER)) == before


def test_who_cannot_sign_cannot_make_a_removal_look_like_pruning(database, kept, keys):
    signer, public = keys
    for _ in range(3):
        fill(database, 2)
        signer.sign(kept, AT)
    with database.transaction() as connection:
        connection.execute(delete(records).where(records.c.sequence <= 4))
        connection.execute(delete(checkpoints).where(checkpoints.c.sequence < 4))
    fault = only(kept, public).fault
    assert (fault.sequence, fault.text) == (5, "records 1 to 4 are missing")


def test_nor_remove_more_than_was_pruned_or_bring_something_back(database, kept, keys):
    signer, public = keys
    for day in range(3):
        fill(database, 2, AT + day * DAY)
        signer.sign(kept, AT)
    first = next(kept.read(WRITER))
    list(prune(kept, public, AT + DAY, NOW, signer))
    assert shown(only(kept, public)) == (4, 3, 6, None)
    with database.transaction() as connection:
        connection.execute(
            insert(records).values(writer=WRITER, sequence=1, at=AT, line=first.line, hash=first.hash)
        )
    assert "were removed, and one of them is there" in only(kept, public).fault.text
    with database.transaction() as connection:
        connection.execute(delete(records).where(records.c.sequence <= 4))
        connection.execute(delete(checkpoints).where(checkpoints.c.sequence < 4))
    assert only(kept, public).fault.text == "records 1 to 4 are missing"


def test_an_unknown_signer_is_refused_before_anything_is_gone(database, kept, keys):
    signer, public = keys
    fill(database, 3)
    signer.sign(kept, AT)
    other = Signer.parse(new_key_pair()[0], "audit-key")
    with pytest.raises(KeyStoreError, match="public half is not in"):
        list(prune(kept, public, AT + DAY, NOW, other))
    assert shown(only(kept, public)) == (3, 1, 3, None)


def test_a_new_key_prunes_what_the_old_one_signed(database, kept, keys, tmp_path):
    signer, old = keys
    fill(database, 3)
    signer.sign(kept, AT)
    private, public = new_key_pair()
    (tmp_path / "audit.pem").write_bytes(public)
    both = {**load_public(tmp_path / "audit.pem"), **old}
    (found,) = prune(kept, both, AT + DAY, NOW, Signer.parse(private, "audit-key"))
    assert found.removed == 3
    assert shown(only(kept, both)) == (0, 0, 3, None)


def test_hosts_that_prune_while_others_write_leave_a_whole_chain(database, kept, keys):
    signer, public = keys
    for _ in range(20):
        fill(database, 50)
        signer.sign(kept, AT)
    together = threading.Barrier(4)
    faults, removed = [], []

    def host():
        mine = Database(database.url)
        together.wait()
        for found in prune(Records(mine), public, AT + DAY, NOW, signer):
            removed.append(found.removed)
            faults.append(found.fault)
        mine.close()

    def write():
        mine = Database(database.url)
        together.wait()
        for _ in range(20):
            fill(mine, 1, NOW)
        mine.close()

    threads = [*(threading.Thread(target=host) for _ in range(3)), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(removed), {*faults}) == (1000, {None})
    assert shown(only(kept, public)) == (20, 1001, 1020, None)


def test_the_event_says_what_went_and_who_asked(database, kept, keys):
    signer, public = keys
    fill(database, 3)
    signer.sign(kept, AT)
    (found,) = prune(kept, public, AT + DAY, NOW, signer)
    line = json.loads(found.record(AT + DAY, NOW, by="root").line())
    assert (line["event"], line["details"]) == (
        "pruned",
        {
            "chain": WRITER,
            "records": "3",
            "last": "3",
            "before": "2026-11-25T12:00:00+00:00",
            "by": "root",
        },
    )
    assert "by" not in found.record(AT, NOW).details


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["write", "sign", "prune"]), st.integers(min_value=0, max_value=8)),
        max_size=25,
    )
)
@example(steps=[("write", 1), ("sign", 0), ("prune", 2), ("write", 0), ("sign", 0), ("prune", 1)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_whatever_is_done_in_whatever_order_the_chain_is_whole_and_nothing_young_goes(keys, tmp_path, steps):
    signer, public = keys
    file = tmp_path / "store.sqlite"
    file.unlink(missing_ok=True)
    opened = Database(f"sqlite:///{file}")
    migrate(opened)
    kept = Records(opened)
    written, gone, newest = [], 0, AT
    for what, number in steps:
        if what == "write":
            at = AT + number * DAY
            fill(opened, 1, at)
            written.append(at)
        elif what == "sign":
            signer.sign(kept, NOW)
        else:
            newest = AT + number * DAY
            for found in prune(kept, public, newest, NOW, signer):
                assert found.fault is None
                assert all(at < newest for at in written[gone : found.last])
                gone = max(gone, found.last)
        for found in verify(kept, public):
            assert found.fault is None
            assert found.last == len(written)
            assert [record.at for record in kept.read(WRITER)] == written[found.last - found.records :]
    opened.close()
