import os
from pathlib import Path

import pytest
from sqlalchemy import event

from nta_milter.policy.route import Route
from nta_milter.store.store import IN_ROW
from tests.unit.outbox.conftest import AT, MAIL, copies, message


@pytest.mark.parametrize("how", ["prepare", "deposit"])
@pytest.mark.parametrize(
    ("more", "wanted"),
    [(b"", ["rows"]), (bytes(IN_ROW), ["content", "name", "folder", "rows"])],
    ids=["small", "long"],
)
def test_invariant_2_content_is_synced_before_its_rows_and_these_before_the_reply(
    outbox, store, monkeypatch, how, more, wanted
):
    done = []
    sync, rename = os.fsync, os.rename

    def fsync(descriptor):
        done.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "content")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", lambda *words: (done.append("name"), rename(*words))[1])
    event.listen(store.database.engine, "commit", lambda _: done.append("rows"))
    whole = message(MAIL + more)
    store.blobs.make_folders()
    done.clear()
    if how == "prepare":
        outbox.prepare(whole, copies(whole, Route.PORTAL), "4X1", AT)
    else:
        outbox.deposit(whole, copies(whole, Route.PORTAL)[0], "4X1", AT)
    assert done == (["rows", *wanted] if how == "prepare" else wanted)  # first is looked for an earlier try
    with store.database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_invariant_2_whoever_reads_after_a_kill_finds_all_of_it_or_nothing(outbox, store, monkeypatch):
    """The steps of a deposit, each the last one that was done."""
    whole = message(MAIL + bytes(IN_ROW))

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    for target, name in ((os, "fsync"), (os, "rename"), (type(store.outgoing), "prepare")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, kill)
            with pytest.raises(Killed):
                outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
        assert store.outgoing.open_attempts() == ()
        assert store.handover.list_deliveries() == ()
    outbox.prepare(whole, copies(whole, Route.DANE), "4X1", AT)
    assert len(store.outgoing.open_attempts()) == 1
