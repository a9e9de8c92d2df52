import email
import email.policy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.portal.compose import reply, subject_of
from nta_milter.portal.forms import Upload
from nta_milter.portal.render.content import content_of

AT = datetime(2026, 11, 24, 9, 15, tzinfo=UTC)
ORIGINAL = content_of(
    b"From: doctor@care.test\r\nSubject: Uitslag\r\nMessage-ID: <a@care.test>\r\n"
    b"References: <0@care.test>\r\n\r\nx",
    "bijlage",
)


def written(
    text: str = "Dank u", uploads=(), content=ORIGINAL, author="jan@citizen.test", subject="Antw: Uitslag"
):
    return reply(content, author, "doctor@care.test", subject, text, uploads, "<b@care.test>", AT, "bijlage")


def parsed(raw: bytes):
    return email.message_from_bytes(raw, policy=email.policy.default)


def test_a_reply_belongs_to_its_thread_and_says_what_was_written():
    mail = parsed(written("Dank u\r\nwel – é"))
    assert (mail["From"], mail["To"]) == ("jan@citizen.test", "doctor@care.test")
    assert mail["Subject"] == "Antw: Uitslag"
    assert mail["In-Reply-To"] == "<a@care.test>"
    assert mail["References"] == "<0@care.test> <a@care.test>"
    assert mail["Message-ID"] == "<b@care.test>"
    assert mail.get_content() == "Dank u\r\nwel – é\r\n"


def test_files_keep_their_bytes_and_get_safe_names():
    data = bytes(range(256))
    uploads = (
        Upload("../../f\u202eöto.png", data),
        Upload("", b""),
        Upload("mail.eml", b"Subject: x\r\n\r\n"),
    )
    files = list(parsed(written(uploads=uploads)).iter_attachments())
    assert [file.get_filename() for file in files] == ["föto.png", "bijlage", "mail.eml"]
    assert files[0].get_content_type() == "image/png"
    assert files[2].get_content_type() == "application/octet-stream"
    assert [file.get_payload(decode=True) for file in files] == [data, b"", b"Subject: x\r\n\r\n"]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Uitslag", "Antw: Uitslag"),
        ("Re: Uitslag", "Re: Uitslag"),
        ("antw: Uitslag", "antw: Uitslag"),
        ("", "Antw:"),
        ("x" * 1000, "Antw: " + "x" * 250),
    ],
)
def test_one_prefix_is_enough(subject, expected):
    content = content_of(f"Subject: {subject}\r\n\r\n".encode(), "bijlage")
    assert subject_of(content, "Antw: ") == expected


def test_only_an_address_that_needs_it_takes_utf8_to_the_wire():
    assert written("é", [Upload("é.txt", "é".encode())], subject="Antw: é").isascii()
    mail = written(author="jân@citizen.test")
    assert "From: jân@citizen.test\r\n".encode() in mail


@given(st.text(max_size=200), st.text(max_size=60), st.text(max_size=60))
def test_nothing_that_is_written_becomes_a_header_field(text, name, subject):
    content = content_of(
        f"Subject: {subject}\r\nFrom: doctor@care.test\r\n\r\n".encode("utf-8", "replace"), "x"
    )
    mail = parsed(written(text, [Upload(name, b"")], content, subject=subject_of(content, "Antw: ")))
    assert {field.lower() for field in mail.keys()} == {  # noqa: SIM118
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "content-type",
    }
