"""Messages and keys that others have published.

``rfc9216`` has the sample people of RFC 9216 with their PKCS#12 files and both authorities, and messages that
others made with these keys (draft-ireland-examples-cms). ``draft-`` are Bob's key and the authority as the
RFC's earlier drafts had them, for two mails of draft-ietf-lamps-header-protection.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nta_milter.errors import OpenFailed
from nta_milter.message.headers import Headers, split
from nta_milter.message.model import Entity
from nta_milter.smime import envelope, tlv
from nta_milter.smime.certificate import Certificate, RecipientCertificate
from nta_milter.smime.encrypt import encrypt
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.limits import Work
from nta_milter.smime.open import Opened, open_message
from nta_milter.smime.trust import Trust

DATA = Path(__file__).parent / "rfc9216"
AT = datetime(2026, 11, 24, tzinfo=UTC)


def der(name: str) -> bytes:
    return base64.b64decode(DATA.joinpath(name).read_text().split("-----")[2])


def mail(name: str) -> Entity:
    data = DATA.joinpath(name).read_bytes().replace(b"\n", b"\r\n")
    headers, start = split(data)
    return Entity(headers, data[start:])


def ring(folder: Path, name: str) -> KeyRing:
    """What a PKCS#12 file holds; its password is the person's first name (RFC 9216 section 2.6)."""
    file = folder / f"{name}.p12"
    file.write_bytes(der(f"{name}.p12.pem"))
    return KeyRing.load(file, passwords=[name.removeprefix("draft-").encode()])


def certificate(name: str) -> Certificate:
    return Certificate.from_pem(DATA.joinpath(f"{name}.pem").read_bytes())


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return ring(tmp_path_factory.mktemp("bob"), "draft-bob")


def opened(message: Entity, keys: KeyRing, *anchors: str) -> Opened:
    trust = Trust([certificate(name) for name in anchors or ("draft-authority",)])
    return open_message(message.headers, message.body, keys, trust, at=AT)


def test_a_signed_mail_of_the_lamps_drafts_is_good(bob: KeyRing) -> None:
    found = opened(mail("multipart-signed.eml"), bob)
    assert found.signature == "good"
    assert found.signatures[0].from_match == "person"
    assert found.entity is not None
    assert bytes(found.entity.body).startswith(b"Bob, we need to cancel this contract.")


def test_a_signed_and_encrypted_mail_of_the_lamps_drafts_opens_and_its_subject_comes_back(
    bob: KeyRing,
) -> None:
    message = mail("signed-and-encrypted.eml")
    assert message.headers.first("Subject") == b"..."
    found = opened(message, bob)
    assert found.signature == "good"
    assert found.layers[0].report()["flags"] == ["weak-cipher"]
    assert found.headers.first("Subject") == b"BarCorp contract signed, let's go!"
    assert found.entity is not None
    assert b"Password: correct-horse-battery-staple" in bytes(found.entity.body)
    assert not opened(message, KeyRing()).opened


ROOTS = ("rsa-authority", "ed25519-authority")


@pytest.mark.parametrize(
    ("name", "algorithms"),
    [
        ("alice", ["rsa", "rsa"]),
        ("bob", ["rsa", "rsa"]),
        ("carlos", ["ed25519", "x25519"]),
        ("dana", ["ed25519", "x25519"]),
    ],
)
def test_the_people_of_the_rfc_have_a_key_to_sign_and_one_to_decrypt(
    name: str, algorithms: list[str], tmp_path: Path
) -> None:
    keys = ring(tmp_path, name).keys
    assert sorted(key.certificate.algorithm for key in keys) == algorithms
    assert {key.certificate.may_sign() for key in keys} == {True, False}
    trust = Trust([certificate(root) for root in ROOTS])
    for key in keys:
        assert key.certificate.emails == (f"{name}@smime.example",)
        public = key.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert public == key.certificate.public_key_der
        purpose: Literal["sign", "encrypt"] = "sign" if key.certificate.may_sign() else "encrypt"
        assert trust.judge(key.certificate, [], AT, purpose=purpose).trusted
        if purpose == "encrypt":
            RecipientCertificate(key.certificate).usable_at(AT)


@pytest.mark.parametrize(("name", "root", "bridge"), [
    ("alice", "ed25519-authority", "rsa-authority-by-ed25519"),
    ("dana", "rsa-authority", "ed25519-authority-by-rsa"),
])  # fmt: skip
def test_a_certificate_between_the_authorities_leads_from_one_to_the_other(
    name: str, root: str, bridge: str, tmp_path: Path
) -> None:
    (signing,) = [key.certificate for key in ring(tmp_path, name).keys if key.certificate.may_sign()]
    trust = Trust([certificate(root)])
    assert not trust.judge(signing, [], AT).trusted
    verdict = trust.judge(signing, [certificate(bridge)], AT)
    assert verdict.chain == (signing, certificate(bridge), certificate(root))


@pytest.mark.parametrize(
    ("name", "signature", "sender", "root"),
    [
        ("signed-by-alice-pss.pem", "rsassa-pss", "alice@smime.example", "rsa-authority"),
        ("signed-by-carlos-ed25519.pem", "ed25519", "carlos@smime.example", "ed25519-authority"),
    ],
)
def test_signatures_by_the_people_of_the_rfc_are_good(
    name: str, signature: str, sender: str, root: str
) -> None:
    headers = Headers().add("From", sender).add("Content-Type", "application/pkcs7-mime")
    message = Entity(headers.add("Content-Transfer-Encoding", "binary"), der(name))
    layer = opened(message, KeyRing(), root).signatures[0]
    assert (layer.status, layer.trust, layer.from_match) == ("good", "trusted", "person")
    assert layer.signature == signature
    (other,) = {*ROOTS} - {root}
    layer = opened(message, KeyRing(), other).signatures[0]
    assert (layer.status, layer.trust, layer.from_match) == ("unknown", "untrusted", "person")
    damaged = bytearray(der(name))
    damaged[-1] ^= 1
    layer = opened(Entity(message.headers, bytes(damaged)), KeyRing(), root).signatures[0]
    assert layer.status == "bad"


@pytest.mark.parametrize(("name", "key_encryption"), [("bob", "rsaes-oaep"), ("dana", "ecdh-std-sha256kdf")])
def test_a_message_for_bob_and_dana_opens_for_both_by_rsa_and_x25519(
    name: str, key_encryption: str, tmp_path: Path
) -> None:
    work = Work()
    _, content = tlv.content_info(der("encrypted-for-bob-and-dana.pem"), work)
    found = envelope.read(content, False, work)
    plaintext, layer = envelope.unseal(found, ring(tmp_path, name), work)
    assert bytes(plaintext) == b"This is some sample content."
    assert (layer.key_encryption, layer.recipient) == (key_encryption, f"{name}@smime.example")
    with pytest.raises(OpenFailed, match="no key of ours is among 2 recipients"):
        envelope.unseal(found, ring(tmp_path, "alice"), work)


@pytest.mark.parametrize("name", ["alice", "carlos"])
def test_what_we_write_for_the_people_of_the_rfc_opens_with_their_keys(name: str, tmp_path: Path) -> None:
    keys = ring(tmp_path, name)
    (to,) = [key.certificate for key in keys.keys if not key.certificate.may_sign()]
    entity = Entity(Headers().add("Content-Type", "text/plain"), b"Dag.\r\n")
    sealed = encrypt(entity, [RecipientCertificate(to)], cipher="aes-256-gcm")
    found = opened(Entity(sealed.headers.add("From", "bob@smime.example"), sealed.body), keys)
    assert found.entity is not None
    assert bytes(found.entity.body) == b"Dag.\r\n"
