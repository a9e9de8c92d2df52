"""S/MIME: no damage raises, opens another text under authentication, or leaves a signature good."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CmsError, KeyStoreError, NtaMilterError
from nta_milter.message.headers import split
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.limits import DEFAULT_LIMITS, Work
from nta_milter.smime.open import classify, open_message
from nta_milter.smime.tlv import content_info
from nta_milter.smime.trust import Trust
from tests.fuzz.mutation import many, mutated
from tests.laboratory.certificates import PASSWORD, Certificates, openssl

TEXT = b"Content-Type: text/plain\r\n\r\nDe uitslag is goed.\r\n"
ENCODED = b"Content-Transfer-Encoding: base64\r\n\r\n"
FROM = b"From: doctor@care.test\r\nMIME-Version: 1.0\r\n"


class World:
    """Keys of a recipient and a sender, and what openssl makes with them, DER and as mails."""

    def __init__(self, folder):
        certificates = Certificates(folder / "certificates")
        recipient = certificates.person("nurse@hospital.test", "Verpleegkundige")
        sender = certificates.person("doctor@care.test", "Dokter")
        self.p12 = certificates.pkcs12(recipient, folder / "nurse@hospital.test.p12").read_bytes()
        self.certificate = openssl("x509", "-in", recipient.certificate, "-outform", "DER")
        (folder / "keys").mkdir()
        self.file = folder / "keys" / "nurse.p12"
        self.file.write_bytes(self.p12)
        self.keys = KeyRing.load(folder / "keys", passwords=[PASSWORD.encode()])
        self.trust = Trust.load(certificates.authority.certificate)
        self.sign = ("cms", "-sign", "-binary", "-signer", sender.certificate, "-inkey", sender.key)
        self.opaque = openssl(*self.sign, "-nodetach", "-outform", "DER", stdin=TEXT)
        self.detached = FROM + openssl(*self.sign, "-outform", "SMIME", "-crlfeol", stdin=TEXT)
        self.enveloped, self.authenticated = (
            openssl(
                "cms", "-encrypt", "-binary", cipher, "-outform", "DER", recipient.certificate, stdin=TEXT
            )
            for cipher in ("-aes-256-cbc", "-aes-256-gcm")
        )

        self.now = datetime.now(UTC)

    def open(self, mail):
        headers, start = split(mail)
        return open_message(headers, mail[start:], self.keys, self.trust, at=self.now)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("smime"))


def mail(der, kind="enveloped-data"):
    head = f"Content-Type: application/pkcs7-mime; smime-type={kind}\r\n".encode() + ENCODED
    return FROM + head + base64.encodebytes(der).replace(b"\n", b"\r\n")


def content(opened):
    return None if opened.entity is None else bytes(opened.entity)


def test_undamaged_they_open_and_verify(world):
    for der in (world.enveloped, world.authenticated):
        opened = world.open(mail(der))
        assert opened.opened
        assert content(opened) == TEXT
    assert world.open(mail(world.opaque)).signature == "good"
    assert world.open(world.detached).signature == "good"


@many
@given(st.data())
def test_damaged_ciphertext_is_opened_or_not_and_never_raises(world, data):
    damaged = data.draw(mutated([world.enveloped]))
    opened = world.open(mail(damaged))
    assert opened.opened or opened.error is not None


@many
@given(st.data())
def test_damaged_authenticated_ciphertext_opens_to_the_very_text_or_not_at_all(world, data):
    damaged = data.draw(mutated([world.authenticated]))
    opened = world.open(mail(damaged))
    assert content(opened) in (None, TEXT)
    assert opened.opened == (content(opened) == TEXT)


@many
@given(st.data())
def test_a_signature_stays_good_over_the_very_text_only(world, data):
    damaged = data.draw(mutated([world.opaque]))
    opened = world.open(mail(damaged, "signed-data"))
    if opened.signature == "good":
        assert content(opened) == TEXT


@many
@given(st.data())
def test_a_detached_signature_stays_good_over_the_very_text_only(world, data):
    damaged = data.draw(mutated([world.detached]))
    opened = world.open(damaged)
    if opened.signature == "good":
        assert content(opened).strip() == TEXT.strip()


@many
@given(st.data())
def test_damaged_der_is_read_or_malformed(world, data):
    damaged = data.draw(mutated([world.enveloped, world.opaque, world.authenticated]))
    try:
        oid, element = content_info(damaged, Work(DEFAULT_LIMITS))
    except NtaMilterError as error:
        assert isinstance(error, CmsError)  # noqa: PT017
    else:
        assert oid
        assert element is not None


@many
@given(st.data())
def test_a_damaged_certificate_is_read_or_refused_by_an_error_of_ours(world, data):
    damaged = data.draw(mutated([world.certificate]))
    try:
        certificate = Certificate.from_der(damaged)
    except NtaMilterError:
        return
    assert isinstance(certificate.emails, tuple)
    assert isinstance(certificate.may_sign(), bool)


@given(st.data())
def test_a_damaged_key_file_is_loaded_or_named_in_the_error(world, data):
    world.file.write_bytes(data.draw(mutated([world.p12])))
    try:
        loaded = KeyRing.load(world.file, passwords=[PASSWORD.encode()])
    except KeyStoreError as error:
        assert world.file.name in str(error)  # noqa: PT017
    else:
        assert all(key.source == world.file.name for key in loaded.keys)


@many
@given(st.data())
def test_any_message_has_a_class_or_none(world, data):
    damaged = data.draw(mutated([mail(world.opaque), mail(world.enveloped), world.detached]))
    headers, start = split(damaged)
    assert classify(headers, damaged[start:]) is None or isinstance(classify(headers, damaged[start:]), str)
