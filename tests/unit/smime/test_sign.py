import base64

import pytest

from nta_milter.errors import CertificateError
from nta_milter.message.model import Entity
from nta_milter.smime.mime import content_type, signed_parts
from nta_milter.smime.open import open_message
from nta_milter.smime.prepare import is_robust
from nta_milter.smime.sign import sign, sign_in_passing
from tests.unit.smime.messages import ATTACHMENT, around, content, mail, parse
from tests.unit.smime.persons import NOW, SIGNING, later, person, ring, trust


def opened(message, at=NOW, by=None):
    return open_message(message.headers, message.body, ring(), by or trust(), at=at)


def signed(kind, sender=None, **options):
    message = mail(sender or f"{kind}@care.test")
    return around(message, sign(content(message), person(kind), at=NOW, **options))


@pytest.mark.parametrize("opaque", [False, True], ids=["detached", "opaque"])
@pytest.mark.parametrize("kind", SIGNING)
def test_every_key_signs_and_its_signature_is_good(kind, opaque):
    found = opened(signed(kind, opaque=opaque))
    assert found.opened
    assert found.signature == "good"
    report = found.report()["layers"][0]
    assert report["status"] == "good", report
    assert report["trust"] == "trusted"
    assert report["from_match"] == "person"
    assert report["signing_time"] == "2026-11-24T12:00:00Z"
    assert report["signer"]["emails"] == [f"{kind}@care.test"]
    assert found.layers[0].capabilities.startswith(b"\x30")


@pytest.mark.parametrize(
    ("kind", "algorithm", "name", "digest"),
    [
        ("rsa", None, "rsassa-pkcs1-v1_5", "sha256"),
        ("rsa", "rsassa-pss", "rsassa-pss", "sha256"),
        ("p256", "ecdsa", "ecdsa", "sha256"),
        ("p521", None, "ecdsa", "sha512"),
        ("ed25519", None, "ed25519", "sha512"),
    ],
)
def test_the_algorithm_is_the_key_s_or_the_one_asked_for(kind, algorithm, name, digest):
    layer = opened(signed(kind, algorithm=algorithm)).layers[0]
    assert (layer.signature, layer.digest, layer.status) == (name, digest, "good")


def test_a_key_does_not_sign_by_another_s_algorithm():
    with pytest.raises(CertificateError, match="does not sign by ecdsa"):
        signed("rsa", algorithm="ecdsa")
    with pytest.raises(CertificateError, match="does not sign"):
        signed("x25519")


def test_what_is_signed_survives_relays_and_says_the_same():
    message = signed("rsa")
    part, _ = signed_parts(content_type(message.headers), message.body)
    assert is_robust(message.body)
    text, attachment = parse(bytes(part)).body.split(b"--grens")[1:3]
    assert "uw patiëntnummer is 42.=20".encode().replace("ë".encode(), b"=C3=AB") in text
    assert b"\r\n=46rom vandaag" in text
    assert b"--=20\r\n" in text
    assert base64.b64decode(attachment.partition(b"\r\n\r\n")[2]) == ATTACHMENT


def test_a_changed_octet_is_bad_and_the_content_is_still_given():
    message = signed("p256")
    body = bytes(message.body).replace(b"Zorg\r\n", b"Zurg\r\n")
    found = opened(Entity(message.headers, body))
    assert found.opened
    assert found.signature == "bad"
    assert "changed" in found.layers[0].reason
    assert b"Zurg" in bytes(found.entity)


def test_a_gateway_speaks_for_its_domain():
    layer = opened(signed("gateway", sender="anyone@care.test")).layers[0]
    assert (layer.status, layer.from_match) == ("good", "domain")
    layer = opened(signed("gateway", sender="anyone@other.test")).layers[0]
    assert (layer.status, layer.from_match) == ("bad", "mismatch")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (b"From: p256@care.test\r\nFrom: p256@care.test\r\n", "mismatch"),
        (b"From: P256@CARE.test\r\n", "person"),
        (b"From: p256@care.test, rsa@care.test\r\n", "mismatch"),
        (b"From: p256@care.test, broken\r\n", "mismatch"),
        (b'From: "p256@care.test" <rsa@care.test>\r\n', "mismatch"),
        (b"Subject: no sender\r\n", "mismatch"),
    ],
)
def test_from_must_be_one_field_and_all_of_it_the_signer_s(fields, match):
    message = signed("p256")
    other = parse(fields + b"\r\n").headers
    headers = type(other)((*other, *message.headers.without(("From", "Subject"))))
    layer = opened(Entity(headers, message.body)).layers[0]
    assert layer.from_match == match
    assert (layer.status == "good") is (match == "person")


def test_a_signature_is_judged_at_the_time_of_receipt():
    message = signed("p256")
    assert opened(message).signature == "good"
    layer = opened(message, at=later(days=365 * 20)).layers[0]
    assert (layer.status, layer.trust) == ("unknown", "expired")


def test_a_signing_time_far_ahead_is_bad():
    message = signed("p256")
    assert opened(message, at=later(hours=-23)).signature == "good"
    layer = opened(message, at=later(hours=-25)).layers[0]
    assert (layer.status, layer.reason) == ("bad", "the signing time lies in the future")


def test_without_trust_nothing_is_good():
    message = signed("p256")
    found = open_message(message.headers, message.body, ring(), None, at=NOW)
    assert (found.signature, found.layers[0].trust) == ("unknown", "unknown")


def test_an_attached_signed_message_with_fragile_lines_is_signed_opaquely():
    inner = signed("rsa")
    attached = Entity(
        inner.headers.only(("Content-Type",)), bytes(inner.body).replace(b"--=20\r\n", b"-- \r\n")
    )
    entity = sign(attached, person("p256"), at=NOW)
    assert b"smime-type=signed-data" in entity.headers.first("Content-Type")
    message = around(mail("p256@care.test"), entity)
    layers = opened(message).layers
    assert layers[0].status == "good"
    assert layers[1].status == "bad"


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (b"caf\xc3\xa9 \r\nFrom me\r\n" + b"x" * 2000 + b"\r\n", True),
        (b"lone \n line feed\r\n", False),
        (b"lone \r return\r\n", False),
        (b"nul \0\r\n", False),
    ],
)
def test_what_will_be_encrypted_is_signed_as_it_is_when_its_lines_are_canonical(lines, kept):
    entity = parse(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + lines)
    result = sign(entity, person("rsa"), at=NOW, enclosed=True)
    assert (lines in bytes(result)) is kept
    assert opened(around(mail("rsa@care.test"), result)).signature == "good"


def long_content(message, end=b""):
    """Its text, again and again, so that it is worth hashing in passing."""
    return Entity(content(message).headers, bytes(message.body) + b"En nog een regel.\r\n" * 100_000 + end)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_what_is_signed_in_passing_is_as_long_as_said_and_good(kind):
    message = mail(f"{kind}@care.test")
    headers, length, pieces = sign_in_passing(long_content(message), person(kind), at=NOW)
    body = b"".join(pieces)
    assert len(body) == length
    found = opened(around(message, Entity(headers, body)))
    assert found.signature == "good", found.report()
    changed = body.replace(b"nog een regel", b"nog een REGEL", 1)
    assert opened(around(message, Entity(headers, changed))).signature == "bad"


@pytest.mark.parametrize(
    ("kind", "entity"),
    [
        ("rsa", content(mail())),
        ("p256", long_content(mail())),
        ("rsa", long_content(mail(), b"no carriage return\n")),
        ("rsa", long_content(mail(), b"a NUL \0\r\n")),
    ],
    ids=["short", "a signature of any length", "not canonical", "NUL"],
)
def test_what_cannot_be_signed_in_passing_is_not(kind, entity):
    assert sign_in_passing(entity, person(kind), at=NOW) is None
