import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.worker.bounce import Bounce, read_bounce, read_bounces

NURSE = "nurse@hospital.test"
REPORT = b"""From: MAILER-DAEMON@hospital.test (Mail Delivery System)\r
To: nta-bounce+1@care.test\r
Auto-Submitted: auto-replied\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status; boundary="x"\r
\r
--x\r
Content-Type: text/plain\r
\r
I'm sorry to have to inform you: canary-4711\r
--x\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.hospital.test\r
Arrival-Date: Tue, 24 Nov 2026 12:00:00 +0000\r
\r
Final-Recipient: rfc822; nurse@hospital.test\r
Action: %b\r
Status: %b\r
Diagnostic-Code: smtp; 550 canary-4711 is no good Subject\r
%b\r
--x--\r
"""


def report(action: bytes = b"failed", status: bytes = b"5.1.1", more: bytes = b"") -> bytes:
    return REPORT % (action, status, more)


@pytest.mark.parametrize(
    ("content", "bounce"),
    [
        (report(), Bounce("failed", "5.1.1", NURSE)),
        (report(b"Delayed", b"4.4.1"), Bounce("delayed", "4.4.1", NURSE)),
        (report(b"relayed", b"2.0.0 (comment)"), Bounce("relayed", "2.0.0", NURSE)),
        (
            report(b"delivered", b"2.0.0", b"\r\nAction: failed\r\nStatus: 5.2.2\r\n"),
            Bounce("failed", "5.2.2"),
        ),
        (
            report().replace(b"message/delivery", b"message/global-delivery"),
            Bounce("failed", "5.1.1", NURSE),
        ),
        (report(b"exploded"), None),
        (report(status=b"5.1.1000"), None),
        (report(status=b"9.1.1"), None),
        (report().replace(b"message/delivery-status", b"text/plain"), None),
        (b"Subject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nI am away\r\n", None),
        (b"", None),
    ],
)
def test_what_a_report_says(content, bounce):
    assert read_bounce(content) == bounce


def test_each_recipient_of_a_report_is_read():
    more = b"\r\nFinal-Recipient: RFC822;Aide@Hospital.test\r\nAction: delayed\r\nStatus: 4.2.2\r\n"
    found = (Bounce("failed", "5.1.1", NURSE), Bounce("delayed", "4.2.2", "aide@hospital.test"))
    assert read_bounces(report(more=more)) == found


def test_more_parts_than_a_report_has_are_no_report():
    part = b"--x\r\nContent-Type: text/plain\r\n\r\n\r\n"
    assert read_bounce(report().replace(b"--x\r\n", part * 200 + b"--x\r\n", 1)) is None


@given(st.binary())
def test_any_bytes_are_a_report_or_none(content):
    assert read_bounce(content) is None


@given(st.binary(), st.integers(0, len(report())))
def test_a_damaged_report_never_fails_to_be_read(piece, place):
    whole = report()
    found = read_bounce(whole[:place] + piece + whole[place + len(piece) :])
    assert found is None or found.status[0] in "245"
