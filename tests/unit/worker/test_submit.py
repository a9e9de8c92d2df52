from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import PermanentError, SubmissionInDoubt, TemporaryError
from nta_milter.worker.submit import dot_stuffed, submit


def hand(path: Path, content=(b"Subject: x\r\n\r\nbody\r\n",)) -> str:
    return submit(
        path,
        "nta-bounce+1@care.test",
        ("RET=HDRS",),
        "nurse@hospital.test",
        ("NOTIFY=FAILURE", "ORCPT=rfc822;nurse@hospital.test"),
        content,
    )


def test_the_queue_id_and_what_is_said(tmp_path, postfix):
    server = postfix()
    assert hand(tmp_path / "hand") == "4X1"
    assert b"MAIL FROM:<nta-bounce+1@care.test> RET=HDRS BODY=8BITMIME\r\n" in server.heard
    assert (
        b"RCPT TO:<nurse@hospital.test> NOTIFY=FAILURE ORCPT=rfc822;nurse@hospital.test\r\n" in server.heard
    )
    assert b"DATA\r\nSubject: x\r\n\r\nbody\r\n" in server.heard


def test_an_address_of_other_letters_asks_for_smtputf8(tmp_path, postfix):
    server = postfix()
    submit(tmp_path / "hand", "", (), "jän@citizen.test", (), (b"x\r\n",))
    assert b"MAIL FROM:<> SMTPUTF8 BODY=8BITMIME\r\n" in server.heard


def test_arguments_that_the_server_does_not_know_are_left_out(tmp_path, postfix):
    server = postfix(EHLO="250 x")
    hand(tmp_path / "hand")
    assert b"MAIL FROM:<nta-bounce+1@care.test>\r\n" in server.heard
    assert b"RCPT TO:<nurse@hospital.test>\r\n" in server.heard


@pytest.mark.parametrize("step", ["greeting", "MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize(("code", "error"), [("451 4.3.0", TemporaryError), ("550 5.7.1", PermanentError)])
def test_a_refusal_at_any_step(tmp_path, postfix, step, code, error):
    postfix(**{step: f"{code} no\x1b[31m"})
    with pytest.raises(error) as raised:
        hand(tmp_path / "hand")
    assert code in str(raised.value)
    assert "\x1b" not in str(raised.value)
    assert not isinstance(raised.value, SubmissionInDoubt)


def test_a_connection_that_breaks_before_the_end_is_no_doubt(tmp_path, postfix):
    postfix(leave_at="RCPT")
    with pytest.raises(TemporaryError) as raised:
        hand(tmp_path / "hand")
    assert not isinstance(raised.value, SubmissionInDoubt)


def test_a_connection_that_breaks_at_the_end_is_a_doubt(tmp_path, postfix):
    postfix(leave_at=".")
    with pytest.raises(SubmissionInDoubt):
        hand(tmp_path / "hand")


@pytest.mark.parametrize("reply", ["421 busy", "nonsense", "500 what"])
def test_what_is_said_to_quit_makes_no_second_mail(tmp_path, postfix, reply):
    postfix(QUIT=reply)
    assert hand(tmp_path / "hand") == "4X1"


def test_no_listener_is_temporary(tmp_path):
    with pytest.raises(TemporaryError, match="cannot be reached"):
        hand(tmp_path / "nobody")


def test_what_is_no_smtp_is_temporary(tmp_path, postfix):
    postfix(greeting="what\x00is this")
    with pytest.raises(TemporaryError):
        hand(tmp_path / "hand")


@given(st.lists(st.text(alphabet=".a\r\n").map(str.encode)))
def test_dot_stuffing_is_that_of_the_whole_however_it_is_cut(pieces):
    whole = b"".join(pieces)
    lines = whole.split(b"\n")
    wanted = b"\n".join(b"." + line if line.startswith(b".") else line for line in lines)
    if whole and not whole.endswith(b"\r\n"):
        wanted += b"\r\n"
    assert b"".join(dot_stuffed(pieces)) == wanted
