"""``nta-milter status`` and the metrics, of a real milter with two processes and a real portal."""

import json
import subprocess
import sys
import urllib.request

import pytest

from tests.laboratory.alone import Alone

FIELDS = [(b"From", b" doctor@care.test"), (b"Subject", b" Overleg")]
PLACE = "127.0.0.1:15374"
MESSAGES = 'nta_milter_messages_total{side="outbound",answer="accepted"}'


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    directory = tmp_path_factory.mktemp("alone")
    with Alone(directory, 15373, metrics={"milter": PLACE}) as running:
        text = running.configuration.read_text().replace("workers = 1", "workers = 2")
        running.configuration.write_text(text)
        running.stop()
        running.start()
        running.wait_for("event=proven", times=3)
        yield running


def status(alone, *arguments):
    command = [sys.executable, "-m", "nta_milter.cli.main", "status", *arguments]
    done = subprocess.run(
        [*command, "--config", str(alone.configuration)], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def test_the_numbers_of_all_processes_are_summed_and_the_same_over_http(alone):
    for _ in range(12):  # each of the two gets some
        with alone.mta(login="doctor@care.test") as mta:
            mta.send("doctor@care.test", ["nurse@hospital.test"], FIELDS, b"BSN 123456782\r\n")
    code, text = status(alone, "--metrics")
    assert code == 0
    assert f"{MESSAGES} 12\n" in text
    assert 'nta_milter_routes_total{route="smime",reason="smime"} 12\n' in text
    assert 'nta_milter_processing_seconds_count{side="outbound"} 12\n' in text
    assert "nta_milter_processes 2\n" in text
    with urllib.request.urlopen(f"http://{PLACE}/metrics", timeout=30) as answer:
        fetched = answer.read().decode()
    assert f"{MESSAGES} 12\n" in fetched
    assert "nta_milter_processes 2\n" in fetched


def test_no_number_tells_of_anybody(alone):
    text = status(alone, "--metrics")[1]
    assert len(text) > 1000
    assert "@" not in text
    assert ".test" not in text


def test_where_nothing_needs_anybody_it_says_so(alone):
    code, text = status(alone)
    assert code == 0, text
    assert text.endswith("nothing needs you\n")
    assert "2 processes" in text
    found = json.loads(status(alone, "--json")[1])
    assert found["fine"] is True
    answers = found["services"]["milter"]
    assert sorted(answers) == ["worker-0", "worker-1"]
    assert answers["worker-0"]["records"] == {"care.test": "2099-12"}
    assert [key["address"] for key in answers["worker-0"]["keys"]] == ["doctor@care.test"]
    assert found["metrics"][MESSAGES] == 12


def test_a_change_on_disk_that_is_not_in_force_is_a_concern_until_the_reload(alone):
    text = alone.configuration.read_text()
    alone.configuration.write_text(text.replace('words = ["diagnose"', 'words = ["uitslag", "diagnose"'))
    code, said = status(alone)
    assert code == 1
    assert "[milter-configuration]" in said
    assert "systemctl reload nta-milter.service" in said
    reloaded = alone.log.count("event=reloaded")
    alone.reload()
    alone.wait_for("event=reloaded", times=reloaded + 2)
    assert status(alone)[0] == 0


def test_a_key_that_was_changed_is_a_concern_until_the_reload(alone):
    trust = alone.directory / "milter" / "trust"
    (trust / "more.pem").write_bytes((trust / "authority.pem").read_bytes())
    code, said = status(alone)
    assert (code, "[milter-files]" in said) == (1, True)
    reloaded = alone.log.count("event=reloaded")
    alone.reload()
    alone.wait_for("event=reloaded", times=reloaded + 2)
    assert status(alone)[0] == 0


def test_a_reload_that_is_refused_is_a_concern_until_one_is_not(alone):
    key = alone.directory / "milter" / "keys" / "broken.p12"
    key.write_bytes(b"no key")
    refused = alone.log.count("event=reload-refused")
    alone.reload()
    alone.wait_for("event=reload-refused", times=refused + 1)
    code, said = status(alone)
    assert (code, "[reload-refused]" in said) == (1, True)
    assert str(key) in said
    key.unlink()
    reloaded = alone.log.count("event=reloaded")
    alone.reload()
    alone.wait_for("event=reloaded", times=reloaded + 2)
    assert status(alone)[0] == 0


def test_a_fault_of_the_routing_is_named(alone):
    route = alone.postfix / "nta_route"
    text = route.read_text()
    route.write_text("")
    proven = alone.log.count("event=not-proven")
    alone.reload()
    alone.wait_for("event=not-proven", times=proven + 2)
    code, said = status(alone)
    route.write_text(text)
    assert code == 1
    assert "sensitive mail is not routed: milter_header_checks" in said
    assert "mend: nta-milter doctor" in said


def test_without_a_milter_the_answer_is_temporary(alone):
    assert alone.stop() == 0
    code, said = status(alone)
    alone.start()
    assert code == 75
    assert "nta-milter does not answer" in said
    assert "systemctl start nta-milter.service" in said


def test_without_control_sockets_a_process_tells_its_own_numbers(tmp_path):
    with Alone(tmp_path / "alone", 15375, metrics={"milter": "127.0.0.1:15376"}) as other:
        for socket in other.control.glob("*.sock"):
            socket.unlink()
        with urllib.request.urlopen("http://127.0.0.1:15376/metrics", timeout=30) as answer:
            assert "nta_milter_processes 1\n" in answer.read().decode()
        assert status(other)[0] == 75
