"""Microsoft 365 through connectors: neither network nor TLS name proves that a mail is ours."""

import json
import smtplib

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
    opened,
)
from tests.laboratory.topology import FROM_INSIDE, INNER, SECRET, certified

INNER_NAME = "care-test.mail.protection.outlook.test"
TOPOLOGY = {"topology": "microsoft-365", "inner": INNER_NAME, "inner_asks": True}
MARKS = (b"X-OriginatorOrg: care.test", b"X-Care-Connector: " + SECRET.encode())


def from_provider(site, raw, *recipients, sender=DOCTOR, marks=MARKS, name="mail.protection.outlook.test"):
    """What the provider's host hands in for one of its customers."""
    shown = certified(site.certificates, name) if name else None
    with site.session(FROM_INSIDE, source=INNER, certificate=shown) as client:
        return client.transmit(sender, recipients, b"".join(mark + b"\r\n" for mark in marks) + raw)


def test_our_mail_is_encrypted_and_the_marks_do_not_leave(site):
    mail = sensitive(DOCTOR, NURSE)
    accepted(from_provider(site, mail.raw, NURSE))
    received = arrived(site, "nta.hospital", NURSE)
    certificates = site.certificates
    content, _ = opened(
        received.raw, certificates.gateway("hospital.test"), certificates.authority.certificate
    )
    assert content.partition(b"\r\n\r\n")[2] == mail.body
    assert SECRET.encode() not in received.raw + content
    nothing_in_clear(site, mail.canaries.values())


def test_ordinary_mail_loses_the_secret_and_nothing_else(site):
    mail = ordinary(DOCTOR, JAN)
    accepted(from_provider(site, mail.raw, JAN))
    received = arrived(site, "mx.citizen", JAN)
    assert received.raw.endswith(b"X-OriginatorOrg: care.test\r\n" + mail.raw)
    assert SECRET.encode() not in received.raw


ORGANISATION, CONNECTOR = MARKS


@pytest.mark.parametrize("kind", ["sensitive", "ordinary"])
@pytest.mark.parametrize(
    ("marks", "because"),
    [
        ((), "X-OriginatorOrg"),
        ((b"X-OriginatorOrg: other.test", CONNECTOR), "X-OriginatorOrg"),
        ((b"X-OriginatorOrg: other.test", ORGANISATION, CONNECTOR), "X-OriginatorOrg"),
        ((b"X-OriginatorOrg: care.test.other.test", CONNECTOR), "X-OriginatorOrg"),
        ((ORGANISATION,), "X-Care-Connector"),
        ((ORGANISATION, b"X-Care-Connector: geraden"), "X-Care-Connector"),
        ((ORGANISATION, b"X-Care-Connector: geraden", CONNECTOR), "X-Care-Connector"),
    ],
)
def test_invariant_5_another_customer_of_the_provider_is_refused(site, kind, marks, because):
    mail = (sensitive if kind == "sensitive" else ordinary)(DOCTOR, NURSE)
    reply = from_provider(site, mail.raw, NURSE, marks=marks)
    assert reply.code == 550, reply
    assert because in reply.text
    assert SECRET not in reply.text
    assert site.everything() == []


@pytest.mark.parametrize(("author", "sender"), [(NURSE, DOCTOR), (DOCTOR, NURSE), (NURSE, "")])
def test_invariant_5_only_our_own_domains_may_send_with_our_marks(site, author, sender):
    reply = from_provider(site, ordinary(author, JAN).raw, JAN, sender=sender)
    assert (reply.code, "of our own" in reply.text) == (550, True), reply
    assert site.everything() == []


def test_invariant_5_a_host_of_another_name_is_refused(site):
    reply = from_provider(site, ordinary(DOCTOR, JAN).raw, JAN, name="mail.other.test")
    assert (reply.code, "mail.other.test" in reply.text) == (550, True), reply


def test_without_a_certificate_nothing_is_taken(site):
    with pytest.raises(smtplib.SMTPServerDisconnected):
        from_provider(site, ordinary(DOCTOR, JAN).raw, JAN, name="")
    assert site.everything() == []


def test_what_arrives_is_opened_and_reaches_the_provider_over_proven_tls(site):
    mail = line.from_the_hospital(site)
    received = line.deliver(site, mail, DOCTOR)
    assert sightings(received.raw, [mail.canaries["text"]])
    assert f"Verified TLS connection established to {INNER_NAME}[{INNER}]:25" in site.log()
    assert json.loads((site.directory / "sessions").read_text().splitlines()[-1])["tls"] == "TLSv1.3"


def test_sensitive_mail_among_our_users_goes_back_over_the_same_hop(site):
    mail = sensitive(DOCTOR, COLLEAGUE)
    accepted(from_provider(site, mail.raw, COLLEAGUE))
    assert sightings(arrived(site, "care", COLLEAGUE).raw, [mail.canaries["text"]])


def test_the_provider_is_no_way_in_to_our_commit_addresses(site):
    reply = from_provider(site, ordinary(DOCTOR, JAN).raw, f"commit+{'0' * 32}@nta.invalid")
    assert reply.code == 554, reply


def test_the_doctor_finds_no_fault(site):
    status, said = site.nta_milter("doctor", "--json", "--config", str(site.configuration))
    assert status == 0, said


def test_invariant_5_in_shadow_mode_too_no_other_customer_sends_through_us(site):
    file = site.directory / "care" / "nta-milter" / "nta-milter.toml"
    enforced = file.read_text()
    file.write_text(f'mode = "shadow"\n{enforced}')
    try:
        site.restart_milter()
        assert from_provider(site, ordinary(DOCTOR, JAN).raw, JAN, marks=MARKS[:1]).code == 550
        accepted(from_provider(site, ordinary(DOCTOR, JAN).raw, JAN))
    finally:
        file.write_text(enforced)
        site.restart_milter()
    arrived(site, "mx.citizen", JAN)
