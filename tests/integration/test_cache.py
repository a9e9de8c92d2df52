"""``nta-milter cache``, asked of the real milter process."""

import json
import socket
import subprocess
import sys

import pytest

from tests.laboratory.alone import Alone

FIELDS = [(b"From", b" doctor@care.test"), (b"Subject", b" Overleg")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with Alone(tmp_path_factory.mktemp("alone"), 15371) as running:
        yield running


def cache(alone, *arguments):
    command = [sys.executable, "-m", "nta_milter.cli.main", "cache", *arguments]
    done = subprocess.run(
        [*command, "--config", str(alone.configuration)], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def know(alone, domain):
    with alone.mta(login="doctor@care.test") as mta:
        mta.send("doctor@care.test", [f"nurse@{domain}"], FIELDS, b"BSN 123456782\r\n")


def test_a_domain_is_shown_with_its_time_and_forgotten(alone):
    know(alone, "hospital.test")
    status, text = cache(alone, "show", "hospital.test", "--json")
    assert status == 0, text
    answer = json.loads(text)
    assert (answer["worker"], answer["domain"], answer["held"]) == (0, "hospital.test", True)
    assert answer["report"]["status"] == "compliant"
    assert 0 < answer["seconds"] <= 3600
    assert cache(alone, "show", "HOSPITAL.test")[0] == 0
    assert cache(alone, "flush", "hospital.test") == (0, "worker 0: hospital.test is forgotten\n")
    assert cache(alone, "show", "hospital.test") == (1, "worker 0: hospital.test is not in the cache\n")
    assert cache(alone, "flush", "hospital.test")[0] == 1
    know(alone, "hospital.test")
    assert cache(alone, "show", "hospital.test")[0] == 0


def test_the_reasons_are_shown_too(alone):
    know(alone, "citizen.test")
    status, text = cache(alone, "show", "citizen.test")
    assert status == 0
    assert text.startswith("worker 0: citizen.test is not-compliant, for ")
    assert "\n  - " in text


@pytest.mark.parametrize(
    "question", [b"", b"{", b"[]\n", b'{"command": "run", "domain": "x"}\n', b"\xff\n", b"1\n"]
)
def test_a_strange_question_harms_nobody(alone, question):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(alone.control / "worker-0.sock"))
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    know(alone, "hospital.test")
    assert cache(alone, "show", "hospital.test")[0] == 0
    assert "Traceback" not in alone.log


def test_without_a_worker_it_says_so(alone, tmp_path):
    text = alone.configuration.read_text().replace(str(alone.control), str(tmp_path))
    other = tmp_path / "other.toml"
    other.write_text(text)
    (tmp_path / "worker-0.sock").write_text("left behind")
    command = [sys.executable, "-m", "nta_milter.cli.main", "cache", "show", "x.test", "--config", str(other)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 75
    assert "no process answers" in done.stderr
