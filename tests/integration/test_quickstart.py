"""The command that shows it all: it stays, takes mail from a command line and leaves nothing when killed."""

from __future__ import annotations

import http.client
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.integration.test_laboratory import digest_of_the_machine, listening, processes_in
from tests.laboratory.laboratory import CHECKOUT
from tests.laboratory.names import PORTAL_URL
from tests.laboratory.scenarios.download import CODE

STATE = CHECKOUT / ".quickstart"
PATIENCE = 120


@pytest.fixture
def quickstart(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A quickstart that runs, whose output is in ``tmp_path/output``."""
    output = tmp_path / "output"
    with output.open("wb") as stream:
        running = subprocess.Popen([CHECKOUT / "packaging" / "quickstart"], stdout=stream, stderr=stream)
    try:
        until = time.monotonic() + PATIENCE
        while "Ctrl-C stops it" not in output.read_text():
            assert running.poll() is None, output.read_text()
            assert time.monotonic() < until, output.read_text()
            time.sleep(0.1)
        yield running
    finally:
        running.kill()
        running.wait()


def command(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([STATE / name, *arguments], capture_output=True, text=True, timeout=PATIENCE)


def page_behind(link: str) -> str:
    """The message that a link and the code lead to, over the machine's own network."""
    address = urlsplit(link)
    portal = http.client.HTTPConnection(address.netloc, timeout=PATIENCE)
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Origin": PORTAL_URL}
    portal.request("POST", address.path, urlencode({"code": CODE}), kind)
    answer = portal.getresponse()
    answer.read()
    assert answer.status == 303, answer.status
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    portal.request("GET", answer.headers["Location"], headers={"Cookie": cookie})
    text = portal.getresponse().read().decode()
    portal.close()
    return text


@pytest.mark.packaging
def test_quickstart_takes_mail_and_leaves_nothing_when_killed(quickstart: subprocess.Popen[bytes]) -> None:
    before, sockets = digest_of_the_machine(), listening()
    space = command("inside", "readlink", "/proc/self/ns/pid").stdout.strip()
    assert len(processes_in(space)) > 10

    letter = ("--from", "doctor@care.test", "--subject", "Uitslag", "--text", "De diagnose is besproken.")
    sent = command("send", *letter, "--to", "nurse@hospital.test")
    assert sent.returncode == 0, sent
    arrived = next(line for line in sent.stdout.splitlines() if line.startswith("arrived: "))
    raw = (CHECKOUT / arrived.removeprefix("arrived: ")).read_bytes()
    assert b"pkcs7-mime" in raw
    assert b"diagnose" not in raw
    assert command("send", *letter, "--to", "someone@broken.test").returncode == 75
    explained = command("nta-milter", "explain", "--from", "doctor@care.test", "--to", "nurse@hospital.test")
    assert explained.returncode == 0, explained
    assert "nurse@hospital.test: smime" in explained.stdout

    assert command("send", *letter, "--to", "jan@citizen.test").returncode == 0
    notification = command("read", "jan@citizen.test").stdout
    assert "diagnose" not in notification
    link = re.search(rf"{PORTAL_URL}/m/[\w-]{{43}}", notification)
    assert link
    assert "De diagnose is besproken." in page_behind(link[0])

    second = subprocess.run([CHECKOUT / "packaging" / "quickstart", "--once"], capture_output=True, text=True)
    assert second.returncode == 2
    assert second.stderr == f"quickstart: another quickstart is using {STATE}\n"

    quickstart.kill()
    until = time.monotonic() + 10
    while processes_in(space) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_in(space) == []
    assert digest_of_the_machine() == before
    assert listening() == sockets


@pytest.mark.packaging
@pytest.mark.parametrize(
    ("way", "words"),
    [
        (("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"), "this needs CAP_SYS_ADMIN"),
        (("setpriv", "--reuid=nobody", "--clear-groups"), "only root can make network namespaces"),
    ],
)
def test_what_is_missing_is_said_in_one_line(way: tuple[str, ...], words: str) -> None:
    done = subprocess.run([*way, CHECKOUT / "packaging" / "quickstart"], capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
