import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.headers import Headers
from nta_milter.message.model import Entity
from nta_milter.smime import algorithm, tlv
from nta_milter.smime.encrypt import encrypt
from nta_milter.smime.open import classify
from nta_milter.smime.sign import sign
from tests.unit.smime import forge
from tests.unit.smime.messages import content, mail, parse
from tests.unit.smime.persons import NOW, person, recipient

SEALED = encrypt(content(mail()), [recipient("p256")], cipher="aes-256-gcm")
CBC = encrypt(content(mail()), [recipient("rsa")], cipher="aes-256-cbc")
SIGNED = sign(content(mail()), person("p256"), at=NOW)
OPAQUE = sign(content(mail()), person("p256"), at=NOW, opaque=True)
SIGNED_TEXT = sign(parse(b"Content-Type: text/plain\r\n\r\nhoi\r\n"), person("p256"), at=NOW)
AROUND = sign(SEALED, person("p256"), at=NOW)
STREAMED = forge.message(forge.envelope(forge.CONTENT, mode="cbc", name="aes-256-cbc", pieces=16))

PGP = (
    b"-----BEGIN PGP MESSAGE-----\r\nVersion: x\r\n\r\n"
    b"hQEMAwAAAAAAAAAAAQf/abcdabcdabcdabcd\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n"
)
PGP_LITERAL = PGP.replace(b"hQEMAw", b"ywtiAA")


def pgp_mime(armor, more=b"", *, version=b"Version: 1", label=b"application/pgp-encrypted"):
    """A message as RFC 3156 has it."""
    return parse(
        b"Content-Type: multipart/encrypted; boundary=x\r\n\r\nThis is OpenPGP/MIME.\r\n"
        b"--x\r\nContent-Type: " + label + b"\r\n\r\n" + version + b"\r\n"
        b"--x\r\nContent-Type: application/octet-stream\r\n\r\n" + armor + more + b"--x--\r\n"
    )


@pytest.mark.parametrize(
    ("entity", "kind"),
    [
        (SEALED, "enveloped"),
        (CBC, "enveloped"),
        (STREAMED, "enveloped"),
        (SIGNED, "signed"),
        (SIGNED_TEXT, "signed"),
        (OPAQUE, "signed"),
        (AROUND, "enveloped"),
        (forge.message(forge.signed_data([])), "certs-only"),
        (mail(), None),
        (pgp_mime(PGP), "openpgp"),
        (pgp_mime(PGP_LITERAL), None),
        (pgp_mime(b"plain"), None),
        (pgp_mime(PGP, b"--x\r\n\r\nBSN\r\n"), None),
        (pgp_mime(PGP + b"BSN\r\n"), None),
        (pgp_mime(PGP, version=b"BSN " * 300), None),
        (pgp_mime(PGP, label=b"text/plain"), None),
        (parse(b"Content-Type: multipart/encrypted\r\n\r\n--x\r\n\r\n" + PGP), None),
        (parse(b"Content-Type: text/plain\r\n\r\n" + PGP + b"> BSN\r\n"), None),
        (parse(b"Content-Type: text/plain\r\n\r\n" + PGP.replace(b"Version", b"X-Secret")), None),
        (Entity(SEALED.headers, bytes(SEALED.body) + b"QlNOIDEyMzQ1Njc4Mg==\r\n"), None),
        (parse(b"Content-Type: text/plain\r\n\r\n" + PGP), "openpgp"),
        (parse(b"Content-Type: text/plain\r\n\r\nhoi\r\n" + PGP), None),
        (parse(b"Content-Type: application/pkcs7-mime\r\n\r\nplain text"), None),
        (parse(b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\nMIAG"), None),
    ],
)
def test_the_content_decides(entity, kind):
    assert classify(entity.headers, entity.body) == kind
    assert classify(entity.headers, memoryview(bytes(entity.body))) == kind


def test_the_label_does_not_decide():
    mislabelled = SEALED.headers.without(("Content-Type",)).add("Content-Type", "application/pdf")
    assert classify(mislabelled, SEALED.body) == "enveloped"
    label_only = Entity(SEALED.headers, b"SGFsbG8sIGRpdCBpcyBlZW4gcGF0aWVudA==\r\n")
    assert classify(label_only.headers, label_only.body) is None


def test_ciphertext_is_read_to_its_end():
    big = Entity(content(mail()).headers, b"q" * 1_000_000)
    sealed = encrypt(big, [recipient("p256")], cipher="aes-256-gcm")
    assert classify(sealed.headers, bytes(sealed.body[:65_536])) is None
    assert classify(sealed.headers, sealed.body) == "enveloped"
    opaque = sign(big, person("p256"), at=NOW, opaque=True)
    assert classify(opaque.headers, opaque.body) == "signed"


@pytest.mark.parametrize(
    "value",
    [
        tlv.sequence(tlv.integer(0), b"Uitslag: goed"),
        tlv.sequence(tlv.integer(0)),
        tlv.integer(0),
        tlv.sequence(tlv.octet_string(b"x"), tlv.set_of([])),
    ],
)
def test_an_object_identifier_alone_is_no_ciphertext(value):
    entity = forge.message(forge.content_info(algorithm.ENVELOPED_DATA, value))
    assert classify(entity.headers, entity.body) is None


@given(st.binary(max_size=100))
def test_any_body_is_classified_or_not(body):
    headers = Headers().add("Content-Type", "application/pkcs7-mime")
    assert classify(headers, body) in (None, "certs-only", "signed", "enveloped", "compressed")
    assert classify(headers.add("Content-Transfer-Encoding", "binary"), b"\x30\x80" + body) is None
