"""A virus scanner sees mail before it is encrypted and after it was opened, as a filter and as a milter."""

import base64
import json
import sys

import pytest

from tests.laboratory.messages import Mail, ordinary, sensitive, sightings
from tests.laboratory.namespace import INSIDE
from tests.laboratory.scanner import VIRUS
from tests.laboratory.scenarios import line
from tests.laboratory.scenarios.proof import (
    COLLEAGUE,
    DOCTOR,
    JAN,
    NURSE,
    accepted,
    arrived,
    nothing_in_clear,
    submit,
)

TOPOLOGY = {"topology": "front scanner"}
PORTS = ("10024=10588", "10026=10027", "10028=10029")
SCANNER = (sys.executable, "-m", "tests.laboratory.scanner", INSIDE / "scanned")


@pytest.fixture(scope="module", autouse=True)
def _scanner(_site):
    _site._daemon(*SCANNER, *PORTS, ready="ready")


@pytest.fixture(autouse=True)
def _forgotten(site):
    (site.directory / "scanned").unlink(missing_ok=True)


def scanned(site, mail):
    """Where the scanner has read a mail's text, in order."""
    lines = (site.directory / "scanned").read_text().splitlines()
    seen = [json.loads(each) for each in lines]
    return [
        each["place"] for each in seen if mail.canaries["text"] in base64.b64decode(each["text"]).decode()
    ]


def infected(mail):
    return Mail(mail.raw.replace(b"Beste collega,", VIRUS.encode()), mail.canaries)


def test_outgoing_mail_is_scanned_before_it_is_encrypted(site):
    mail = sensitive(DOCTOR, NURSE)
    accepted(submit(site, mail, NURSE))
    assert b"application/pkcs7-mime" in arrived(site, "nta.hospital", NURSE).headers
    assert scanned(site, mail) == ["10024"]
    nothing_in_clear(site, mail.canaries.values())


def test_an_infected_mail_comes_back_and_does_not_leave(site):
    mail = infected(sensitive(DOCTOR, NURSE))
    accepted(submit(site, mail, NURSE))
    report = arrived(site, "care", DOCTOR)
    assert b"virus found" in report.raw
    assert mail.canaries["text"] not in " ".join(sightings(report.raw, mail.canaries.values()))
    assert not site.mailbox("nta.hospital", NURSE)


def test_arriving_mail_is_scanned_after_it_was_opened(site):
    mail = line.from_the_hospital(site)
    received = line.deliver(site, mail, DOCTOR)
    assert sightings(received.raw, [mail.canaries["text"]])
    assert scanned(site, mail) == ["10028"]
    assert b"X-Nta" not in received.headers


def test_invariant_13_an_infected_mail_that_was_opened_tells_its_sender_nothing(site, monkeypatch):
    monkeypatch.setattr(line, "sensitive", lambda *people: infected(sensitive(*people)))
    mail = line.from_the_hospital(site)
    with site.session("ntamx", source=line.HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [DOCTOR], mail.raw))
    report = arrived(site, "mx.hospital", NURSE)
    assert sightings(report.raw, mail.canaries.values()) == []
    assert not site.mailbox("care", DOCTOR)


def test_ordinary_arriving_mail_is_scanned_and_expanded_after_it(site):
    mail = ordinary(NURSE, DOCTOR)
    with site.session("inbound") as client:
        accepted(client.transmit(NURSE, [DOCTOR], mail.raw))
    assert arrived(site, "care", DOCTOR).raw.endswith(mail.raw)
    assert scanned(site, mail) == ["10026"]
    group = ordinary(NURSE, "ward@care.test")
    with site.session("inbound") as client:
        accepted(client.transmit(NURSE, ["ward@care.test"], group.raw))
    arrived(site, "care", COLLEAGUE)
    arrived(site, "mx.citizen", JAN)


def test_invariant_14_opened_mail_that_is_requeued_is_scanned_again_and_stays_inside(site):
    care = site.postfix["care"]
    store = care.home / "queue" / "private" / "dovecot-lmtp"
    store.rename(store.with_name("away"))
    site.forward("doctor", f"{JAN}\n")
    mail = line.from_the_hospital(site)
    with site.session("ntamx", source=line.HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [DOCTOR], mail.raw))
    site.settle()
    site.postsuper("-r", "ALL")
    site.settle()
    store.with_name("away").rename(store)
    site.flush()
    received = arrived(site, "care", DOCTOR)
    assert sightings(received.raw, [mail.canaries["text"]])
    assert b"X-Nta" not in received.headers
    assert scanned(site, mail) == ["10028", "10028"]
    site.settle()
    nothing_in_clear(site, mail.canaries.values())


def test_the_doctor_finds_no_fault(site):
    status, said = site.nta_milter("doctor", "--json", "--config", str(site.configuration))
    assert status == 0, said
    assert "filter-before-us" in {each["code"] for each in json.loads(said)}


def test_a_scanner_that_is_a_milter_stands_before_us_for_what_leaves_and_behind_us_for_what_arrives(site):
    site._daemon(*SCANNER, "milter", "unix:/var/spool/postfix/nta-milter/scanner.sock", ready="ready")
    care = site.postfix["care"]
    site.wait_for((care.home / "queue" / "nta-milter" / "scanner.sock").exists, "the scanner")
    master = (care.home / "etc" / "master.cf").read_text()
    ours, scanner = "$nta_milter", "unix:nta-milter/scanner.sock"
    master = master.replace(f"={ours},$nta_signer", f"={scanner},{ours},$nta_signer")
    master = master.replace(f"=$nta_verifier,{ours}", f"=$nta_verifier,{ours},{scanner}")
    care.edit("master.cf", master)
    mail = sensitive(DOCTOR, NURSE)
    accepted(submit(site, mail, NURSE))
    assert b"application/pkcs7-mime" in arrived(site, "nta.hospital", NURSE).headers
    assert "milter" in scanned(site, mail)
    arriving = line.from_the_hospital(site)
    line.deliver(site, arriving, DOCTOR)
    assert "milter" in scanned(site, arriving)
    status, said = site.nta_milter("doctor", "--json", "--config", str(site.configuration))
    assert status == 0, said
