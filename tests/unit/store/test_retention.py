import sqlite3
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from nta_milter.errors import StoreUnavailable
from nta_milter.store.blobs import FileBlobs
from nta_milter.store.keys import new_id
from nta_milter.store.retention import EXPIRED, GRACE, Retention
from nta_milter.store.rows import DeliveryState, Form
from nta_milter.store.schema import blobs
from tests.unit.store.conftest import AT, CONTENT, LONG, Made

LEASE = timedelta(minutes=10)
LATER = AT + timedelta(days=31)
FORGET = timedelta(days=90)


@pytest.fixture(params=[CONTENT, LONG], ids=["row", "blob"])
def make(request, store):
    return partial(Made, store, content=request.param)


def names(store):
    """The ids of all content that is there, in rows and beside them."""
    with store.database.reading() as connection:
        kept = connection.execute(select(blobs.c.id).where(blobs.c.content.is_not(None))).scalars()
        return {*kept, *(name for name, _ in store.blobs.listed())}


def sweep(store, at=AT, **more):
    return store.retention.sweep(at, FORGET, **more)


def hand_over(store, at=AT):
    claimed = store.handover.claim(at, LEASE)
    for submission in claimed:
        assert store.handover.submitted(submission, "4X1", at)
    return claimed


def test_what_postfix_has_is_shredded_and_what_can_be_fetched_is_not(store, make):
    copy, portal = make("dane").released(), make("portal", digest="other").released()
    sweep(store)
    assert len(names(store)) == 2
    hand_over(store)
    swept = sweep(store)
    assert [each.message_id for each in swept.shredded] == [copy.new.id]
    assert names(store) == {portal.new.blobs[0].id}
    assert store.handover.worker_wrap(copy.new.id) is None
    assert sweep(store).shredded == ()


@pytest.mark.parametrize("route", ["portal", "hold", "tempfail"])
def test_what_has_had_its_time_expires_and_its_sender_is_told(store, make, route):
    made = make(route).released()
    token, link = made.link()
    store.outgoing.add_link(link, AT)
    hand_over(store)
    (expired,) = sweep(store, LATER).expired
    assert expired.id == made.new.deliveries[0].id
    assert store.access.find(expired.id).state is DeliveryState.EXPIRED
    assert store.access.find_by_link(token.lookup, AT) is None
    assert names(store) == set()
    (report,) = store.handover.claim(LATER, LEASE)
    assert (report.form, report.status) == (Form.REPORT, EXPIRED)
    assert sweep(store, LATER).expired == ()


def test_the_sender_of_what_was_opened_is_not_told_that_it_expired(store, make):
    made = make("portal").released()
    hand_over(store)
    store.access.opened(made.new.deliveries[0].id, AT)
    assert len(sweep(store, LATER).expired) == 1
    assert store.handover.claim(LATER, LEASE) == ()


def test_a_copy_that_was_sent_does_not_expire(store, make):
    made = make("dane", "portal").released()
    hand_over(store)
    assert [each.route for each in sweep(store, LATER).expired] == ["portal"]
    assert store.access.find(made.new.deliveries[0].id).state is DeliveryState.SENT


def test_a_prepared_message_is_never_swept(store, make):
    made = make("portal")
    made.prepared()
    swept = sweep(store, AT + timedelta(days=400))
    assert (swept.expired, swept.shredded) == ((), ())
    assert len(names(store)) == 1


def test_what_was_abandoned_is_shredded(store, make):
    made = make("dane", "portal")
    attempt = made.prepared()
    assert store.outgoing.abandon(attempt.id).message_id == made.new.id
    assert [each.message_id for each in sweep(store).shredded] == [made.new.id]
    assert names(store) == set()


def test_an_open_attempt_keeps_the_content_that_it_may_still_release(store, make):
    made = make("dane")
    first = made.prepared()
    store.outgoing.attach("d", new_id(), "4X2", AT)
    store.outgoing.commit(first.id, AT)
    hand_over(store)
    assert sweep(store).shredded == ()
    (second,) = store.outgoing.open_attempts()
    store.outgoing.commit(second.id, AT)
    assert len(hand_over(store)) == 1
    assert len(sweep(store).shredded) == 1


def test_what_is_recalled_or_deleted_is_shredded(store, make):
    made = [make("portal", digest=f"d{number}").released() for number in range(2)]
    hand_over(store)
    assert store.handover.recall(made[0].new.deliveries[0].id)
    assert store.access.delete(made[1].new.deliveries[0].id)
    assert len(sweep(store).shredded) == 2


def test_without_resend_the_worker_can_open_nothing_once_all_is_sent(store, make):
    made = make("portal").released()
    sweep(store, resend=False)
    assert store.handover.worker_wrap(made.new.id) is not None
    hand_over(store)
    sweep(store, resend=False)
    assert store.handover.worker_wrap(made.new.id) is None
    assert store.access.find(made.new.deliveries[0].id).state is DeliveryState.SENT
    assert len(names(store)) == 1


def test_rows_are_forgotten_long_after_their_content(store, make):
    made = make("dane").released()
    hand_over(store)
    sweep(store)
    assert sweep(store, AT + FORGET - timedelta(seconds=1)).forgotten == 0
    assert sweep(store, AT + FORGET).forgotten == 1
    assert store.access.find(made.new.deliveries[0].id) is None
    assert store.outgoing.open_attempts() == ()


def test_a_blob_without_a_row_is_removed_after_a_grace(store):
    made = Made(store, "dane", content=LONG)
    assert len(names(store)) == 1
    (_, stored_at), *_ = store.blobs.listed()
    assert sweep(store, stored_at + GRACE).orphans == 0
    assert sweep(store, stored_at + GRACE + timedelta(seconds=1)).orphans == 1
    assert names(store) == set()
    made.prepared()


class Stubborn(FileBlobs):
    """Blobs that cannot be removed."""

    def delete(self, blob_id):
        raise StoreUnavailable("cannot be removed", where=blob_id)


def test_the_key_is_gone_even_when_its_content_cannot_be_removed(store):
    made = Made(store, "dane", content=LONG).released()
    hand_over(store)
    with pytest.raises(StoreUnavailable):
        Retention(store.database, Stubborn(store.blobs.folder)).sweep(AT, FORGET)
    assert store.handover.worker_wrap(made.new.id) is None
    (_, stored_at), *_ = store.blobs.listed()
    assert sweep(store, stored_at + 2 * GRACE).orphans == 1


def test_a_shredded_key_is_nowhere_in_sqlites_files(tmp_path, private, make, store):
    if not store.database.is_sqlite:
        assert store.database.engine.url.get_backend_name() == "postgresql"  # its own vacuum does this
        return
    made = make("portal").released()
    _, link = made.link()
    store.outgoing.add_link(link, AT)
    hand_over(store)
    wrap = store.handover.worker_wrap(made.new.id)
    files = [tmp_path / f"store.sqlite{more}" for more in ("", "-wal")]

    def holds(secret: bytes) -> bool:
        return any(secret in Path(file).read_bytes() for file in files if file.exists())

    secrets = [wrap, link.sealed]
    if made.new.blobs[0].sealed:
        secrets.append(made.new.blobs[0].sealed)
    assert all(holds(secret) for secret in secrets)
    store.access.delete(made.new.deliveries[0].id)
    sweep(store)
    assert not any(holds(secret) for secret in secrets)
    assert sqlite3.connect(tmp_path / "store.sqlite").execute("PRAGMA integrity_check").fetchone() == ("ok",)
