"""Messages: whatever comes in, it is taken apart within bounds or refused by an error of ours."""

import base64
import io
import zipfile

from hypothesis import given
from hypothesis import strategies as st

from nta_milter.config.model import PolicySettings
from nta_milter.errors import MessageError
from nta_milter.message.address import address_list, addresses, envelope_address
from nta_milter.message.charset import decode_text, decode_words
from nta_milter.message.extract.content import Limits
from nta_milter.message.headers import split
from nta_milter.message.mime import attachment_size, parse
from nta_milter.message.model import Message, Recipient
from nta_milter.message.parameters import structured
from nta_milter.message.text import texts
from nta_milter.policy.sensitivity import Sensitivity, SensitivityRules, judge, without_tags
from tests.fuzz.mutation import many, mutated

LIMITS = Limits(
    text=20_000, unpacked=200_000, members=50, levels=3, seconds=5.0, part_limit=50, depth_limit=10
)


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return buffer.getvalue()


DOCX = zipped(
    word__document_xml="<w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'>"
    "<w:body><w:p><w:r><w:t>BSN 123456782</w:t></w:r></w:p></w:body></w:document>"
)
XLSX = zipped(xl__sharedStrings_xml="<sst><si><t>diagnose</t></si></sst>", xl__worksheets__a_xml="<a/>")
ODT = zipped(content_xml="<office:text><text:p>behandelplan</text:p></office:text>")
RTF = rb"{\rtf1\ansi Geachte collega\par {\*\x \'e9} \u233? BSN 123456782}"
TNEF = b"\x78\x9f\x3e\x22\x01\x00\x01\x90\x08\x00\x04\x00\x00\x00\x00\x00\x01\x00\x01\x00" + b"\x02" * 80
HTML = b"<html><head><style>x{}</style></head><body><p>BSN &#49;23456782<br>&eacute;<!-- x --></body>"


def mail(kind: str, content: bytes, name: str = "") -> bytes:
    disposition = f'Content-Disposition: attachment; filename="{name}"\r\n' if name else ""
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return b"".join(
        (
            b"From: =?utf-8?Q?Dokter_de_W=C3=AFt?= <doctor@care.test>\r\n",
            b'To: "a, b" <nurse@hospital.test>, list:x@y.test,z@[192.0.2.1];\r\n',
            b"Subject: =?iso-8859-1?B?R2VoZWlt?=\r\n =?utf-8?q?_x?=\r\nMIME-Version: 1.0\r\n",
            b'Content-Type: multipart/mixed; boundary*0=ab; boundary*1="cd"\r\n\r\npreamble\r\n--abcd\r\n',
            b'Content-Type: text/plain; charset="utf-8"\r\n',
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
            b"Het BSN is 1234=\r\n56782 =C3=A9\r\n--abcd\r\n",
            f"Content-Type: {kind}; name*=utf-8''n%C3%A9.x\r\n{disposition}".encode(),
            b"Content-Transfer-Encoding: base64\r\n\r\n",
            encoded,
            b"\r\n--abcd\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nbody\r\n--abcd--\r\n",
        )
    )


SEEDS = (
    mail("application/octet-stream", DOCX, "brief.docx"),
    mail("application/vnd.ms-excel", XLSX, "lijst.xlsx"),
    mail("application/vnd.oasis.opendocument.text", ODT, "plan.odt"),
    mail("application/zip", zipped(a_docx="x" * 3000, b_txt="diagnose"), "alles.zip"),
    mail("application/rtf", RTF, "brief.rtf"),
    mail("application/ms-tnef", TNEF, "winmail.dat"),
    mail("text/html", HTML),
    mail("message/rfc822", mail("text/plain", b"binnen")),
)
RULES = SensitivityRules.compile(PolicySettings(mode="content", words=("diagnose", "behandelplan")))


def judged(data: bytes) -> None:
    """Everything that the outbound side does with the bytes of a message before it is sent on."""
    headers, start = split(data)
    assert 0 <= start <= len(data)
    body = data[start:]
    for name in ("From", "To", "Cc"):
        assert all(isinstance(address, str) for address in addresses(headers, name))
    without_tags(headers, RULES)
    try:
        part = parse(headers, body, part_limit=LIMITS.part_limit, depth_limit=LIMITS.depth_limit)
    except MessageError:
        return
    assert 0 <= attachment_size(part, body) <= len(body)
    for extract in texts(part, body, LIMITS):
        assert (extract.text is None) == (extract.unreadable is not None)
    message = Message("doctor@care.test", (), (Recipient("nurse@hospital.test"),), headers, body)
    judgement = judge(message, part, RULES, to_outside=True, every=True)
    assert isinstance(judgement, Sensitivity)
    assert judgement.value == bool(judgement.reasons)


def test_the_seeds_are_sensitive_as_they_are():
    for seed in SEEDS:
        headers, start = split(seed)
        part = parse(headers, seed[start:], part_limit=50, depth_limit=10)
        message = Message("a@care.test", (), (), headers, seed[start:])
        assert judge(message, part, RULES, to_outside=True).value


@many
@given(mutated(SEEDS))
def test_a_damaged_message_is_judged_or_refused(data):
    judged(data)


@given(st.binary(max_size=2000))
def test_any_bytes_are_judged_or_refused(data):
    judged(data)


@many
@given(mutated([DOCX, XLSX, ODT, RTF, TNEF, HTML]), st.sampled_from(["a.docx", "a.rtf", "winmail.dat", "a"]))
def test_a_damaged_attachment_is_read_or_said_to_be_unreadable(content, name):
    judged(mail("application/octet-stream", content, name))


@many
@given(mutated([b"text/plain; charset=\"utf-8\"; name*0*=utf-8''%41; name*1=b; x=(c\\)\\\\)y"]))
def test_any_parameters_have_a_reading(raw):
    found = structured(raw)
    assert isinstance(found.value, str)
    assert all(isinstance(value, str) for value in found.parameters.values())


@many
@given(mutated([b'"Dokter, d" <doctor@care.test> (x), g: a@b.test, <@r:c@d.test>;, \xc3\xa9@care.test']))
def test_any_address_list_has_a_reading(raw):
    assert all(isinstance(str(mailbox), str) for mailbox in address_list([raw]).mailboxes)
    assert isinstance(envelope_address(raw), str)


@many
@given(mutated([b"=?utf-8?B?w6k=?= =?iso-8859-15*nl?q?=A4_x?= =?x-unknown?Q?=00?="]))
def test_any_encoded_words_are_text(raw):
    assert isinstance(decode_words(raw), str)


@given(
    st.binary(max_size=500), st.one_of(st.text(max_size=12), st.sampled_from(["utf-7", "idna", "hex", "zip"]))
)
def test_any_charset_gives_text(data, charset):
    assert isinstance(decode_text(data, charset), str)
