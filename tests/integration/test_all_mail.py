"""``routing.dane = "all"``: mail that is not sensitive goes over mandatory DANE too."""

import json
import subprocess
import sys

import pytest

from tests.laboratory.alone import Alone
from tests.laboratory.dns import Zone

HOSPITAL = (b"X-Nta-Route", b" [nta.hospital.test]")
FIELDS = [
    (b"From", b" doctor@care.test"),
    (b"To", b" nurse@hospital.test"),
    (b"Subject", b" [secure] Overleg"),
    (b"X-Agreed", b" forged"),
]
PLAIN = [*FIELDS[:2], (b"Subject", b" Overleg")]
BODY = b"Tot morgen!\r\n"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    directory = tmp_path_factory.mktemp("all")
    routing = {"postfix": str(directory / "postfix"), "dane": "all", "probe": ""}
    header = {"name": "X-Agreed", "value": "NTA 7516"}
    dead = [Zone("dead.test", dead=True)]
    with Alone(directory, 15361, dead, routing=routing, nta_header=header) as running:
        yield running


def send(alone, recipients, fields=PLAIN, body=BODY, sender="doctor@care.test"):
    with alone.mta(login="doctor@care.test") as mta:
        return mta.send(sender, recipients, fields, body, queue_id="ALL1")


@pytest.mark.parametrize(
    "recipients", [["nurse@hospital.test"], ["nurse@hospital.test", "hidden@hospital.test"]]
)
def test_mail_to_one_compliant_domain_takes_the_mandatory_transport_as_it_is(alone, recipients):
    actions = send(alone, recipients)
    assert actions.verdict == "a", alone.log
    assert actions.added == [(b"X-Agreed", b" NTA 7516"), HOSPITAL]
    assert (actions.body, actions.sender, actions.changed) == (None, None, [])
    line = json.loads(alone.audit.splitlines()[-1])
    assert (line["event"], line["route"]) == ("sent", "dane")
    assert "all mail to compliant domains goes over mandatory DANE" in line["reasons"]


def test_a_forged_agreed_header_is_replaced(alone):
    fields = [*PLAIN, (b"X-Agreed", b" forged")]
    after = send(alone, ["nurse@hospital.test"], fields).headers(fields)
    assert [value for name, value in after if name == b"X-Agreed"] == [b" NTA 7516"]


@pytest.mark.parametrize(
    "recipients",
    [
        ["jan@citizen.test"],
        ["colleague@care.test"],
        ["someone@broken.test"],
        ["someone@dead.test"],
        ["nurse@hospital.test", "jan@citizen.test"],
        ["nurse@hospital.test", "nurse@clinic.test"],
        ["nurse@hospital.test", "colleague@care.test"],
    ],
)
def test_other_mail_goes_the_ordinary_way_and_never_waits_for_a_better_one(alone, recipients):
    actions = send(alone, recipients)
    assert actions.verdict == "a"
    assert actions.untouched


def test_a_null_sender_takes_it_too(alone):
    assert HOSPITAL in send(alone, ["nurse@hospital.test"], sender="").added


def test_sensitive_mail_goes_as_it_does_without_the_setting(alone):
    actions = send(alone, ["nurse@hospital.test"], FIELDS)
    assert actions.body is not None
    assert HOSPITAL in actions.added
    assert send(alone, ["jan@citizen.test"], FIELDS).reply.startswith("550 5.7.1 ")


def test_without_proven_tables_it_goes_the_ordinary_way(alone):
    table = alone.postfix / "nta_route"
    text = table.read_text()
    table.write_text("")
    try:
        assert send(alone, ["nurse@hospital.test"]).untouched
    finally:
        table.write_text(text)
    assert HOSPITAL in send(alone, ["nurse@hospital.test"]).added


def test_explain_says_so(alone):
    mail = alone.directory / "mail.eml"
    mail.write_bytes(b"".join(b"%b:%b\r\n" % field for field in PLAIN) + b"\r\n" + BODY)
    command = [sys.executable, "-m", "nta_milter.cli.main", "explain", "--config", str(alone.configuration)]
    options = ["--from", "doctor@care.test", "--message", str(mail), "--json", "--to"]
    done = subprocess.run([*command, *options, "nurse@hospital.test"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["route"], answer["sensitive"]["value"]) == ("dane", False)
    assert answer["reasons"][-1]["code"] == "dane-for-all"
