"""What a real Postfix passes on is judged: TLS, HELO, client address, and the bytes that were signed."""

import dkim

from tests.integration.inbound.senders import public
from tests.laboratory.dns import txt
from tests.laboratory.scenarios.line import HOSPITAL_ADDRESS, own_results
from tests.laboratory.scenarios.proof import arrived

NURSE, DOCTOR = "nurse@hospital.test", "doctor@care.test"
MAIL = (
    b"From: Verpleegkundige <nurse@hospital.test>\r\nTo: doctor@care.test\r\nSubject: Lang\r\n"
    b"  onderwerp\r\n"
    b"Message-ID: <peer.1@hospital.test>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\n"
    b"X-Odd:   two  blanks \r\n"
    b"\r\nRegel met  blanks \t\r\n.punt\r\n\r\n\r\n"
)


def test_a_signed_mail_over_tls_passes_every_check_on_a_real_postfix(laboratory):
    laboratory.dns.extend(
        "hospital.test",
        [
            f"@ TXT {txt(f'v=spf1 ip4:{HOSPITAL_ADDRESS} -all')}",
            f"_dmarc TXT {txt('v=DMARC1; p=reject; aspf=s; adkim=s')}",
            f"good._domainkey TXT {txt('v=DKIM1; p=' + public(laboratory.certificates, 'sender'))}",
        ],
    )
    key = laboratory.certificates.plain_key("sender").read_bytes()
    names = [b"from", b"to", b"subject", b"date", b"message-id", b"x-odd", b"from"]
    signed = dkim.sign(
        MAIL, b"good", b"hospital.test", key, canonicalize=(b"simple", b"simple"), include_headers=names
    )
    with laboratory.session("ntamx", source=HOSPITAL_ADDRESS) as client:
        reply = client.transmit(NURSE, [DOCTOR], signed + MAIL)
    assert reply.accepted, reply
    (result,) = own_results(arrived(laboratory, "care", DOCTOR))
    assert "x-tls=pass smtp.version=TLSv1.3 smtp.cipher=TLS_" in result
    assert "spf=pass (client 127.0.0.21) smtp.mailfrom=hospital.test" in result
    assert "dkim=pass header.d=hospital.test header.s=good" in result
    assert "dmarc=pass (p=reject, by dkim) header.from=hospital.test" in result
