"""``nta-milter explain`` as an administrator uses it: real DNSSEC, real keys, the milter's own decision."""

import json
import subprocess
import sys

import pytest

from tests.laboratory.alone import Alone

KEYS = {"header", "recipient", "route", "sensitive", "compliance", "certificate", "reasons"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    rules = [{"name": "board", "recipient": "board@refused.test", "route": "reject"}]
    with Alone(tmp_path_factory.mktemp("alone"), 15314, rules=rules) as running:
        yield running


def explain(alone, *arguments, stdin=b""):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "nta_milter.cli.main", "explain", "--config", str(alone.configuration)),
            *("--from", "doctor@care.test", *arguments),
        ],
        input=stdin,
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def described(alone, *arguments, **options):
    status, output, _ = explain(alone, *arguments, "--json", **options)
    return status, [json.loads(line) for line in output.splitlines()]


def test_a_compliant_recipient_with_a_gateway(alone):
    status, (found,) = described(alone, "--to", "nurse@hospital.test")
    assert status == 0
    assert set(found) == KEYS
    assert found["route"] == "smime"
    assert found["sensitive"]["value"] is True
    assert {"code", "text"} == set(found["sensitive"]["reasons"][0])
    assert found["compliance"]["status"] == "compliant"
    assert found["compliance"]["record"]["ntamx"] == [[10, "nta.hospital.test"]]
    assert found["compliance"]["hosts"][0]["usable"] is True
    assert found["certificate"]["class"] == "gateway"
    assert found["certificate"]["signer"] == "CN=Dokter de Wit"
    assert found["reasons"][-1]["code"] == "smime"


def test_each_recipient_has_a_line_and_the_worst_decides_the_status(alone):
    status, found = described(
        alone, "--to", "nurse@hospital.test", "someone@broken.test", "colleague@care.test"
    )
    assert status == 75
    assert [each["route"] for each in found] == ["smime", "tempfail", "pass"]
    assert found[1]["compliance"]["status"] == "unknown"
    assert found[2]["compliance"] is None
    assert found[2]["certificate"] is None


def test_recipients_may_be_given_one_by_one(alone):
    _, found = described(alone, "--to", "nurse@hospital.test", "--to", "colleague@care.test")
    assert [each["recipient"] for each in found] == ["nurse@hospital.test", "colleague@care.test"]


def test_a_refusal_is_status_1(alone):
    status, (found,) = described(alone, "--to", "board@refused.test")
    assert status == 1
    assert found["route"] == "reject"
    assert "board" in found["reasons"][-1]["text"]


def test_at_another_time_the_record_is_over(alone):
    status, (found,) = described(alone, "--to", "nurse@hospital.test", "--at", "2100-01-01T00:00:00Z")
    assert status == 1
    assert found["compliance"]["status"] == "not-compliant"
    assert "record-expired" in {reason["code"] for reason in found["compliance"]["reasons"]}


def test_a_resolver_that_is_not_there_is_a_temporary_failure(alone):
    status, (found,) = described(alone, "--to", "nurse@hospital.test", "--resolver", "127.0.0.1:9")
    assert status == 75
    assert found["compliance"]["status"] == "unknown"


@pytest.mark.parametrize(("text", "route"), [("Tot morgen.", "pass"), ("Het BSN is 123456782.", "smime")])
def test_a_message_is_judged_by_its_content(alone, tmp_path, text, route):
    mail = f"From: doctor@care.test\r\nTo: nurse@hospital.test\r\nSubject: Overleg\r\n\r\n{text}\r\n"
    file = tmp_path / "mail.eml"
    file.write_text(mail)
    status, (found,) = described(alone, "--to", "nurse@hospital.test", "--message", str(file))
    assert (status, found["route"]) == (0, route)
    _, (again,) = described(alone, "--to", "nurse@hospital.test", "--message", "-", stdin=mail.encode())
    assert again["route"] == route
    assert "123456782" not in json.dumps(found)


def test_in_words(alone):
    status, output, _ = explain(alone, "--to", "nurse@hospital.test", "jan@citizen.test")
    assert status == 1
    assert "nurse@hospital.test: smime" in output
    assert "jan@citizen.test: reject" in output
    assert "secure download is not set up here" in output
    assert "all together: tempfail" in output


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--to", "nurse@hospital.test", "--message", "/nowhere"), "/nowhere"),
        (("--to", "nurse@hospital.test", "--at", "yesterday"), "yesterday"),
        (("--to", "nurse@hospital.test", "--resolver", "localhost"), "localhost"),
        ((), "--to"),
    ],
)
def test_a_mistake_is_named(alone, arguments, word):
    status, output, error = explain(alone, *arguments)
    assert status in (1, 2)
    assert output == ""
    assert word in error


def test_a_domain_that_does_not_exist_is_refused(alone):
    status, (found,) = described(alone, "--to", "nurse@hospitl.hospital.test")
    assert (status, found["route"]) == (1, "reject")
    assert found["reasons"][-1]["code"] == "domain-absent"
    assert "does not exist" in found["reasons"][-1]["text"]
