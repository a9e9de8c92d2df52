"""A front listener expands groups and aliases, and nta-milter behind it sees who really gets a mail."""

import json

import pytest

from tests.laboratory.messages import ordinary, sensitive, sightings
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

TOPOLOGY = {"topology": "front"}
WARD, SECRETARY = "ward@care.test", "secretary@care.test"


def test_each_member_of_a_group_gets_what_suits_him(site):
    site.agree(JAN, "tulp-fiets-58")
    mail = sensitive(DOCTOR, WARD)
    accepted(submit(site, mail, WARD))
    assert sightings(arrived(site, "care", COLLEAGUE).raw, [mail.canaries["text"]])
    assert b"application/pkcs7-mime" in arrived(site, "nta.hospital", NURSE).headers
    assert b"Beveiligd bericht" in arrived(site, "mx.citizen", JAN).headers
    nothing_in_clear(site, mail.canaries.values())
    site.settle()
    assert len(site.everything()) == 3


def test_invariant_1_an_alias_that_leads_outside_is_seen_as_outside(site):
    mail = sensitive(DOCTOR, SECRETARY)
    accepted(submit(site, mail, SECRETARY))
    arrived(site, "care", DOCTOR)  # who is asked for an access code
    site.settle()
    assert nothing_in_clear(site, mail.canaries.values()) == 0


def test_what_the_line_promises_holds_behind_a_front(site):
    mail = ordinary(DOCTOR, NURSE)
    accepted(submit(site, mail, NURSE))
    assert arrived(site, "mx.hospital", NURSE).raw.endswith(mail.raw)
    site.reset()
    line.to_the_doctor(site)


@pytest.mark.parametrize("forged", ["", "X-Nta-Route: mx\r\n", "X-Nta-Route: inside\r\nX-Nta-Guard: on\r\n"])
def test_invariant_14_a_message_requeued_at_the_front_still_meets_the_milter(site, forged):
    site.stop_milter(kill=True)
    mail = sensitive(DOCTOR, NURSE)
    accepted(site.send(DOCTOR, DOCTOR, [NURSE], forged.encode() + mail.raw))
    for _ in range(2):
        site.settle()
        assert site.queue()[0]["recipients"][0]["delay_reason"].startswith("host 127.0.0.1")
        site.postsuper("-r", "ALL")
    site.settle()
    site.start_milter()
    site.flush()
    received = arrived(site, "nta.hospital", NURSE)
    assert b"application/pkcs7-mime" in received.headers
    assert b"X-Nta" not in received.headers
    nothing_in_clear(site, mail.canaries.values())


def test_a_refusal_behind_the_front_comes_back_without_the_text(site):
    mail = sensitive("stranger@hospital.test", JAN)  # From is not ours, the envelope is
    accepted(submit(site, mail, JAN))
    report = arrived(site, "care", DOCTOR)
    assert b"not one of our own" in report.raw
    assert (
        sightings(report.raw, [mail.canaries[place] for place in ("text", "html", "attachment", "filename")])
        == []
    )


def test_invariant_5_a_login_sends_under_its_own_address(site):
    reply = site.send(DOCTOR, COLLEAGUE, [NURSE], sensitive(COLLEAGUE, NURSE).raw)
    assert (reply.code, "not owned by user" in reply.text) == (553, True), reply


def test_invariant_5_the_listener_behind_takes_mail_from_this_host_alone(site):
    with site.session("127.0.0.1:10588") as client:
        assert client.transmit(DOCTOR, [NURSE], sensitive(DOCTOR, NURSE).raw).code == 554


def test_the_doctor_finds_no_fault(site):
    status, said = site.nta_milter("doctor", "--json", "--config", str(site.configuration))
    assert status == 0, said
    assert "recipients-not-final" not in {each["code"] for each in json.loads(said)}
