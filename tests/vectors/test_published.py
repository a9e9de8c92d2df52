"""Messages and keys that others have published.

``rfc9216`` has the sample people of RFC 9216: Bob's key and the authority as its earlier drafts had them,
two mails of draft-ietf-lamps-header-protection made with them, and examples of CMS objects made with the
keys of the RFC itself (draft-ireland-examples-cms).
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nta_milter.errors import OpenFailed
from nta_milter.message.headers import Headers, split
from nta_milter.message.model import Entity
from nta_milter.smime import envelope, tlv
from nta_milter.smime.certificate import Certificate
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


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    file = tmp_path_factory.mktemp("bob") / "bob.p12"
    file.write_bytes(der("bob.p12.pem"))
    return KeyRing.load(file, passwords=[b"bob"])


def trust() -> Trust:
    return Trust([Certificate.from_pem(DATA.joinpath("authority.pem").read_bytes())])


def opened(message: Entity, keys: KeyRing) -> Opened:
    return open_message(message.headers, message.body, keys, trust(), at=AT)


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


@pytest.mark.parametrize(
    ("name", "signature", "sender"),
    [
        ("signed-by-alice-pss.pem", "rsassa-pss", "alice@smime.example"),
        ("signed-by-carlos-ed25519.pem", "ed25519", "carlos@smime.example"),
    ],
)
def test_signatures_of_the_rfc_s_keys_are_right(name: str, signature: str, sender: str) -> None:
    headers = Headers().add("From", sender).add("Content-Type", "application/pkcs7-mime")
    message = Entity(headers.add("Content-Transfer-Encoding", "binary"), der(name))
    layer = opened(message, KeyRing()).signatures[0]
    # the authorities of the RFC are others than those of its drafts: right, and by nobody whom we know
    assert (layer.status, layer.trust, layer.from_match) == ("unknown", "untrusted", "person")
    assert layer.signature == signature
    damaged = bytearray(der(name))
    damaged[-1] ^= 1
    layer = opened(Entity(message.headers, bytes(damaged)), KeyRing()).signatures[0]
    assert layer.status == "bad"


def test_recipients_of_both_kinds_are_read(bob: KeyRing) -> None:
    work = Work()
    _, content = tlv.content_info(der("encrypted-for-bob-and-dana.pem"), work)
    found = envelope.read(content, False, work)
    assert [recipient.identifier.serial >> 128 for recipient in found.recipients] == [0x307C47, 0x0E4B0A]
    with pytest.raises(OpenFailed, match="no key of ours is among 2 recipients"):
        envelope.unseal(found, bob, work)
