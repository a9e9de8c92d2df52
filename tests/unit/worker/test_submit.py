import contextlib
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import PermanentError, SubmissionInDoubt, TemporaryError
from nta_milter.worker.submit import dot_stuffed, submit


class Postfix:
    """A server on a unix socket that answers as it is told and keeps what it heard."""

    def __init__(self, path: Path, replies: dict[str, str], leave_at: str = "") -> None:
        self.heard = b""
        self._replies = {"EHLO": "250-x\r\n250-DSN\r\n250-8BITMIME\r\n250 SMTPUTF8", **replies}
        self._leave_at = leave_at
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:
            self._say(stream, self._replies.get("greeting", "220 x"))
            while line := stream.readline():
                self.heard += line
                word = line.split(b" ")[0].strip().decode("ascii").upper()
                if word == "DATA":
                    answer = self._replies.get("DATA", "354 go")
                    self._say(stream, answer)
                    if not answer.startswith("354"):
                        continue
                    while (line := stream.readline()) not in (b".\r\n", b""):
                        self.heard += line
                    if self._leave_at == ".":
                        return
                    self._say(stream, self._replies.get(".", "250 2.0.0 Ok: queued as 4X1"))
                elif word == self._leave_at:
                    return
                else:
                    self._say(stream, self._replies.get(word, "250 ok"))
                    if word == "QUIT":
                        return

    @staticmethod
    def _say(stream, reply: str) -> None:
        stream.write(reply.encode("utf-8") + b"\r\n")
        stream.flush()


@pytest.fixture
def postfix(tmp_path):
    servers = []

    def start(leave_at: str = "", **replies: str) -> tuple[Path, Postfix]:
        path = tmp_path / "nta-hand"
        server = Postfix(path, {name.replace("dot", "."): reply for name, reply in replies.items()}, leave_at)
        servers.append(server)
        return path, server

    yield start
    for server in servers:
        server.close()


def hand(path: Path, content=(b"Subject: x\r\n\r\nbody\r\n",)) -> str:
    return submit(
        path,
        "nta-bounce+1@care.test",
        ("RET=HDRS",),
        "nurse@hospital.test",
        ("NOTIFY=FAILURE", "ORCPT=rfc822;nurse@hospital.test"),
        content,
    )


def test_the_queue_id_and_what_is_said(postfix):
    path, server = postfix()
    assert hand(path) == "4X1"
    assert b"MAIL FROM:<nta-bounce+1@care.test> RET=HDRS BODY=8BITMIME\r\n" in server.heard
    assert (
        b"RCPT TO:<nurse@hospital.test> NOTIFY=FAILURE ORCPT=rfc822;nurse@hospital.test\r\n" in server.heard
    )
    assert b"DATA\r\nSubject: x\r\n\r\nbody\r\n" in server.heard


def test_an_address_of_other_letters_asks_for_smtputf8(postfix):
    path, server = postfix()
    submit(path, "", (), "jän@citizen.test", (), (b"x\r\n",))
    assert b"MAIL FROM:<> SMTPUTF8 BODY=8BITMIME\r\n" in server.heard


def test_arguments_that_the_server_does_not_know_are_left_out(postfix):
    path, server = postfix(EHLO="250 x")
    hand(path)
    assert b"MAIL FROM:<nta-bounce+1@care.test>\r\n" in server.heard
    assert b"RCPT TO:<nurse@hospital.test>\r\n" in server.heard


@pytest.mark.parametrize("step", ["greeting", "MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize(("code", "error"), [("451 4.3.0", TemporaryError), ("550 5.7.1", PermanentError)])
def test_a_refusal_at_any_step(postfix, step, code, error):
    path, _ = postfix(**{step: f"{code} no\x1b[31m"})
    with pytest.raises(error) as raised:
        hand(path)
    assert code in str(raised.value)
    assert "\x1b" not in str(raised.value)
    assert not isinstance(raised.value, SubmissionInDoubt)


def test_a_connection_that_breaks_before_the_end_is_no_doubt(postfix):
    path, _ = postfix(leave_at="RCPT")
    with pytest.raises(TemporaryError) as raised:
        hand(path)
    assert not isinstance(raised.value, SubmissionInDoubt)


def test_a_connection_that_breaks_at_the_end_is_a_doubt(postfix):
    path, _ = postfix(leave_at=".")
    with pytest.raises(SubmissionInDoubt):
        hand(path)


@pytest.mark.parametrize("reply", ["421 busy", "nonsense", "500 what"])
def test_what_is_said_to_quit_makes_no_second_mail(postfix, reply):
    path, _ = postfix(QUIT=reply)
    assert hand(path) == "4X1"


def test_no_listener_is_temporary(tmp_path):
    with pytest.raises(TemporaryError, match="cannot be reached"):
        hand(tmp_path / "nobody")


def test_what_is_no_smtp_is_temporary(postfix):
    path, _ = postfix(greeting="what\x00is this")
    with pytest.raises(TemporaryError):
        hand(path)


@given(st.lists(st.text(alphabet=".a\r\n").map(str.encode)))
def test_dot_stuffing_is_that_of_the_whole_however_it_is_cut(pieces):
    whole = b"".join(pieces)
    lines = whole.split(b"\n")
    wanted = b"\n".join(b"." + line if line.startswith(b".") else line for line in lines)
    if whole and not whole.endswith(b"\r\n"):
        wanted += b"\r\n"
    assert b"".join(dot_stuffed(pieces)) == wanted
