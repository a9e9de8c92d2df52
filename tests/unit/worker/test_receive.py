import asyncio
import contextlib
import logging
import smtplib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nta_milter.errors import ConfigurationError, TemporaryError
from nta_milter.worker.receive import Handler, kind_of, listening, serve

ID = "0123456789abcdef" * 2
COMMIT = f"commit+{ID}@nta.invalid"
BOUNCE = f"nta-bounce+{ID}@care.test"
ANSWER = f"beveiligd+{ID}@care.test"


class Server:
    """The worker's LMTP server on a thread, with what it received."""

    def __init__(self, path):
        self.path = path
        self.received = []
        self.fault = None
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._started.wait()

    def receive(self, kind, identifier, content):
        if self.fault is not None:
            raise self.fault
        self.received.append((kind, identifier, content))

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self):
        with ThreadPoolExecutor(2) as threads:
            server = await serve(listening(self.path), Handler(self.receive, threads), "mx.care.test")
            self._started.set()
            await self._stop.wait()
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture
def server(tmp_path):
    started = Server(tmp_path / "commit.sock")
    yield started
    started.close()


@contextlib.contextmanager
def client(server):
    with smtplib.LMTP(str(server.path), local_hostname="localhost") as connection:
        connection.ehlo()
        yield connection


def deliver(connection, content, *recipients, options=()):
    """The replies of Postfix's conversation: one for each recipient (RFC 2033 section 4.2)."""
    connection.mail("", options)
    taken = [connection.rcpt(recipient)[0] for recipient in recipients]
    assert connection.docmd("DATA")[0] == 354
    connection.send(content + b"\r\n.\r\n")
    return [connection.getreply()[0] for code in taken if code == 250]


def test_each_recipient_has_a_reply_of_his_own(server):
    with client(server) as connection:
        assert deliver(connection, b"x", COMMIT, "stranger@care.test", BOUNCE) == [250, 250]
        assert deliver(connection, b"y", ANSWER) == [250]
    assert [each[:2] for each in server.received] == [("commit", ID), ("bounce", ID), ("answer", ID)]


@pytest.mark.parametrize("recipient", ["root@care.test", "commit+1@nta.invalid", f"commit+{ID}@care.test"])
def test_other_addresses_are_refused(server, recipient):
    with client(server) as connection:
        connection.mail("doctor@care.test")
        assert connection.rcpt(recipient)[0] == 550
    assert kind_of(recipient) is None


def test_what_cannot_be_taken_now_stays_with_postfix(server, caplog):
    for fault in (TemporaryError("locked"), ZeroDivisionError("canary")):
        server.fault = fault
        with client(server) as connection:
            assert deliver(connection, b"x", COMMIT) == [451]
    assert "event=receive-failed kind=commit" in caplog.text


def test_long_lines_large_mails_and_other_letters_are_taken_and_not_logged(server, caplog):
    caplog.set_level(logging.DEBUG)
    content = b"canary: " + b"x" * 2_000 + b"\r\n" + b"canary\r\n" * 500_000
    with client(server) as connection:
        assert connection.has_extn("smtputf8")
        assert not connection.esmtp_features.get("size", "")
        assert deliver(connection, content, COMMIT, options=["SMTPUTF8", "BODY=8BITMIME"]) == [250]
    assert len(server.received[0][2]) == len(content) + 2
    assert "canary" not in caplog.text


def test_a_socket_that_an_earlier_worker_left_is_replaced_and_one_in_use_is_not(tmp_path):
    path = tmp_path / "commit.sock"
    with listening(path):
        with pytest.raises(ConfigurationError, match="in use"):
            listening(path)
        assert path.stat().st_mode & 0o777 == 0o660
    assert path.exists()
    with listening(path), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    path.unlink()
    path.write_text("something else")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        listening(path)
    assert path.read_text() == "something else"
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        listening(tmp_path / "nowhere" / "commit.sock")
