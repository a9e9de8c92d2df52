import base64
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.config.model import PolicySettings
from nta_milter.errors import ConfigurationError
from nta_milter.message.headers import split
from nta_milter.message.mime import parse
from nta_milter.message.model import Message
from nta_milter.policy.sensitivity import (
    REASON_LIMIT,
    Sensitivity,
    SensitivityRules,
    judge,
    without_tags,
)
from tests.unit.message import samples
from tests.unit.message.samples import BSN

CONTENT = PolicySettings(mode="content", words=("hiv",), patient_number=r"\bPAT-\d{7}\b")


def judged(
    data: bytes, settings: PolicySettings = CONTENT, *, to_outside: bool = True, every: bool = True
) -> Sensitivity:
    headers, start = split(data)
    body = data[start:]
    message = Message("doctor@care.test", (), (), headers, body)
    part = parse(headers, body, part_limit=1_000, depth_limit=50)
    rules = SensitivityRules.compile(settings)
    return judge(message, part, rules, to_outside=to_outside, every=every)


def codes(data: bytes, settings: PolicySettings = CONTENT, *, to_outside: bool = True) -> list[str]:
    found = judged(data, settings, to_outside=to_outside)
    assert found.value == bool(found.reasons)
    return [reason.code for reason in found.reasons]


HTML = (
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"<p>BSN:&nbsp;<span>1234</span><b>56782</b></p>"
)


@pytest.mark.parametrize(
    ("data", "code", "where"),
    [
        (samples.mail(text=f"Het BSN is {BSN}."), "content-bsn", "body"),
        (samples.mail(text="Het BSN is 1234.56.782."), "content-bsn", "body"),
        (samples.mail(subject=f"BSN {BSN}"), "content-bsn", "Subject"),
        (samples.mail(text="zie PAT-1234567"), "content-patient-number", "body"),
        (samples.mail(text="uitslag HIV"), "content-word", "body"),
        (HTML, "content-bsn", "body"),
        (b"X: y\r\n\r\n\x00BSN\x00" + BSN.encode(), "content-bsn", "body"),
        (samples.mail((f"BSN {BSN}.pdf", samples.pdf("x"))), "content-bsn", "name of attachment 1 (pdf)"),
        (samples.mail(("a.docx", samples.docx("BSN", BSN))), "content-bsn", "attachment 1 (docx)"),
        (samples.mail(("a.xlsx", samples.xlsx("BSN", BSN))), "content-bsn", "attachment 1 (xlsx)"),
        (samples.mail(("a.ods", samples.ods("BSN", BSN))), "content-bsn", "attachment 1 (ods)"),
        (samples.mail(("a.pdf", samples.pdf(f"BSN: {BSN}"))), "content-bsn", "attachment 1 (pdf)"),
        (
            samples.mail(("winmail.dat", samples.tnef([("a.docx", samples.docx("BSN", BSN))]))),
            "content-bsn",
            "attachment 1 (dat), item 1 (docx)",
        ),
        (
            samples.mail(("a.zip", samples.archive({"b.zip": samples.archive({"c.txt": f"BSN {BSN}"})}))),
            "content-bsn",
            "attachment 1 (zip), item 1 (zip), item 1 (txt)",
        ),
    ],
)
def test_content_is_found_wherever_it_stands(data: bytes, code: str, where: str) -> None:
    found = judged(data)
    assert [reason.code for reason in found.reasons] == [code]
    assert found.reasons[0].text.endswith(f" in {where}")


@pytest.mark.parametrize(
    "data",
    [
        samples.mail(),
        samples.mail(text="BSN 123456789"),
        samples.mail(text=f"telefoon {BSN}"),
        samples.mail(text=f"BSN{'.' * 300}{BSN}"),
        samples.mail(("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(1_000))),
        samples.mail(("a.docx", samples.docx("hallo"))),
        b"\r\n",
        b"",
        b"Subject: caf\xe9\r\n\r\n\xff\xfe\x00",
    ],
)
def test_what_is_not_sensitive(data: bytes) -> None:
    assert judged(data) == Sensitivity(False, ())


def test_a_header_of_60_kb_is_read() -> None:
    assert codes(b"Subject: " + b"x " * 30_000 + f"BSN {BSN}".encode() + b"\r\n\r\nx") == ["content-bsn"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("locked.zip", samples.encrypted_archive({"a.txt": "x"})),
        ("locked.pdf", samples.pdf("x", encrypted=True)),
        ("data.bin", bytes(99)),
        ("bomb.zip", samples.archive({"a.txt": bytes(5_000_000)})),
    ],
)
def test_an_attachment_that_cannot_be_read_counts_outside_only(name: str, data: bytes) -> None:
    mail = samples.mail((name, data))
    assert codes(mail) == ["content-unreadable"]
    assert codes(mail, to_outside=False) == []
    assert codes(mail, dataclasses.replace(CONTENT, unreadable="pass")) == []


@pytest.mark.parametrize("name", ["From", "Sender", "Reply-To", "To", "Cc"])
def test_a_number_in_a_name_counts_and_a_word_does_not(name: str) -> None:
    encoded = base64.b64encode(f"BSN {BSN}".encode())
    for value, patterned, found in (
        (f'"mw. J. (BSN {BSN})" <a@care.test>'.encode(), r"PAT\d{5}", ["content-bsn"]),
        (b"=?utf-8?B?" + encoded + b"?= <a@care.test>", r"PAT\d{5}", ["content-bsn"]),
        (b"PAT12345 <a@care.test>", r"PAT\d{5}", ["content-patient-number"]),
        (b"PAT-AB <a@care.test>", r"PAT-[A-Z]{2}", ["content-patient-number"]),
        (b"Poli leukemie <a@care.test>", r"PAT\d{5}", []),
        (f"<{BSN}.bsn@care.test>".encode(), r"PAT\d{5}", []),
    ):
        settings = dataclasses.replace(CONTENT, patient_number=patterned, words=("leukemie",))
        mail = b"%b: %b\r\nSubject: x\r\n\r\nhoi\r\n" % (name.encode(), value)
        assert codes(mail, settings) == found, value


def test_too_long_an_attachment_counts_as_unreadable() -> None:
    mail = samples.mail(("a.txt", b"x" * 101))
    assert codes(mail, dataclasses.replace(CONTENT, text_limit=100)) == ["content-unreadable"]


def test_modes() -> None:
    plain, marked = samples.mail(), samples.mail(subject="[veilig] x")
    sensitive = samples.mail(text=f"BSN {BSN}")
    always = PolicySettings(mode="always")
    only_marked = PolicySettings(mode="marked")
    assert codes(plain, always) == ["mode-always"]
    assert codes(marked, always) == ["mark-subject", "mode-always"]
    assert codes(sensitive, only_marked) == []
    assert codes(marked, only_marked) == ["mark-subject"]
    assert codes(samples.mail(text=f"BSN {BSN}"), dataclasses.replace(CONTENT, bsn=False)) == []


def test_the_first_reason_is_enough_unless_all_are_asked_for() -> None:
    mail = samples.mail(("a.bin", bytes(9)), subject="[veilig] x", text=f"hiv BSN {BSN} PAT-1234567")
    assert [reason.code for reason in judged(mail, every=False).reasons] == ["mark-subject"]
    assert codes(mail) == [
        "mark-subject",
        "content-bsn",
        "content-patient-number",
        "content-word",
        "content-unreadable",
    ]


def test_an_attached_message_keeps_its_marks() -> None:
    inner = b"References: <nta-secure.1@care.test>\r\nSubject: [veilig] x\r\n\r\nhello"
    mail = b"Content-Type: message/rfc822\r\n\r\n" + inner
    found = judged(mail)
    assert [reason.code for reason in found.reasons] == ["mark-subject", "mark-thread"]
    assert found.reasons[0].text == "an attached message is marked by a tag in Subject"


def test_ciphertext_is_neither_read_nor_unreadable() -> None:
    enveloped = bytes.fromhex("3080 06092a864886f70d010703 a080 3080 020100 0000 0000 0000".replace(" ", ""))
    fields = b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert codes(fields + base64.b64encode(enveloped)) == []


def test_reasons_are_bounded_and_quote_nothing() -> None:
    files = [(f"Jansen BSN {BSN} hiv {number}.txt", f"hiv BSN {BSN}".encode()) for number in range(40)]
    found = judged(samples.mail(*files))
    assert len(found.reasons) == REASON_LIMIT
    text = " ".join(reason.text for reason in found.reasons)
    assert BSN not in text
    assert "Jansen" not in text
    assert "hiv" not in text


def test_a_rule_gives_its_name() -> None:
    reason = Sensitivity.by_rule("all to the lab").reasons[0]
    assert (reason.code, reason.text) == ("rule-sensitive", "sensitive by the rule 'all to the lab'")


def test_tags_are_removed_by_the_same_settings() -> None:
    headers, _ = split(b"Subject: [veilig] x\r\n\r\n")
    assert bytes(without_tags(headers, SensitivityRules.compile(CONTENT))) == b"Subject: x\r\n"


def test_word_files(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_text("\ufeff# a comment\n\nleukemie # why\nacute  leukemie\n", "utf-8")
    settings = PolicySettings(mode="content", word_files=(file,))
    assert codes(samples.mail(text="Leukemie"), settings) == ["content-word"]
    assert codes(samples.mail(text="comment why"), settings) == []


def test_a_word_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    latin = tmp_path / "latin"
    latin.write_bytes(b"caf\xe9\n")
    for path, words in ((tmp_path / "missing", "cannot be read"), (latin, r"not UTF-8 \(byte 3\)")):
        with pytest.raises(ConfigurationError, match=words):
            SensitivityRules.compile(PolicySettings(mode="content", word_files=(path,)))


@given(st.binary(max_size=300))
def test_any_message_is_judged(data: bytes) -> None:
    assert judged(data).value in (True, False)


def test_openpgp_in_mime_is_neither_read_nor_unreadable() -> None:
    mail = (
        b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b\r\n\r\n--b\r\n'
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\n"
        b"Content-Type: application/octet-stream; name=encrypted.asc\r\n\r\n"
        b"-----BEGIN PGP MESSAGE-----\r\n\r\nhF4DAAAAAAAAAAASAQdA\r\n-----END PGP MESSAGE-----\r\n--b--\r\n"
    )
    assert codes(mail) == []
