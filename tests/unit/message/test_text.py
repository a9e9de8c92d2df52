import base64
import io
import random
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nta_milter.message.extract import archive as archives
from nta_milter.message.extract import pdf as pdfs
from nta_milter.message.extract.content import Content, Limits
from nta_milter.message.extract.kinds import Kind, kind_of
from nta_milter.message.extract.rtf import rtf_text
from nta_milter.message.extract.tnef import decompress
from nta_milter.message.text import Extract, texts
from tests.unit.message import samples
from tests.unit.message.samples import BSN

SMALL = Limits(text=1_000, unpacked=10_000, members=10, levels=2)


def extracts(data: bytes, limits: Limits | None = None) -> list[Extract]:
    part, body = samples.parsed(data)
    return list(texts(part, body, limits or Limits()))


def attached(name: str, data: bytes, limits: Limits | None = None) -> list[Extract]:
    """What an attachment gives, besides the body and its own name."""
    found = extracts(samples.mail((name, data)), limits)
    assert found[0].where == "name of " + found[0].where.removeprefix("name of ")
    return [item for item in found if item.where != "body" and item.text != name]


def all_text(found: list[Extract]) -> str:
    return " | ".join(item.text for item in found if item.text is not None)


def reasons(found: list[Extract]) -> list[str]:
    return [item.unreadable for item in found if item.unreadable is not None]


def raw(fields: str, body: bytes) -> bytes:
    return fields.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("fields", "body", "text"),
    [
        ("Subject: x", b"plain \x00 \xe9", "plain \x00 é"),
        ("Content-Type: text/plain; charset=utf-8", "é".encode(), "é"),
        ("Content-Type: text/plain; charset=nowhere", "é".encode(), "é"),
        ("Content-Type: text/plain; charset=utf-16-le", "é".encode("utf-16-le"), "é"),
        ("Content-Type: text/plain\nContent-Transfer-Encoding: base64", base64.b64encode(b"BSN"), "BSN"),
        ("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable", b"B=53=\r\nN", "BSN"),
        ("Content-Type: text/html", b"<p>B<b class=x>S</b>N&nbsp;1&#50;3</p><br>x", " BSN\xa0123  x"),
        ("Content-Type: text/html", b"a < b &lt; c <!-- hidden --> <unfinished", "a < b < c   <unfinished"),
        ("Content-Type: text/html", b"&#" + b"9" * 5_000 + b"; x", " ; x"),
        ("Content-Type: multipart/mixed", b"no boundary", "no boundary"),
        ("Content-Type: text/calendar", b"BEGIN:VCALENDAR", "BEGIN:VCALENDAR"),
    ],
)
def test_bodies(fields: str, body: bytes, text: str) -> None:
    found = extracts(raw(fields, body))
    assert [(item.where, item.text) for item in found if item.text is not None] == [("body", text)]


@pytest.mark.parametrize("body", [b"", b"\r", b"\n", b"\x00"])
def test_hardly_a_message(body: bytes) -> None:
    assert extracts(raw("Subject: x", body)) == [Extract("body", body.decode())]


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("note.txt", f"BSN {BSN}".encode(), f"BSN {BSN}"),
        ("note.txt", f"BSN {BSN}".encode("utf-16"), f"BSN {BSN}"),
        ("note.txt", f"BSN {BSN}".encode("utf-16-le"), f"BSN {BSN}"),
        ("list.csv", b"BSN;1\r\n", "BSN;1\r\n"),
        ("no-extension", b"just text", "just text"),
        ("data.xml", b"<bsn>1</bsn>", "<bsn>1</bsn>"),
        ("data.json", b'{"bsn": 1}', '{"bsn": 1}'),
        ("page.html", b"<html>x<b>y</b>", " xy"),
        ("no-extension", b"<!DOCTYPE html><p>x", "  x"),
        ("letter.docx", samples.docx("Het BSN is", BSN), f"Het BSN is {BSN}"),
        ("letter.bin", samples.docx(BSN), f"{BSN} "),
        ("sheet.xlsx", samples.xlsx("BSN", BSN), f"BSN A1 {BSN} in & line"),
        ("sheet.ods", samples.ods("BSN", BSN), f"BSN {BSN} 1,23E8"),
        ("letter.pdf", samples.pdf("Geachte", f"BSN: {BSN}"), f"Geachte BSN: {BSN}"),
        ("letter.rtf", rb"{\rtf1\ansi\ansicpg1252 B{\b S}N\par caf\'e9 \u8364?}", "BSN café €"),
        ("winmail.dat", samples.tnef(body=f"BSN {BSN}"), f"BSN {BSN}"),
        ("winmail.dat", samples.tnef(rtf=rb"{\rtf1 BSN}"), "BSN"),
    ],
)
def test_attachments_are_read(name: str, data: bytes, text: str) -> None:
    found = attached(name, data)
    assert " ".join(text.split()) in " ".join(all_text(found).split())
    assert reasons(found) == []


def test_presentations_and_text_documents_are_read() -> None:
    slide = "<p:sld><a:p><a:r><a:t>12345</a:t></a:r><a:r><a:t>6782</a:t></a:r></a:p><a:p>next</a:p></p:sld>"
    pptx = samples.archive({"[Content_Types].xml": "<Types/>", "ppt/slides/slide1.xml": slide})
    assert f"{BSN} " in all_text(attached("talk.pptx", pptx))
    content = '<text:p>1234<text:span text:style-name="T1">56782</text:span></text:p><text:p>next</text:p>'
    odt = samples.archive({"mimetype": "x", "META-INF/manifest.xml": "<x/>", "content.xml": content})
    assert f"{BSN} " in all_text(attached("letter.odt", odt))


def test_names_are_texts_and_never_part_of_a_place() -> None:
    inner = samples.archive({"de heer Jansen.docx": samples.docx("hallo")})
    data = samples.mail(("mevrouw de Boer.zip", inner))
    found = extracts(data)
    assert [item.text for item in found if item.where.startswith("name of")] == [
        "mevrouw de Boer.zip",
        "de heer Jansen.docx",
    ]
    places = {item.where for item in found}
    assert "attachment 1 (zip), item 1 (docx)" in places
    assert not any("Boer" in place or "Jansen" in place for place in places)


def test_descriptions_and_both_names_are_texts() -> None:
    data = raw(
        "Content-Type: application/pdf; name=one.pdf\nContent-Disposition: attachment; filename=two.pdf\n"
        "Content-Description: three\nContent-Transfer-Encoding: base64",
        base64.b64encode(samples.pdf("four")),
    )
    found = extracts(data)
    assert [item.text for item in found] == ["one.pdf", "two.pdf", "three", "four\n"]


def test_attached_messages_are_read_in_place_and_in_files() -> None:
    inner = samples.mail(("letter.docx", samples.docx(BSN)), subject="inner subject", text="inner text")
    direct = b"Content-Type: message/rfc822\r\n\r\n" + inner
    encoded = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(
        inner
    )
    for data in (direct, encoded, samples.mail(("forward.eml", inner))):
        text = all_text(extracts(data))
        assert "inner subject" in text
        assert "inner text" in text
        assert f"{BSN} " in text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(range(256))),
        ("photo.heic", b"\x00\x00\x00\x18ftypheic" + bytes(99)),
        ("sound.wav", b"RIFF\x00\x00\x00\x00WAVEfmt "),
        ("drawing.emf", b"\x01\x00\x00\x00" + bytes(99)),
    ],
)
def test_pictures_and_sound_have_no_text_and_are_no_fault(name: str, data: bytes) -> None:
    assert attached(name, data) == []


def test_a_picture_is_known_by_its_label_too_but_not_against_its_bytes() -> None:
    fields = "Content-Type: image/x-raw\nContent-Disposition: attachment; filename=x"
    assert all_text(extracts(raw(fields, b"\x00\x01"))) == "x"
    assert f"{BSN} " in all_text(extracts(raw(fields, samples.docx(BSN))))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("data.bin", bytes(range(256)), "of a type that is not known"),
        ("scan.dcm", bytes(128) + b"DICM" + bytes(99), "of a type that is not known"),
        (
            "old.doc",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            "a document in a binary format that is not read",
        ),
        (
            "locked.docx",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "an encrypted document",
        ),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "an archive of a kind that is not opened"),
        ("a.zip", samples.encrypted_archive({"a.txt": "x"}), "an encrypted archive"),
        ("a.zip", b"PK\x03\x04" + bytes(99), "a damaged or too large archive"),
        (
            "a.zip",
            samples.archive({"a.txt": b"x" * 99}, zipfile.ZIP_BZIP2),
            "is packed by a method that is not read",
        ),
        ("a.pdf", samples.pdf("x", encrypted=True), "an encrypted, protected or damaged PDF"),
        ("a.pdf", b"%PDF-1.4 nothing more", "an encrypted, protected or damaged PDF"),
        ("a.pdf", samples.pdf(), "a PDF without text, such as a scan"),
        ("a.rtf", rb"{\rtf1 {\object\objdata 00}}", "holds an embedded object"),
        ("winmail.dat", samples.tnef(body="x")[:-9], "a damaged winmail.dat"),
        ("smime.p7m", b"not CMS at all", "not the CMS structure that it says it is"),
    ],
)
def test_what_cannot_be_read_says_so(name: str, data: bytes, reason: str) -> None:
    assert reasons(attached(name, data)) == [reason]


def test_an_encrypted_open_document_says_so() -> None:
    manifest = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"
    data = samples.archive({"mimetype": "x", "content.xml": b"\x00\x99", "META-INF/manifest.xml": manifest})
    assert attached("letter.odt", data) == [Extract("attachment 1 (odt)", None, "an encrypted document")]


def test_what_is_embedded_in_a_document_is_looked_at() -> None:
    extra: dict[str, bytes | str] = {
        "word/media/image1.png": b"\x89PNG\r\n\x1a\n",
        "word/_rels/document.xml.rels": "<x/>",
        "word/vbaProject.bin": b"\x00",
        "word/embeddings/sheet.xlsx": samples.xlsx("BSN", BSN),
        "word/embeddings/oleObject1.bin": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    }
    found = attached("letter.docx", samples.docx("hallo", extra=extra))
    assert f" {BSN} " in all_text(found)
    assert reasons(found) == ["a document in a binary format that is not read"]


def test_a_member_that_is_not_encrypted_is_read_all_the_same() -> None:
    locked = samples.encrypted_archive({"locked.txt": "x"})
    found = attached("a.zip", samples.archive({"open.txt": "hello", "locked.zip": locked}))
    assert "hello" in all_text(found)
    assert reasons(found) == ["an encrypted archive"]


def test_tnef_gives_names_and_attachments_nested_ones_too() -> None:
    inner = samples.tnef([("inner letter.docx", samples.docx(BSN))], body="inner body")
    data = samples.tnef([("outer letter.docx", samples.docx("hallo"))], nested=inner)
    text = all_text(attached("winmail.dat", data))
    for expected in ("outer letter.docx", "hallo", "inner letter.docx", "inner body", f"{BSN} "):
        assert expected in text


def test_compressed_rtf() -> None:
    # the example of MS-OXRTFCP section 4.1.1
    packed = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    )
    assert decompress(packed) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"


def test_rtf_pairs_of_surrogates_become_one_character() -> None:
    assert rtf_text(rb"\u-10179?\u-8704? \u-10179?") == "😀 \N{REPLACEMENT CHARACTER}"


def test_a_transfer_encoding_that_is_not_known() -> None:
    found = extracts(raw("Content-Type: text/plain\nContent-Transfer-Encoding: x-uuencode", b"begin"))
    assert reasons(found) == ["has a transfer encoding that is not known"]


def test_ambiguous_structure_is_told() -> None:
    found = extracts(raw("Content-Type: text/plain\nContent-Type: text/html", b"x"))
    assert reasons(found) == ["several Content-Type fields"]


def test_a_long_attachment_is_read_up_to_the_limit_and_a_long_body_wholly() -> None:
    found = attached("long.txt", b"x" * 1_001, SMALL)
    assert [len(item.text) for item in found if item.text] == [1_000]
    assert reasons(found) == ["is longer than the text that is read"]
    assert len(extracts(raw("Subject: x", b"x" * 5_000), SMALL)[0].text or "") == 5_000


@pytest.mark.parametrize("kind", ["html", "rtf", "docx", "pdf"])
def test_other_long_attachments(kind: str) -> None:
    data = {
        "html": b"<html>" + b"x" * 1_001,
        "rtf": b"{\\rtf1 " + b"x" * 1_001,
        "docx": samples.docx("x" * 900),
        "pdf": samples.pdf(*["a line of text"] * 500),
    }[kind]
    assert reasons(attached(f"long.{kind}", data, Limits(text=500, unpacked=10_000))) in (
        ["is longer than the text that is read"],
        ["is longer than what is unpacked"],
        ["takes more time or holds more text than is read"],
    )


def test_a_zip_bomb_costs_little_memory() -> None:
    bomb = samples.archive({f"{number}.txt": bytes(50_000_000) for number in range(3)})
    tracemalloc.start()
    found = attached("bomb.zip", bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reasons(found) == ["is packed like a bomb"] * 3
    assert peak < 10_000_000


def test_a_bomb_below_the_ratio_meets_the_budget() -> None:
    noise = random.Random(1).randbytes(6_000)
    data = samples.archive({f"{number}.txt": noise for number in range(4)}, zipfile.ZIP_STORED)
    found = attached("many.zip", data, SMALL)
    assert "is longer than what is unpacked" in reasons(found)


def test_archives_of_too_many_members_and_levels() -> None:
    many = samples.archive({f"{number}.txt": "x" for number in range(11)})
    assert reasons(attached("many.zip", many, SMALL)) == ["an archive of too many members"]
    deep = samples.archive({"bottom.txt": "x"})
    for _ in range(3):
        deep = samples.archive({"a.zip": deep})
    assert reasons(attached("deep.zip", deep, SMALL)) == ["is nested deeper than 2 containers"]


def test_a_huge_directory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "DIRECTORY_LIMIT", 100)
    data = samples.archive({f"{number}.txt": "x" for number in range(10)})
    assert reasons(attached("a.zip", data)) == ["a damaged or too large archive"]


def test_messages_within_messages_are_bounded() -> None:
    data = samples.mail()
    for _ in range(4):
        data = samples.mail(("next.eml", data))
    assert set(reasons(extracts(data, SMALL))) == {"is nested deeper than 2 containers"}
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(99)
    )
    assert reasons(attached("deep.eml", deep)) == ["MIME nested deeper than 50"]


def test_the_time_for_helper_programs_is_bounded() -> None:
    found = attached("a.pdf", samples.pdf("x"), Limits(seconds=0))
    assert reasons(found) == ["the time for reading attachments is over"]


def test_without_pdftotext_a_pdf_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdfs, "PROGRAM", "/nowhere/pdftotext")
    assert reasons(attached("a.pdf", samples.pdf("x"))) == ["pdftotext (poppler-utils) is not installed"]


def test_a_helper_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "pdftotext"
    program.write_text("#!/bin/sh\nprintf partial\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(pdfs, "PROGRAM", str(program))
    found = attached("a.pdf", samples.pdf("x"), Limits(seconds=0.5))
    assert all_text(found) == "partial"
    assert reasons(found) == ["takes more time or holds more text than is read"]


def test_the_helper_process_is_confined() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        pdfs._confine(process.pid)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.kill()
    values = {line[:26].strip(): line[26:47].strip() for line in limits.splitlines()}
    assert values["Max cpu time"] == str(pdfs.CPU_SECONDS)
    assert values["Max address space"] == str(pdfs.MEMORY)
    assert values["Max file size"] == "0"
    assert values["Max core file size"] == "0"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem "
        "-subj /CN=care.test -days 30"
    )
    subprocess.run(
        command.split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


def openssl_cms(folder: Path, arguments: str, content: bytes) -> bytes:
    command = ["openssl", "cms", *arguments.split(), "-outform", "DER"]
    return subprocess.run(command, cwd=folder, input=content, check=True, capture_output=True).stdout


INNER = b"Content-Type: text/plain\r\n\r\nBSN 123456782 " + b"x" * 5_000 + b"\r\n"


@pytest.mark.parametrize("arguments", ["-sign", "-sign -stream -indef"])
def test_an_opaque_signed_message_is_read(certificate: Path, arguments: str) -> None:
    data = openssl_cms(certificate, f"{arguments} -binary -nodetach -signer cert.pem -inkey key.pem", INNER)
    for fields in ("enveloped-data", "signed-data"):  # whatever it says it is
        message = raw(f"Content-Type: application/pkcs7-mime; smime-type={fields}", data)
        assert f"BSN {BSN}" in all_text(extracts(message))


@pytest.mark.parametrize("arguments", ["-aes256", "-aes256 -stream", "-aes-256-gcm"])
def test_ciphertext_gives_nothing_and_is_no_fault(certificate: Path, arguments: str) -> None:
    data = openssl_cms(certificate, f"-encrypt {arguments} -binary -recip cert.pem", INNER)
    message = raw(
        "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\nContent-Transfer-Encoding: base64",
        base64.encodebytes(data),
    )
    assert extracts(message) == []


def test_a_detached_signature_is_no_text_and_no_fault(certificate: Path) -> None:
    data = openssl_cms(certificate, "-sign -binary -signer cert.pem -inkey key.pem", INNER)
    kind = "application/pkcs7-signature"
    assert reasons(extracts(samples.mail(("smime.p7s", data), kind=kind))) == []
    assert reasons(extracts(raw("Content-Type: application/pkcs7-mime", data))) == []


MAGIC = [
    b"PK\x03\x04",
    b"{\\rtf",
    b"\x78\x9f\x3e\x22\x01\x00",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"\x30\x80\x06\x09",
    b"<html>",
    b"",
]
NAMES = ["a.zip", "a.p7m", "a.eml", "a.html", "a.txt", "winmail.dat", "a"]


@given(st.sampled_from(NAMES), st.sampled_from(MAGIC), st.binary(max_size=300))
def test_hostile_bytes_never_raise(name: str, magic: bytes, data: bytes) -> None:
    for item in attached(name, magic + data, SMALL):
        assert (item.text is None) != (item.unreadable is None)


VALID = {
    "a.docx": samples.docx("hello world"),
    "a.zip": samples.archive({"a.txt": "x" * 50, "b.zip": samples.archive({"c": "d"})}),
    "a.xlsx": samples.xlsx("BSN", BSN),
    "winmail.dat": samples.tnef([("a.txt", b"x")], body="y", rtf=b"{\\rtf1 z}"),
    "a.eml": samples.mail(("b.txt", b"x")),
}


@settings(deadline=None)
@given(st.sampled_from(sorted(VALID)), st.data())
def test_damaged_files_never_raise(name: str, data: st.DataObject) -> None:
    file = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 30))
    if b"%PDF-" not in file:
        attached(name, bytes(file[: len(file) - cut]), SMALL)


def test_a_member_without_a_name_is_read_as_any_other() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("nameless", "BSN 123456782")
    nameless = packed.getvalue().replace(b"nameless", bytes(8))
    assert any(found.text and "123456782" in found.text for found in attached("a.zip", nameless, SMALL))


def test_kinds_by_bytes_type_name_and_look() -> None:
    def kind(head: bytes, content_type: str = "", name: str = "") -> Kind:
        return kind_of(Content("", name, content_type, head, lambda: head))

    assert kind(b"%PDF-1.7", "text/plain", "a.txt") is Kind.PDF
    assert kind(b"\x30\x82", "application/pkcs7-signature") is Kind.KEY
    assert kind(b"no DER", "application/pkcs7-signature") is Kind.TEXT
    assert kind(b"\x00", "message/partial") is Kind.UNKNOWN
    assert kind(b"\x00", "application/vnd.x+xml") is Kind.TEXT
    assert kind(b"", "application/octet-stream") is Kind.TEXT


REPEATED = {
    "a.html": ["<", "<a ", "<!--", "&#", "&", "</b ", "<b><", "&#9999999;"],
    "a.rtf": ["{", "\\'e9", "\\u-1", "\\"],
    "word/document.xml": ["<", "<w:p ", "<table:table-cell office:value= ", 'office:value=" ', "</w", "&#x"],
    "xl/worksheets/sheet1.xml": ['<c t="s"', ' t="s"', '<c t="s"><v>0</v></c>', "<c>   "],
}


@pytest.mark.parametrize("name", sorted(REPEATED))
def test_repetition_costs_no_more_than_its_length(name: str) -> None:
    # with anything quadratic this would not end within the time of the whole suite
    for piece in REPEATED[name]:
        text = piece * (1_000_000 // len(piece))
        if "/" in name:
            members = {
                "[Content_Types].xml": "",
                "xl/sharedStrings.xml": "<si>x</si>" * 9,
                name: f"<c {text}",
            }
            found = attached("a.docx", samples.archive(members, zipfile.ZIP_STORED))
        else:
            found = attached(name, f"{{\\rtf1 {text}".encode() if name == "a.rtf" else text.encode())
        assert reasons(found) == []
        assert found
