"""A deposit is written while Postfix already takes its notification: what is not stored does not go."""

import sqlite3

from tests.laboratory import Laboratory
from tests.laboratory.scenarios.apart import letter
from tests.laboratory.scenarios.download import CODE
from tests.laboratory.scenarios.proof import JAN, accepted, submit


def test_invariant_3_a_deposit_that_cannot_be_stored_leaves_the_mail_with_its_sender(
    portal: Laboratory,
) -> None:
    portal.agree(JAN, CODE)
    (file,) = portal.directory.rglob("*.sqlite")
    busy = sqlite3.connect(file, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    reply = submit(portal, letter(), JAN)
    assert (reply.code, reply.stage) == (451, "end"), reply
    busy.execute("ROLLBACK")
    busy.close()
    portal.settle()
    assert portal.queue() == []
    assert portal.everything() == []
    accepted(submit(portal, letter(), JAN))
    portal.wait_for(lambda: portal.everything(), "the notification")
    portal.settle()
    assert [store for store, _ in portal.everything()] == ["mx.citizen"]
