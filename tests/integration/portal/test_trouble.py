"""What goes wrong on the way: visitors who leave, who are slow, content that was changed, a restart."""

import http.client
import os
import re
import socket
import time
from pathlib import Path

import pytest

from tests.integration.portal.mails import message, pseudo_random
from tests.integration.portal.site import Site

BIG = message(files={"groot.bin": pseudo_random(8_000_000), "twee.bin": pseudo_random(1000, 2)})


@pytest.fixture
def own(tmp_path):
    """A portal for one test."""
    running = Site(tmp_path)
    running.start()
    yield running
    running.stop()


def begin(site, visitor, path: str) -> socket.socket:
    """A request whose answer nobody reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", site.port))
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: care.test\r\nCookie: {cookies}\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def blobs_open(site) -> int:
    held = Path(f"/proc/{site.process.pid}/fd").iterdir()
    return sum(str(site.folder / "blobs") in os.readlink(each) for each in held)  # noqa: PTH115 - may be gone


def memory(site) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{site.process.pid}/status").read_text())[1]) * 1024


def settled(value) -> bool:
    end = time.monotonic() + 20
    while not (held := value()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


def test_who_leaves_early_leaves_nothing_open_and_downloads_nothing(own):
    deposited = own.deposit(BIG)
    visitor = own.visitor()
    path = visitor.open(deposited)
    for page in ("message.eml", "attachment/0", "attachments.zip") * 5:
        connection = begin(own, visitor, f"{path}/{page}")
        connection.close()
    assert settled(lambda: blobs_open(own) == 0)
    assert own.store.access.find(deposited.delivery_id).downloads == 0
    assert visitor.get(f"{path}/message.eml").body == BIG
    assert "Traceback" not in own.log


def test_a_hundred_slow_visitors_take_little_memory_and_keep_nobody_waiting(own):
    deposited = own.deposit(BIG)
    visitor = own.visitor()
    path = visitor.open(deposited)
    assert visitor.get(f"{path}/attachment/0").status == 200
    before = memory(own)
    slow = [begin(own, visitor, f"{path}/attachment/0") for _ in range(100)]
    try:
        assert visitor.get(path).status == 200
        assert visitor.get(f"{path}/attachment/1").body == pseudo_random(1000, 2)
        assert memory(own) - before < 150_000_000
    finally:
        for connection in slow:
            connection.close()


def test_changed_content_never_reaches_a_visitor(own):
    deposited = own.deposit(BIG)
    visitor = own.visitor()
    path = visitor.open(deposited)
    (blob,) = (each for each in (own.folder / "blobs").rglob("*") if each.is_file())
    with blob.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\xff" * 16)
    connection = http.client.HTTPConnection("127.0.0.1", own.port)
    connection.request(
        "GET",
        f"{path}/message.eml",
        headers={"Cookie": "; ".join(f"{k}={v}" for k, v in visitor.cookies.items())},
    )
    answer = connection.getresponse()
    try:
        received = answer.read()
    except http.client.IncompleteRead as error:
        received = error.partial
    connection.close()
    assert answer.status == 500 or BIG.startswith(received)
    assert len(received) < 1_100_000
    assert own.store.access.find(deposited.delivery_id).downloads == 0
    assert "was changed or cut off" in own.log
    assert "Traceback" not in own.log
    blob.unlink()
    for page in ("", "/message.eml", "/attachment/0"):
        gone = visitor.get(f"{path}{page}")
        assert gone.status == 503
        assert "Uw bericht is niet verloren" in gone.text


def test_a_visit_outlives_a_restart(own):
    deposited = own.deposit(BIG)
    visitor = own.visitor()
    path = visitor.open(deposited)
    own.process.terminate()
    assert own.process.wait(30) == 0
    own.start()
    assert visitor.get(f"{path}/message.eml").body == BIG


def test_a_database_that_is_away_is_said_so_and_comes_back(own):
    deposited = own.deposit(BIG)
    visitor = own.visitor()
    path = visitor.open(deposited)
    store = own.folder / "store.sqlite"
    with own.store.database.transaction():  # nobody else can write
        assert visitor.post(deposited.path, {"code": "wrong-code-1"}).status == 503
    assert visitor.get(path).status == 200
    assert store.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda site: (site.folder / "portal-key").chmod(0o644), "may be used by everybody"),
        (lambda site: (site.folder / "portal-key").unlink(), "cannot be read"),
        (lambda site: (site.folder / "public" / "worker.pem").write_text("x"), "is not a public key"),
        (lambda site: (site.folder / "store.sqlite").unlink(), "run nta-milter store init"),
    ],
)
def test_a_portal_that_cannot_work_does_not_start_and_says_why(tmp_path, change, said):
    site = Site(tmp_path)
    site.store.close()
    change(site)
    ended = site.command("portal")
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_portal_on_the_same_port_says_so(own):
    ended = own.command("portal")
    assert ended.returncode == 2
    assert "cannot be opened" in ended.stderr
