"""A running Postfix that has not read the tables as they are: with it, sensitive mail waits."""

from tests.integration.test_fragments import DOCTOR, JAN, message
from tests.integration.test_traps import COLLEAGUE, sensitive


def test_invariant_1_a_process_with_an_older_table_carries_nothing_sensitive(laboratory):
    care = laboratory.postfix["care"]
    table = care.home / "etc" / "nta_route"
    care.edit("aliases", f"colleague: {JAN}\n")
    shipped = table.read_text()
    care.edit("nta_route", "")
    assert laboratory.send(DOCTOR, DOCTOR, [JAN], message()).code == 250
    table.write_text(shipped)
    reply = laboratory.send(DOCTOR, DOCTOR, [COLLEAGUE], sensitive(COLLEAGUE))
    assert reply.code == 451, reply
    assert "was changed: postfix reload" in reply.text
    care.reload()
    laboratory.wait_for(
        lambda: laboratory.send(DOCTOR, DOCTOR, [COLLEAGUE], sensitive(COLLEAGUE)).code == 250,
        "taken after the reload",
        pause=0.3,
    )
    laboratory.settle()
    assert [b"diagnose" in mail.raw for mail in laboratory.mailbox("mx.citizen", JAN)] == [False]
