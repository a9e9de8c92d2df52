import re
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.portal.render.names import NAME_BYTES, attachment, distinct, file_name, lines, one_line


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("uitslag.pdf", "uitslag.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\cmd.exe", "cmd.exe"),
        ("/", "file"),
        ("..", "file"),
        (".bashrc", "bashrc"),
        ("a\r\nSet-Cookie: x.txt", "a Set-Cookie_ x.txt"),
        ("uitslag\u202efdp.exe", "uitslagfdp.exe"),
        ("nul\x00l.txt", "null.txt"),
        ("CON.txt", "CON_.txt"),
        ("com1", "com1_"),
        ("contract.txt", "contract.txt"),
        ('a"b<c>d|e?f*g.txt', "a_b_c_d_e_f_g.txt"),
        ("naam. ", "naam"),
        ("été – ½.pdf", "été – ½.pdf"),
        (None, "file"),
        ("", "file"),
    ],
)
def test_a_strangers_name_becomes_a_name_and_nothing_else(given, expected):
    assert file_name(given, "file") == expected


@given(st.text())
def test_no_name_leaves_its_folder_or_its_line(name):
    safe = file_name(name, "file")
    assert safe
    assert not re.search(r'[/\\\x00-\x1f\x7f<>:"|?*\u202a-\u202e\u2066-\u2069]', safe)
    assert not safe.startswith(".")
    assert not safe.endswith((".", " "))
    assert len(safe.encode()) <= NAME_BYTES + 1


def test_a_long_name_keeps_its_extension_and_whole_characters():
    safe = file_name("é" * 500 + ".pdf", "file")
    assert safe.endswith("é.pdf")
    assert len(safe.encode()) <= NAME_BYTES


def test_names_that_stand_twice_are_told_apart_without_regard_to_case():
    assert distinct(["a.pdf", "A.pdf", "a.pdf", "b", "b", "a (2).pdf"]) == [
        "a.pdf",
        "A (2).pdf",
        "a (3).pdf",
        "b",
        "b (2)",
        "a (2) (2).pdf",
    ]


@given(st.lists(st.sampled_from(["a", "A", "a (2)", "a (3)", ".x", "b.c"])))
def test_no_two_names_of_a_message_are_equal(names):
    folded = [name.casefold() for name in distinct(names)]
    assert len(set(folded)) == len(names)


def parsed(field: str) -> tuple[str, str, str]:
    """Disposition, name by the extended parameter and name by the plain one, as another reader sees them."""
    message = Message()
    message["Content-Disposition"] = re.sub(r'filename="[^"]*"; ', "", field)
    plain = re.search(r'filename="([^"]*)"', field)
    return message.get_content_disposition(), message.get_filename(), plain[1]


def test_a_download_has_its_name_in_utf8_and_in_ascii():
    field = attachment("été 50% ½.pdf")
    assert (
        field
        == "attachment; filename=\"ete 50_ 12.pdf\"; filename*=UTF-8''%C3%A9t%C3%A9%2050%25%20%C2%BD.pdf"
    )
    assert parsed(field)[:2] == ("attachment", "été 50% ½.pdf")


@given(st.text(min_size=1))
def test_no_name_breaks_out_of_its_header_field(name):
    safe = file_name(name, "file")
    field = attachment(safe)
    assert field.isascii()
    assert field.isprintable()
    disposition, extended, plain = parsed(field)
    assert (disposition, extended) == ("attachment", safe)
    assert not re.search(r'["\\%]', plain)


def test_texts_keep_what_can_be_seen():
    assert one_line(" Uitslag\r\n\tvan\u00a0uw \u202eonderzoek\u0007 ") == "Uitslag van uw onderzoek"
    assert lines("a\r\nb\rc\n\td\x00\u2066e") == "a\nb\nc\n\tde"
