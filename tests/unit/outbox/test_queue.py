import dataclasses
from datetime import timedelta

import pytest
from sqlalchemy import select

from nta_milter.config.model import PortalSettings
from nta_milter.errors import StoreUnavailable
from nta_milter.message.headers import split
from nta_milter.message.model import Entity, Recipient
from nta_milter.outbox.addresses import commit_id
from nta_milter.outbox.queue import Copy, Outbox
from nta_milter.policy.route import Route
from nta_milter.store.keys import Token
from nta_milter.store.rows import Commit, DeliveryState, Form
from nta_milter.store.schema import blobs
from nta_milter.store.store import IN_ROW
from tests.unit.outbox.conftest import AT, MAIL, copies, message

LEASE = timedelta(minutes=10)


def contents(store):
    """The ids of what is stored, in rows and beside them."""
    with store.database.reading() as connection:
        return list(connection.execute(select(blobs.c.id)).scalars())


def claimed(store):
    return store.handover.claim(AT, LEASE)


def link_of(entity: Entity) -> Token:
    text = bytes(entity.body).replace(b"=\r\n", b"").decode("ascii")
    token = Token.parse(text.partition("https://veilig.care.test/m/")[2][:43])
    assert token is not None
    return token


def test_what_is_prepared_goes_after_its_commit_and_is_the_same_to_the_byte(outbox, store, worker):
    whole = message()
    address = outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    assert claimed(store) == ()
    assert store.outgoing.commit(commit_id(address), AT) is Commit.RELEASED
    (submission,) = claimed(store)
    assert (submission.form, submission.delivery.recipient) == (Form.COPY, "jan@citizen.test")
    key = store.message_key(worker, submission.worker_wrap, submission.delivery.message_id)
    with store.open(submission.delivery.message_id, submission.delivery.blob_id, key) as content:
        assert content.read() == MAIL.replace(b"Bcc: piet@citizen.test\r\n", b"")


def test_a_copy_without_a_message_id_gets_one_that_stays(outbox, store, worker):
    without = MAIL.replace(b"Message-ID: <1@care.test>\r\n", b"")
    whole = message(without, "jan@citizen.test", "nurse@hospital.test")
    some = copies(whole, Route.DANE, Route.SMIME)
    some[1] = dataclasses.replace(some[1], content=Entity(whole.headers, b"ciphertext"))
    store.outgoing.commit(commit_id(outbox.prepare(whole, some, "4X1", AT)), AT)
    found = claimed(store)
    assert len(found) == 2
    for submission in found:
        message_id = submission.delivery.message_id
        key = store.message_key(worker, submission.worker_wrap, message_id)
        with store.open(message_id, submission.delivery.blob_id, key) as content:
            headers, _ = split(content.read())
        (field,) = headers.all("Message-ID")
        assert field.value.strip() == b"<%b@care.test>" % message_id.encode()


def test_recipients_with_one_content_share_one_blob(outbox, store):
    whole = message(MAIL, "jan@citizen.test", "piet@citizen.test", "nurse@hospital.test")
    some = copies(whole, Route.PORTAL, Route.PORTAL, Route.SMIME)
    some[2] = dataclasses.replace(some[2], content=Entity(whole.headers, b"ciphertext"))
    outbox.prepare(whole, some, "4X1", AT)
    assert len(contents(store)) == 2


def test_a_retry_stores_nothing_again_and_two_commits_make_two_mails(outbox, store):
    whole = message()
    first = outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    second = outbox.prepare(whole, copies(whole, Route.DANE), "4X2", AT + timedelta(minutes=1))
    assert first != second
    assert len(contents(store)) == 1
    assert [attempt.queue_id for attempt in store.outgoing.open_attempts()] == ["4X1", "4X2"]
    store.outgoing.commit(commit_id(first), AT)
    assert len(claimed(store)) == 1
    store.outgoing.commit(commit_id(second), AT)
    assert len(claimed(store)) == 1


def test_a_retry_that_fails_again_sends_nothing_more(outbox, store):
    whole = message()
    first = outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    second = outbox.prepare(whole, copies(whole, Route.DANE), "4X2", AT)
    store.outgoing.abandon(commit_id(first))
    assert store.outgoing.commit(commit_id(second), AT) is Commit.RELEASED
    assert len(claimed(store)) == 1
    assert store.outgoing.commit(commit_id(first), AT) is Commit.ABANDONED
    assert claimed(store) == ()


def test_after_the_commit_an_equal_message_is_a_new_one(outbox, store):
    whole = message()
    store.outgoing.commit(commit_id(outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)), AT)
    outbox.prepare(whole, copies(whole, Route.DANE), "4X2", AT)
    assert len(contents(store)) == 2


@pytest.mark.parametrize(
    "other",
    [
        message(MAIL.replace(b"canary-text", b"another text")),
        message(MAIL.replace(b"canary-subject", b"another subject")),
        message(MAIL.replace(b"<1@care.test>", b"<2@care.test>")),
        message(MAIL.replace(b"12:00:00", b"12:00:01")),
        message(MAIL, sender="nurse@care.test"),
        message(MAIL, "piet@citizen.test"),
    ],
)
def test_another_message_is_not_taken_for_a_retry(outbox, store, other):
    whole = message()
    outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    outbox.prepare(other, copies(other, Route.DANE), "4X2", AT)
    assert len(contents(store)) == 2


def test_another_route_is_not_taken_for_a_retry(outbox, store):
    whole = message()
    outbox.prepare(whole, copies(whole, Route.TEMPFAIL), "4X1", AT)
    outbox.prepare(whole, copies(whole, Route.DANE), "4X2", AT)
    assert len(contents(store)) == 2


def test_a_message_id_and_date_that_postfix_made_do_not_count(outbox, store):
    for queue_id, second in (("4X1", b"00"), ("4X2", b"59")):
        made = MAIL.replace(b"<1@care.test>", b"<20261124120000.%b@mx.care.test>" % queue_id.encode())
        whole = message(made.replace(b"12:00:00", b"12:00:" + second))
        outbox.prepare(whole, copies(whole, Route.DANE), queue_id, AT)
    assert len(contents(store)) == 1


def test_a_deposit_is_stored_and_its_notification_tells_nothing(outbox, store, portal):
    whole = message()
    deposit = outbox.deposit(whole, copies(whole, Route.PORTAL)[0], "4X1", AT)
    sent = bytes(deposit.notification)
    assert b"canary" not in sent
    assert b"piet" not in sent
    assert (deposit.sender, deposit.sender_arguments) == (
        f"nta-bounce+{deposit.delivery_id}@care.test",
        "RET=HDRS",
    )
    token = link_of(deposit.notification)
    linked = store.access.find_by_link(token.lookup, AT)
    assert linked is not None
    assert linked.delivery.recipient == "jan@citizen.test"
    key = portal.open_link(token, linked.sealed, linked.delivery.message_id)
    with store.open(linked.delivery.message_id, linked.delivery.blob_id, key) as content:
        assert content.read().endswith(b"\r\n\r\ncanary-text\r\n")
    assert claimed(store) == ()


def test_a_deposit_that_postfix_never_queued_is_over_and_nobody_is_told(outbox, store):
    whole = message()
    deposit = outbox.deposit(whole, copies(whole, Route.PORTAL)[0], "4X1", AT)
    store.retention.sweep(AT + timedelta(days=400), timedelta(days=90))
    assert store.handover.find(deposit.delivery_id).state is DeliveryState.SENT
    assert store.outgoing.abandon(commit_id(deposit.commit)).id == deposit.delivery_id
    swept = store.retention.sweep(AT + timedelta(days=400), timedelta(days=90))
    assert ([each.id for each in swept.shredded], swept.expired) == ([deposit.delivery_id], ())
    assert store.handover.find(deposit.delivery_id).state is DeliveryState.ABANDONED
    assert store.access.find_by_link(link_of(deposit.notification).lookup, AT) is None
    assert contents(store) == []
    assert claimed(store) == ()


def test_a_deposit_that_postfix_queued_expires_and_its_sender_is_told(outbox, store):
    whole = message()
    deposit = outbox.deposit(whole, copies(whole, Route.PORTAL)[0], "4X1", AT)
    assert store.outgoing.commit(commit_id(deposit.commit), AT) is Commit.RELEASED
    assert claimed(store) == ()
    late = AT + timedelta(days=31)
    (expired,) = store.retention.sweep(late, timedelta(days=90)).expired
    assert expired.id == deposit.delivery_id
    (report,) = store.handover.claim(late, LEASE)
    assert report.form is Form.REPORT


def test_who_asked_for_it_is_told_that_a_deposit_is_sent(outbox, store):
    whole = message()
    copy = copies(whole, Route.PORTAL)[0]
    asked = dataclasses.replace(copy, recipient=Recipient("jan@citizen.test", ("NOTIFY=SUCCESS",)))
    for each in (asked, copy):
        deposit = outbox.deposit(whole, each, "4X1", AT)
        store.outgoing.commit(commit_id(deposit.commit), AT)
    (report,) = claimed(store)
    assert (report.form, report.status, report.delivery.arguments) == (
        Form.REPORT,
        "2.0.0",
        ("NOTIFY=SUCCESS",),
    )


def test_a_deposit_that_was_opened_was_queued_whatever_became_of_its_commit(outbox, store):
    whole = message()
    deposit = outbox.deposit(whole, copies(whole, Route.PORTAL)[0], "4X1", AT)
    store.access.opened(deposit.delivery_id, AT)
    assert store.outgoing.abandon(commit_id(deposit.commit)) is None
    assert store.access.find_by_link(link_of(deposit.notification).lookup, AT) is not None
    assert len(store.retention.sweep(AT + timedelta(days=31), timedelta(days=90)).expired) == 1


def test_a_retry_of_a_deposit_is_another_deposit(outbox, store):
    whole = message()
    first, second = (
        outbox.deposit(whole, copies(whole, Route.PORTAL)[0], queue_id, AT) for queue_id in ("4X1", "4X2")
    )
    assert store.outgoing.commit(commit_id(second.commit), AT) is Commit.RELEASED
    assert store.outgoing.abandon(commit_id(first.commit)).id == first.delivery_id
    assert store.access.find_by_link(link_of(first.notification).lookup, AT) is None
    assert store.access.find_by_link(link_of(second.notification).lookup, AT) is not None


@pytest.mark.parametrize("resend", [True, False])
def test_the_worker_opens_a_deposit_only_with_resend(store, settings, worker, resend):
    wanted = dataclasses.replace(
        settings, portal=PortalSettings(url="https://veilig.care.test", resend=resend)
    )
    whole = message()
    deposit = Outbox(store, wanted).deposit(whole, copies(whole, Route.PORTAL)[0], "4X1", AT)
    found = store.access.find(deposit.delivery_id)
    wrap = store.handover.worker_wrap(found.message_id)
    assert (wrap is not None) is resend
    if wrap is not None:
        assert len(store.message_key(worker, wrap, found.message_id)) == 32


def test_a_blob_that_cannot_be_written_leaves_no_row(outbox, store, tmp_path):
    (tmp_path / "blobs").rmdir()
    whole = message(MAIL + bytes(IN_ROW))
    with pytest.raises(StoreUnavailable):
        outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    assert store.outgoing.open_attempts() == ()
    assert store.handover.list_deliveries() == ()


def test_a_large_body_in_a_mapped_buffer_is_kept_whole(outbox, store, worker):
    body = memoryview(b"0123456789abcdef" * 100_000)
    whole = message()
    copy = Copy(Recipient("jan@citizen.test"), Route.SMIME, Entity(whole.headers, body), "[mx.hospital.test]")
    store.outgoing.commit(commit_id(outbox.prepare(whole, [copy], "4X1", AT)), AT)
    (submission,) = claimed(store)
    assert submission.delivery.next_hop == "[mx.hospital.test]"
    key = store.message_key(worker, submission.worker_wrap, submission.delivery.message_id)
    with store.open(submission.delivery.message_id, submission.delivery.blob_id, key) as content:
        assert b"".join(content.pieces()).endswith(bytes(body))
        assert content.size == submission.delivery.size
