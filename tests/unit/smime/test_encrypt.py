from dataclasses import replace

import pytest

from nta_milter.errors import CertificateError, UnsupportedCms
from nta_milter.message.model import Entity
from nta_milter.message.spool import Spool
from nta_milter.smime import encrypt as module
from nta_milter.smime import key_agreement, tlv
from nta_milter.smime.algorithm import algorithm_identifier, encode_algorithm
from nta_milter.smime.encrypt import agreed_cipher, encrypt, envelope
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.limits import Work
from nta_milter.smime.open import open_message
from tests.unit.smime.messages import around, content, mail
from tests.unit.smime.persons import ENCRYPTING, NOW, person, recipient, ring

MAIL = mail()
CONTENT = content(MAIL)


def opened(sealed, keys):
    message = around(MAIL, sealed)
    return open_message(message.headers, message.body, keys, None, at=NOW)


@pytest.mark.parametrize("identify_by", ["issuer", "key"])
@pytest.mark.parametrize(
    "cipher", ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "aes-128-gcm", "aes-256-gcm"]
)
@pytest.mark.parametrize("kind", ENCRYPTING)
def test_every_key_opens_every_cipher(kind, cipher, identify_by):
    sealed = encrypt(CONTENT, [recipient(kind)], cipher=cipher, identify_by=identify_by)
    found = opened(sealed, ring(kind))
    assert found.opened
    assert bytes(found.entity) == bytes(CONTENT)
    layer = found.report()["layers"][0]
    assert layer["cipher"] == cipher
    assert layer["authenticated"] is cipher.endswith("gcm")
    assert layer["recipient"] == f"{kind}@care.test"
    assert layer["flags"] == ([] if layer["authenticated"] else ["no-inner-signature"])


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 57, 65_549, 65_550, 65_551, 131_100, 300_000])
@pytest.mark.parametrize("cipher", ["aes-256-cbc", "aes-128-gcm"])
def test_every_size_comes_back(size, cipher):
    entity = Entity(CONTENT.headers, memoryview(b"q" * size))
    sealed = encrypt(entity, [recipient("p256")], cipher=cipher)
    assert max(map(len, bytes(sealed.body).split(b"\r\n"))) <= 76
    assert bytes(sealed.body).endswith(b"\r\n")
    assert bytes(opened(sealed, ring("p256")).entity) == bytes(entity)


@pytest.mark.parametrize("size", [0, 1_000, 400_000])
def test_a_spool_gets_the_same(size, tmp_path):
    entity = Entity(CONTENT.headers, b"q" * size)
    spool = Spool(10_000, tmp_path)
    sealed = encrypt(entity, [recipient("p256")], cipher="aes-256-gcm", spool=spool)
    assert sealed.body is spool.close_for_reading()
    assert isinstance(sealed.body, memoryview) is (size > 10_000)
    assert bytes(opened(sealed, ring("p256")).entity) == bytes(entity)
    spool.discard()


def test_every_recipient_opens_it_with_their_own_key():
    people = [recipient(kind, "oaep" if kind == "rsa" else "v15") for kind in ENCRYPTING]
    sealed = encrypt(CONTENT, people, cipher="aes-256-gcm")
    names = {opened(sealed, ring(kind)).layers[0].key_encryption for kind in ENCRYPTING}
    assert names == {
        "rsaes-oaep",
        "ecdh-std-sha256kdf",
        "ecdh-std-sha384kdf",
        "ecdh-std-sha512kdf",
        "ecdh-std-hkdf-sha256",
    }


def test_a_bound_key_opens_only_with_its_own_algorithm():
    sealed = encrypt(CONTENT, [recipient("p256")], cipher="aes-128-gcm", bind_key=True)
    found = opened(sealed, ring("p256"))
    assert bytes(found.entity) == bytes(CONTENT)
    assert found.layers[0].flags == ("bound-key",)


def test_the_headers_say_what_it_is():
    sealed = encrypt(CONTENT, [recipient("rsa")], cipher="aes-128-gcm")
    assert b"smime-type=authEnveloped-data" in sealed.headers.first("Content-Type")
    assert sealed.headers.first("Content-Transfer-Encoding") == b"base64"
    sealed = encrypt(CONTENT, [recipient("rsa")], cipher="aes-128-cbc")
    assert b"smime-type=enveloped-data" in sealed.headers.first("Content-Type")


@pytest.mark.parametrize(
    ("known", "agreed"),
    [
        ([None], "aes-256-cbc"),
        (["aes-256-gcm"], "aes-256-gcm"),
        (["aes-256-gcm", None], "aes-256-cbc"),
        (["aes-256-gcm", "aes-128-gcm"], "aes-128-gcm"),
        (["aes-128-cbc", "aes-256-gcm"], "aes-128-cbc"),
    ],
)
def test_the_cipher_is_the_best_that_everybody_reads(known, agreed):
    people = [replace(recipient("p256"), cipher=name) for name in known]
    assert agreed_cipher(people, "aes-256-cbc") == agreed


def test_nobody_and_no_cipher_are_errors():
    with pytest.raises(UnsupportedCms, match="nobody"):
        encrypt(CONTENT, [], cipher="aes-256-gcm")
    with pytest.raises(UnsupportedCms, match="'3des-cbc'"):
        encrypt(CONTENT, [recipient("rsa")], cipher="3des-cbc")


def test_a_signing_key_is_not_encrypted_to():
    with pytest.raises(CertificateError, match="cannot encrypt"):
        encrypt(CONTENT, [recipient("ed25519")], cipher="aes-256-gcm")


def test_no_key_of_ours_is_said_to_the_administrator():
    sealed = encrypt(CONTENT, [recipient("rsa"), recipient("p384")], cipher="aes-256-gcm")
    found = opened(sealed, ring("p256"))
    assert not found.opened
    assert found.entity is None
    assert found.report()["error"] == {
        "class": "OpenFailed",
        "detail": "aes-256-gcm: no key of ours is among 2 recipients",
    }


def test_a_key_that_does_not_fit_looks_like_content_that_is_not_intact():
    sealed = encrypt(CONTENT, [recipient("rsa")], cipher="aes-256-cbc")
    wrong = KeyRing((_with_key_of("rsa", "other-rsa"),))
    found = opened(sealed, wrong)
    assert str(found.error) == "aes-256-cbc: what it opens to is not intact"


def _with_key_of(owner, other):
    return replace(person(owner), key=person(other).key)


def test_the_key_derivation_is_that_of_rfc_5753_with_and_without_keying_material():
    wrap = encode_algorithm(tlv.identifier("2.16.840.1.101.3.4.1.5"))
    encoded = encode_algorithm(tlv.identifier("1.3.132.1.11.1"), wrap)
    how = key_agreement.scheme(algorithm_identifier(tlv.parse(encoded, Work()), "test"))
    plain = key_agreement.derive(how, b"s" * 32, None)
    assert len(plain) == 16
    assert key_agreement.derive(how, b"s" * 32, b"ukm") != plain


def test_the_identifier_by_key_needs_one():
    bare = replace(person("rsa").certificate, subject_key_identifier=None)
    with pytest.raises(CertificateError, match="no subject key identifier"):
        module.identifier(bare, "key", tlv.context(0))


@pytest.mark.parametrize("said", [99, 101])
def test_content_of_another_length_than_said_is_never_finished(said):
    _, body = envelope((b"x" * 100,), said, [recipient("rsa")], cipher="aes-256-cbc")
    with pytest.raises(RuntimeError, match="not as long as was said"):
        body.joined()
