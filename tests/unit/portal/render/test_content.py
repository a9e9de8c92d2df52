import base64
import binascii
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.portal.render.content import TEXT_LIMIT, Content, content_of, shown


def taken(message: bytes) -> Content:
    return content_of(message, "bijlage")


def files(message: bytes) -> dict[str, bytes]:
    """Name and content of each attachment, read as a download reads it: piece by piece where it lies."""
    return {
        file.name: b"".join(file.place.decoded(cut(message[file.place.start : file.place.stop], 1000)))
        for file in taken(message).attachments
    }


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def texts(message: bytes) -> list[list[str]]:
    return [
        [shown(body, [message[body.place.start : body.place.stop]])[0].strip() for body in forms]
        for forms in taken(message).bodies
    ]


def mail(**fields: str) -> EmailMessage:
    made = EmailMessage(SMTP)
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    return made


def part(kind: str, body: str, *more: str) -> str:
    return "\r\n".join((f"Content-Type: {kind}", *more, "", body))


def multipart(kind: str, *parts: str, boundary: str = "b") -> str:
    inner = "".join(f"--{boundary}\r\n{each}\r\n" for each in parts)
    return part(f'multipart/{kind}; boundary="{boundary}"', f"{inner}--{boundary}--\r\n")


def test_who_when_and_about_what():
    made = mail(
        From='"Dr. A. de Vries" <doctor@care.test>',
        To="Jan <jan@citizen.test>, undisclosed@citizen.test",
        Cc="nurse@hospital.test",
        Subject="Uitslag – ½",
        Date="Tue, 24 Nov 2026 10:15:00 +0100",
        Message_ID="<a@care.test>",
        References="<1@care.test> <2@care.test>",
    )
    made.set_content("Beste Jan")
    content = taken(made.as_bytes())
    assert (content.sender_name, content.sender) == ("Dr. A. de Vries", "doctor@care.test")
    assert content.to == ("Jan <jan@citizen.test>", "undisclosed@citizen.test")
    assert content.cc == ("nurse@hospital.test",)
    assert content.subject == "Uitslag – ½"
    assert content.date == datetime(2026, 11, 24, 9, 15, tzinfo=UTC)
    assert content.message_id == "<a@care.test>"
    assert content.references == ("<1@care.test>", "<2@care.test>")
    assert content.size == len(made.as_bytes())
    assert texts(made.as_bytes()) == [["Beste Jan"]]


def test_an_alternative_has_both_forms_and_its_pictures():
    made = mail(From="doctor@care.test")
    made.set_content("plat")
    made.add_alternative("<p>rijk</p>", subtype="html")
    made.get_payload()[1].add_related(b"png", "image", "png", cid="<logo@care.test>")
    made.add_attachment(b"pdf", maintype="application", subtype="pdf", filename="a.pdf")
    message = made.as_bytes()
    content = taken(message)
    assert texts(message) == [["plat", "<p>rijk</p>"]]
    assert content.has_html
    assert [(picture.identity, picture.kind) for picture in content.pictures] == [
        ("logo@care.test", "image/png")
    ]
    assert files(message) == {"a.pdf": b"pdf"}


def test_every_readable_part_is_shown_in_order():
    message = multipart(
        "mixed",
        part("text/plain", "een"),
        part("text/html", "<p>twee</p>"),
        part("text/plain", "bijlage", "Content-Disposition: attachment; filename=notities.txt"),
        part("text/plain", "drie"),
    ).encode()
    assert texts(message) == [["een"], ["<p>twee</p>"], ["drie"]]
    assert list(files(message)) == ["notities.txt"]


def test_an_attached_message_is_a_file_named_by_its_subject():
    inner = "Subject: ../Oude /uitslag\r\nFrom: a@care.test\r\n\r\nbinnen"
    message = multipart("mixed", part("text/plain", "zie bijlage"), part("message/rfc822", inner)).encode()
    assert texts(message) == [["zie bijlage"]]
    assert files(message) == {"-Oude -uitslag.eml": inner.encode()}


def test_what_is_no_text_is_a_file():
    message = multipart(
        "mixed",
        part("application/pdf", "%PDF"),
        part("image/png", "png", "Content-Disposition: inline"),
        part("text/calendar", "BEGIN:VCALENDAR"),
        part("application/pkcs7-signature; name=smime.p7s", "sig"),
        part("application/pkcs7-mime; name=smime.p7m", "cms"),
    ).encode()
    assert sorted(files(message)) == ["bijlage", "bijlage (2)", "invite.ics", "smime.p7m"]
    assert texts(message) == []


@pytest.mark.parametrize(
    "encoding", ["7bit", "8bit", "binary", "base64", "quoted-printable", "BASE64 ", "x-uuencode"]
)
def test_sizes_are_those_of_what_is_downloaded(encoding):
    data = bytes(range(256)) * 40
    coded = {
        "base64": base64.encodebytes(data),
        "quoted-printable": binascii.b2a_qp(data, istext=False),
    }.get(encoding.strip().lower(), b"a\r\n" * 99)
    head = f'Content-Type: application/x-a; name="a.bin"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    message = head.encode() + coded
    (file,) = taken(message).attachments
    content = files(message)["a.bin"]
    assert file.place.size == len(content)
    if coded != b"a\r\n" * 99:
        assert content == data


def test_joined_base64_is_decoded_like_everywhere_else():
    message = b"Content-Type: application/x-a\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\nQUJD\r\n"
    (file,) = taken(message).attachments
    assert file.place.whole
    assert files(message) == {"bijlage": b"AABC"}


@given(st.binary(max_size=600), st.integers(1, 50))
def test_any_base64_has_the_size_that_is_announced(raw, size):
    message = b"Content-Type: application/x-a\r\nContent-Transfer-Encoding: base64\r\n\r\n" + raw
    (file,) = taken(message).attachments
    pieces = cut(message[file.place.start : file.place.stop], size)
    assert sum(len(piece) for piece in file.place.decoded(pieces)) == file.place.size


def test_a_long_text_is_cut_and_says_so():
    message = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "é".encode() * TEXT_LIMIT
    (body,) = taken(message).bodies[0]
    text, was_cut = shown(body, [message[body.place.start :]])
    assert was_cut
    assert len(text.encode()) <= TEXT_LIMIT


@pytest.mark.parametrize(
    "message",
    [
        b"".join(b"X: " + b"x" * 900 + b"\r\n" for _ in range(1300)) + b"\r\nbody",
        (
            "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(60))
            + "x"
        ).encode(),
        (
            'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + "--b\r\n\r\nx\r\n" * 1200 + "--b--\r\n"
        ).encode(),
    ],
    ids=["header fields", "depth", "parts"],
)
def test_what_cannot_be_taken_apart_can_still_be_saved(message):
    content = taken(message)
    assert not content.readable
    assert content.size == len(message)
    assert (content.bodies, content.attachments) == ((), ())


@pytest.mark.parametrize(
    "date", ["", "gisteren", "Tue, 99 Nov 2026 10:15:00 +0100", "Fri, 31 Dec 9999 23:59:59 -2300", "x" * 9999]
)
def test_a_date_that_is_none_is_left_out(date):
    assert taken(f"Date: {date}\r\n\r\n".encode()).date is None


def test_names_that_pretend_are_shown_as_they_are():
    message = b"From: =?utf-8?q?Bank=E2=80=AE?= <evil@care.test>\r\nSubject: a\r\n b\x07c\r\n\r\n"
    content = taken(message)
    assert content.sender_name == "Bank"
    assert content.subject == "a bc"
    several = taken(b"From: doctor@care.test, evil@care.test\r\n\r\n")
    assert several.sender == ""


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_message(message):
    content = taken(message)
    assert content.size == len(message)
    for file in content.attachments:
        assert 0 <= file.place.start <= file.place.stop <= len(message)


@given(
    st.lists(
        st.sampled_from(
            [
                "Content-Type: multipart/alternative; boundary=b\r\n",
                "Content-Type: multipart/related; boundary=b\r\n",
                "Content-Type: message/rfc822\r\n",
                "Content-Type: text/html; charset=utf-16\r\n",
                "Content-Type: text/plain; charset=x-none\r\n",
                "Content-ID: <a>\r\n",
                "Content-Transfer-Encoding: base64\r\n",
                'Content-Disposition: attachment; filename="=?utf-8?b?Li4vLi4v?="\r\n',
                "\r\n",
                "--b\r\n",
                "--b--\r\n",
                "=C3\r\n",
            ]
        ),
        max_size=30,
    )
)
def test_any_structure_is_taken_apart(lines):
    message = "".join(lines).encode()
    content = taken(message)
    for forms in content.bodies:
        assert len(forms) in (1, 2)
        for body in forms:
            assert isinstance(shown(body, [message[body.place.start : body.place.stop]])[0], str)
    for name, data in files(message).items():
        assert "/" not in name
        assert isinstance(data, bytes)
