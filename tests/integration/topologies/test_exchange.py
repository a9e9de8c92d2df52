"""Exchange behind Postfix: its mail is ours by its address, and reaches it over proven TLS only."""

import email
import json

import pytest

from tests.laboratory.messages import ordinary, sensitive, sightings
from tests.laboratory.scenarios import download, line
from tests.laboratory.scenarios.proof import (
    CLINIC,
    COLLEAGUE,
    DOCTOR,
    JAN,
    NURSE,
    accepted,
    arrived,
    nothing_in_clear,
    opened,
    submit,
)
from tests.laboratory.topology import FROM_INSIDE

TOPOLOGY = {"topology": "exchange", "inner": "exchange.care.test"}
VERIFIED = "Verified TLS connection established to exchange.care.test[127.0.0.51]:25"


def taken(site):
    """What Exchange has noted of each connection that brought it mail."""
    file = site.directory / "sessions"
    return [json.loads(each) for each in file.read_text().splitlines()] if file.exists() else []


def without_proof(site):
    """The hop inside as somebody may have written it: whatever answers gets everything."""
    care = site.postfix["care"]
    master = (care.home / "etc" / "master.cf").read_text()
    care.edit("master.cf", master.replace("smtp_tls_security_level=secure", "smtp_tls_security_level=may"))
    site.restart_milter()


def test_what_exchange_sends_is_signed_by_the_domain_and_encrypted(site):
    mail = sensitive(DOCTOR, NURSE)
    accepted(submit(site, mail, NURSE))
    received = arrived(site, "nta.hospital", NURSE)
    certificates = site.certificates
    content, _ = opened(
        received.raw, certificates.gateway("hospital.test"), certificates.authority.certificate
    )
    assert content.partition(b"\r\n\r\n")[2] == mail.body
    assert b"dkim=pass" in received.headers
    nothing_in_clear(site, mail.canaries.values())


def test_what_arrives_is_opened_and_reaches_exchange_over_proven_tls(site):
    line.to_the_doctor(site)
    assert VERIFIED in site.log()
    assert taken(site)[-1] == {"recipients": [DOCTOR], "tls": "TLSv1.3"}


def test_readable_mail_over_dane_and_secure_download_work_for_exchange(site):
    download.readable(site)
    site.reset()
    mail = sensitive(DOCTOR, JAN)
    site.agree(JAN, download.CODE)
    accepted(submit(site, mail, JAN))
    browser = site.browser()
    page = download.opened_by_code(browser, download.notified(site, "mx.citizen", JAN, mail))
    form = browser.get(next(link for link in page.links if link.endswith("/reply")))
    browser.submit(form, "/reply", text="Kanarie in het antwoord")
    assert (
        "Kanarie in het antwoord"
        in sightings(arrived(site, "care", DOCTOR).raw, ["Kanarie in het antwoord"])[0]
    )
    assert taken(site)[-1] == {"recipients": [DOCTOR], "tls": "TLSv1.3"}


def test_sensitive_mail_among_our_users_goes_back_over_the_same_hop(site):
    mail = sensitive(DOCTOR, COLLEAGUE)
    accepted(submit(site, mail, COLLEAGUE))
    assert sightings(arrived(site, "care", COLLEAGUE).raw, [mail.canaries["text"]])
    assert taken(site)[-1]["tls"] == "TLSv1.3"


def test_invariant_5_nobody_but_exchange_may_use_its_listener(site):
    with site.session(FROM_INSIDE, source="127.0.0.90") as client:
        reply = client.transmit(DOCTOR, [NURSE], sensitive(DOCTOR, NURSE).raw)
    assert reply.code == 554, reply
    assert site.everything() == []


def test_exchange_may_not_send_as_somebody_elsewhere(site):
    reply = site.send(DOCTOR, NURSE, [CLINIC], sensitive(NURSE, CLINIC).raw)
    assert (reply.code, "not one of our own" in reply.text) == (550, True), reply


def test_an_unknown_mailbox_is_refused_at_once(site):
    with site.session("inbound") as client:
        assert (
            client.transmit(NURSE, ["nobody@care.test"], ordinary(NURSE, "nobody@care.test").raw).code == 550
        )


def test_invariant_13_a_mailbox_that_exchange_refuses_tells_the_sender_nothing_of_the_content(site):
    refused = site.directory / "mailboxes" / "care" / DOCTOR
    refused.mkdir(parents=True)
    (refused / "refused").touch()
    mail = line.from_the_hospital(site)
    with site.session("ntamx", source=line.HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [DOCTOR], mail.raw))
    report = arrived(site, "mx.hospital", NURSE)
    assert sightings(report.raw, mail.canaries.values()) == []


# The hop after us. What is readable goes over a hop that is shown to be protected, or not at all.


def test_invariant_1_over_an_unproven_hop_arriving_mail_stays_encrypted_and_is_marked(site):
    without_proof(site)
    site.start_inner(tls=False)
    mail = line.from_the_hospital(site)
    received = line.deliver(site, mail, DOCTOR)
    assert taken(site)[-1]["tls"] == ""
    assert received.body == mail.body
    assert sightings(received.raw, mail.canaries.values()) == []
    (result,) = line.own_results(received)
    assert result.startswith(f"{line.OWN_ID}; smime=neutral (not opened)")
    assert "smtp_tls_security_level=may" in site.milter_log()
    site.start_inner()


def test_invariant_1_over_an_unproven_hop_sensitive_mail_among_our_users_waits(site):
    without_proof(site)
    reply = submit(site, sensitive(DOCTOR, COLLEAGUE), COLLEAGUE)
    assert reply.code == 451, reply
    assert "no protected next hop" in reply.text
    assert "smtp_tls_security_level=may" in reply.text
    accepted(submit(site, sensitive(DOCTOR, NURSE), NURSE))  # what leaves does not depend on it
    arrived(site, "nta.hospital", NURSE)


def test_the_doctor_names_an_unproven_hop(site):
    without_proof(site)
    status, said = site.nta_milter("doctor", "--json", "--config", str(site.configuration))
    assert status == 1
    (fault,) = [each for each in json.loads(said) if each["level"] == "fault"]
    assert fault["code"] == "no-inside"
    assert "exchange.care.test" in fault["text"]
    assert "internal.networks" in fault["mend"]


@pytest.mark.parametrize("way", ["another name", "no TLS"])
def test_invariant_1_a_server_that_does_not_prove_its_name_gets_nothing(site, way):
    site.start_inner(tls=way != "no TLS", name="other.care.test")
    mail = line.from_the_hospital(site)
    before = len(taken(site))
    with site.session("ntamx", source=line.HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [DOCTOR], mail.raw))
    site.wait_for(lambda: [each for each in site.queue() if each["queue_name"] == "deferred"], "a deferral")
    assert len(taken(site)) == before
    assert site.everything() == []
    site.start_inner()
    site.flush()
    assert sightings(arrived(site, "care", DOCTOR).raw, [mail.canaries["text"]])


def test_ordinary_mail_passes_byte_for_byte(site):
    mail = ordinary(DOCTOR, NURSE)
    accepted(submit(site, mail, NURSE))
    assert arrived(site, "mx.hospital", NURSE).raw.endswith(mail.raw)
    arriving = ordinary(NURSE, DOCTOR)
    with site.session("inbound") as client:
        accepted(client.transmit(NURSE, [DOCTOR], arriving.raw))
    assert arrived(site, "care", DOCTOR).raw.endswith(arriving.raw)


def test_the_doctor_finds_no_fault(site):
    status, said = site.nta_milter("doctor", "--json", "--config", str(site.configuration))
    assert status == 0, said
    assert "outbound-without-login" in {each["code"] for each in json.loads(said)}


def test_a_requeued_message_keeps_its_hop(site):
    site.stop_inner()
    mail = line.from_the_hospital(site)
    with site.session("ntamx", source=line.HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [DOCTOR], mail.raw))
    site.settle()
    site.postfix["care"].set(relay_domains="", transport_maps="regexp:/etc/postfix/nta_transport")
    site.postsuper("-r", "ALL")
    site.settle()
    site.start_inner()
    site.flush()
    received = arrived(site, "care", DOCTOR)
    assert sightings(received.raw, [mail.canaries["text"]])
    assert email.message_from_bytes(received.raw)["X-Nta-Route"] is None
    nothing_in_clear(site, mail.canaries.values())
