"""A report about a message, reduced: what programs read stays, and nothing else gets through."""

import email

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.headers import split
from nta_milter.message.mime import parse
from nta_milter.outbound.automatic import RECEIPT, STATUS, reduced

NAMES = {name.lower() for name in (*RECEIPT, *STATUS)}


def made(told: bytes, kind="delivery-status", subtype="delivery-status", extra=b"", encoding=b"7bit"):
    raw = (
        b"From: Dokter <doctor@care.test>\r\nTo: nurse@hospital.test\r\nSubject: Kanarie\r\n"
        b"Date: Tue, 24 Nov 2026 10:00:00 +0100\r\nMessage-ID: <a@care.test>\r\nX-Kanarie: x\r\n"
        b"Auto-Submitted: auto-generated (Kanarie)\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; boundary="b"; report-type=' + kind.encode() + b"\r\n\r\n"
        b"--b\r\n\r\nKanarie\r\n--b\r\nContent-Type: message/" + subtype.encode() + b"\r\n"
        b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + told + b"\r\n" + extra + b"--b--\r\n"
    )
    headers, start = split(raw)
    body = raw[start:]
    return reduced(parse(headers, body, part_limit=100, depth_limit=10), body, headers)


def read(outcome):
    return email.message_from_bytes(bytes(outcome.headers) + b"\r\n" + bytes(outcome.body))


def test_each_recipients_fate_stays_and_everything_said_about_it_goes():
    outcome = made(
        b"Reporting-MTA: dns; mx.care.test\r\nX-Kanarie: x\r\n\r\n"
        b"Final-Recipient: rfc822; a@care.test\r\nAction: failed\r\nStatus: 5.2.2\r\n"
        b"Diagnostic-Code: smtp; 552 Kanarie\r\n\r\n"
        b"Final-Recipient: rfc822; b@care.test\r\nAction: delayed\r\n Kanarie\r\nStatus: 4.0.0\r\n",
        extra=b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: Kanarie\r\n",
    )
    mail = read(outcome)
    assert b"Kanarie" not in bytes(mail)
    assert mail["From"] == "doctor@care.test"
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail.get_param("report-type") == "delivery-status"
    text, status = mail.get_payload()
    assert "automatische melding" in text.get_payload()
    groups = [dict(group) for group in status.get_payload()]
    assert groups == [
        {"Reporting-MTA": "dns; mx.care.test"},
        {"Final-Recipient": "rfc822; a@care.test", "Action": "failed", "Status": "5.2.2"},
        {"Final-Recipient": "rfc822; b@care.test", "Status": "4.0.0"},
    ]


@pytest.mark.parametrize(
    ("told", "kind", "subtype"),
    [
        (b"X-Kanarie: x", "delivery-status", "delivery-status"),
        (b"Action: failed", "delivery-status", "disposition-notification"),
        (b"Action: failed", "feedback-report", "delivery-status"),
        (b"", "disposition-notification", "disposition-notification"),
    ],
)
def test_what_is_no_report_is_none(told, kind, subtype):
    assert made(told, kind, subtype) is None


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([b"\r\n", b"\n\n", b"Action: x", b"Status: \x00y", b"--b", b"Disposition: \xe9"]),
        ),
        max_size=12,
    ),
    st.sampled_from(["delivery-status", "disposition-notification"]),
    st.sampled_from([b"7bit", b"base64", b"quoted-printable", b"odd"]),
)
def test_whatever_is_told_only_known_fields_of_printable_ascii_are_sent(pieces, kind, encoding):
    outcome = made(b"".join(pieces), kind, kind, encoding=encoding)
    if outcome is None:
        return
    _, told = bytes(outcome.body).split(b"Content-Type: message/")
    lines = told.split(b"\r\n")[1:-2]
    assert all(not line or line.split(b":")[0].lower().decode() in NAMES for line in lines), lines
    assert told.decode("ascii").replace("\r\n", "").isprintable()
