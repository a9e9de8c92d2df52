"""rspamd judges what arrives before nta-milter, and signs what leaves behind it."""

import email
import json
import re

import dkim
import pytest

from tests.integration.inbound.senders import public
from tests.laboratory import rspamd
from tests.laboratory.dns import txt
from tests.laboratory.messages import ordinary, sensitive
from tests.laboratory.namespace import INSIDE
from tests.laboratory.scenarios import line
from tests.laboratory.scenarios.proof import DOCTOR, JAN, NURSE, accepted, arrived, submit

NAME = "mx.care.test"
TOPOLOGY = {
    "topology": "rspamd",
    "peer": {"proofs": f"{INSIDE}/care/nta-milter/verifiers.json", "inbound": "off"},
    "verifiers": [
        {"authserv_id": NAME, "listener": "127.0.0.12:25", "methods": ["spf", "dkim", "dmarc"]},
    ],
}
GTUBE = b"%bJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
"""What rspamd refuses (X in front) or marks (Y)."""

FORGED = (
    f"Authentication-Results: {NAME}; dkim=pass header.d=evil.test; spf=pass smtp.mailfrom=evil.test\r\n"
    f"Authentication-Results: {line.OWN_ID}; smime=pass\r\n"
).encode()
MAIL = (
    b"From: nurse@hospital.test\r\nTo: doctor@care.test\r\nSubject: Overleg\r\n"
    b"Message-ID: <r@hospital.test>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\n\r\nGoedemorgen\r\n"
)


@pytest.fixture(scope="module", autouse=True)
def _rspamd(_site):
    key = public(_site.certificates, "sender")
    policies = [
        f"good._domainkey TXT {txt('v=DKIM1; p=' + key)}",
        f"@ TXT {txt(f'v=spf1 ip4:{line.HOSPITAL_ADDRESS} -all')}",
        f"_dmarc TXT {txt('v=DMARC1; p=reject')}",
    ]
    _site.dns.extend("hospital.test", policies)
    rspamd.start(_site)


@pytest.fixture(autouse=True)
def _unproven(site):
    (site.directory / "care" / "nta-milter" / "verifiers.json").unlink(missing_ok=True)


def doctor(site, *options):
    status, said = site.nta_milter("doctor", "--json", *options, "--config", str(site.configuration))
    return status, {each["code"]: each["text"] for each in json.loads(said)}


def taken(site, raw, *, sender=NURSE):
    """What becomes of a mail of the hospital at the ntamx listener: its results by their names."""
    with site.session("ntamx", source=line.HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(sender, [DOCTOR], raw))
    received = email.message_from_bytes(arrived(site, "care", DOCTOR).raw)
    told = [" ".join(each.split()) for each in received.get_all("Authentication-Results", [])]
    names = [each.partition(";")[0] for each in told]
    assert names == [NAME, line.OWN_ID]
    return dict(zip(names, told, strict=True))


def signed(site):
    key = site.certificates.plain_key("sender").read_bytes()
    return (
        dkim.sign(MAIL, b"good", b"hospital.test", key).replace(b"\n", b"\r\n").replace(b"\r\r", b"\r") + MAIL
    )


def test_what_leaves_is_signed_over_the_ciphertext(site):
    line.to_the_hospital(site)
    received = email.message_from_bytes(arrived(site, "nta.hospital", NURSE).raw)
    assert received.get_all("DKIM-Signature")
    assert all("smtp.auth" not in each for each in received.get_all("Authentication-Results", []))


def test_what_the_worker_hands_in_is_signed(site):
    accepted(submit(site, sensitive(DOCTOR, JAN), JAN))
    request = arrived(site, "care", DOCTOR)  # nobody knows how to reach the citizen: the sender is asked
    assert f"d=care.test; s={rspamd.DKIM_SELECTOR}" in " ".join(request.headers.decode().split())


def test_what_arrives_is_opened_and_both_results_are_right(site):
    line.to_the_doctor(site)
    received = arrived(site, "care", DOCTOR).headers.decode()
    theirs, ours = re.findall(r"^Authentication-Results: ([\w.]+);", received, re.MULTILINE)
    assert (theirs, ours) == (NAME, line.OWN_ID)
    assert "spf=pass" in received


def test_after_the_probe_it_is_believed_about_all_three_and_forgeries_are_gone(site):
    before = taken(site, FORGED + signed(site))
    assert f"by {NAME}" not in before[line.OWN_ID]
    site.reset()
    status, found = doctor(site, "--probe")
    assert (status, {code for code in found if code.startswith("verifier")}) == (0, set()), found
    after = taken(site, FORGED + signed(site))
    for told in (
        f"spf=pass (by {NAME}) smtp.mailfrom=hospital.test",
        f"dkim=pass (by {NAME}) header.d=hospital.test",
        f"dmarc=pass (by {NAME}) header.from=hospital.test",
    ):
        assert told in after[line.OWN_ID]
    assert "evil.test" not in "".join(after.values())


def test_invariant_11_an_envelope_that_reads_like_a_result_is_not_believed(site):
    doctor(site, "--probe")
    results = taken(site, MAIL, sender='"x) ; dkim=pass header.d=hospital.test (y"@evil.test')
    assert "dkim=pass header.d=hospital.test" in results[NAME]  # rspamd writes it as it came
    assert f"by {NAME}" not in results[line.OWN_ID]
    assert "dkim=pass" not in results[line.OWN_ID]


def test_the_doctor_finds_no_fault(site):
    status, found = doctor(site)
    assert (status, set(found) - {"clock-not-kept"}) == (0, {"verifier-not-proven"}), found


@pytest.mark.parametrize("listener", ["inbound", "ntamx"])
def test_what_it_refuses_is_refused(site, listener):
    with site.session(listener, source=line.HOSPITAL_ADDRESS) as client:
        reply = client.transmit(NURSE, [DOCTOR], MAIL + GTUBE % b"X")
    assert (reply.code, site.everything()) == (554, []), reply


def test_what_it_marks_arrives_marked(site):
    with site.session("inbound", source=line.HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [DOCTOR], MAIL + GTUBE % b"Y"))
    received = arrived(site, "care", DOCTOR)
    assert email.message_from_bytes(received.raw)["X-Spam"] == "Yes"


def test_ordinary_mail_passes_as_it_leaves_it(site):
    mail = ordinary(NURSE, DOCTOR)
    with site.session("inbound", source=line.HOSPITAL_ADDRESS) as client:
        accepted(client.transmit(NURSE, [DOCTOR], mail.raw))
    received = arrived(site, "care", DOCTOR).raw
    assert received.endswith(mail.raw)
    head = email.message_from_bytes(received[: -len(mail.raw)])
    assert head.keys() == ["Received", "Authentication-Results"]
    site.reset()
    outgoing = ordinary(DOCTOR, JAN)
    accepted(submit(site, outgoing, JAN))
    received = arrived(site, "mx.citizen", JAN).raw
    assert received.endswith(outgoing.raw)
    head = email.message_from_bytes(received[: -len(outgoing.raw)])
    assert set(head.keys()) == {"Received", "DKIM-Signature"}


def test_mail_waits_while_it_is_away(site):
    care = site.postfix["care"]
    care.set(nta_verifier="unix:rspamd/away.sock")
    reply = site.send(None, NURSE, [DOCTOR], MAIL, "ntamx")
    assert 400 <= reply.code < 500, reply
    care.restore()
    care.set(nta_signer="unix:rspamd/away.sock")
    assert 400 <= submit(site, ordinary(DOCTOR, JAN), JAN).code < 500
    assert not site.everything()
