import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import LimitExceeded, MalformedCms, MessageError, OpenFailed, UnsupportedCms
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Entity
from nta_milter.smime import algorithm, key_agreement, tlv
from nta_milter.smime.algorithm import encode_algorithm
from nta_milter.smime.compatibility import triple_des
from nta_milter.smime.encrypt import encrypt
from nta_milter.smime.envelope import NOT_INTACT
from nta_milter.smime.limits import Limits
from nta_milter.smime.open import AROUND_CIPHERTEXT, open_message
from nta_milter.smime.sign import sign
from nta_milter.smime.transfer import decode, encode_lines
from tests.unit.smime import forge
from tests.unit.smime.messages import around, content, mail, parse
from tests.unit.smime.persons import NOW, person, recipient, ring, trust

PLAIN = forge.CONTENT


def opened(message, *kinds, **options):
    return open_message(message.headers, message.body, ring(*kinds), trust(), at=NOW, **options)


def test_what_is_built_by_hand_opens():
    for pieces in (None, 7, 16):
        for mode, name in (("gcm", "aes-256-gcm"), ("cbc", "aes-128-cbc")):
            found = opened(forge.message(forge.envelope(PLAIN, mode=mode, name=name, pieces=pieces)), "p256")
            assert found.opened, found.error
            assert bytes(found.entity) == PLAIN


def test_additional_data_and_every_allowed_tag_length():
    for length in range(12, 17):
        cms = forge.envelope(PLAIN, mode="gcm", name="aes-256-gcm", tag_length=length, shown_length=length)
        assert opened(forge.message(cms), "p256").opened
    cms = forge.envelope(PLAIN, mode="gcm", name="aes-128-gcm", tag_length=12, shown_length=None)
    assert opened(forge.message(cms), "p256").opened
    extra = [forge.attribute(algorithm.DATA, tlv.octet_string(b"x")) for _ in range(2)]
    cms = forge.envelope(PLAIN, mode="gcm", name="aes-128-gcm", aad=extra)
    assert opened(forge.message(cms), "p256").opened


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tag_length": 12}, MalformedCms),
        ({"tag_length": 8, "shown_length": 8}, MalformedCms),
        ({"tag_length": 15}, MalformedCms),
        ({"shown_length": 17}, MalformedCms),
        ({"outer": algorithm.ENVELOPED_DATA}, MalformedCms),
        ({"oid": "aes-256-cbc"}, MalformedCms),
        ({"content": algorithm.SIGNED_DATA}, UnsupportedCms),
        ({"oid": "aes-128-gcm"}, OpenFailed),
    ],
    ids=str,
)
def test_gcm_that_breaks_a_rule_is_refused(options, error):
    cms = forge.envelope(PLAIN, mode="gcm", name="aes-256-gcm", **options)
    found = opened(forge.message(cms), "p256")
    assert not found.opened
    assert type(found.error) in (error, UnsupportedCms)
    assert found.entity is None


def test_a_gcm_message_relabelled_as_cbc_does_not_open():
    cms = forge.envelope(PLAIN + b"z" * 4, mode="gcm", name="aes-256-gcm")
    relabelled = cms.replace(algorithm.cipher("aes-256-gcm").oid, algorithm.cipher("aes-256-cbc").oid)
    found = opened(forge.message(relabelled), "p256")
    assert not found.opened
    assert found.entity is None


@pytest.mark.parametrize(
    "padding", [b"\x00" * 16, b"\x01" * 15 + b"\x11", b"\x02\x03" * 8, b"\x10" * 15 + b"\x0f", b""]
)
def test_every_wrong_padding_fails_alike(padding):
    content = b"0123456789abcdef"
    cms = forge.envelope(content, mode="cbc", name="aes-256-cbc", padding=padding)
    found = opened(forge.message(cms), "p256")
    assert str(found.error) == f"aes-256-cbc: {NOT_INTACT}"
    assert type(found.error) is OpenFailed


def test_failures_look_alike_whatever_the_cause():
    cms = forge.envelope(PLAIN, mode="cbc", name="aes-256-cbc")
    wrapped = bytearray(cms)
    position = cms.index(tlv.header(tlv.OCTET_STRING, 40)) + 2
    wrapped[position] ^= 1
    short = forge.envelope(b"", mode="cbc", name="aes-256-cbc", padding=b"")
    partial = forge.envelope(b"", mode="cbc", name="aes-256-cbc", padding=b"\x11" * 16)
    errors = {str(opened(forge.message(bytes(data)), "p256").error) for data in (wrapped, short, partial)}
    assert errors == {f"aes-256-cbc: {NOT_INTACT}"}


def triple_des_message(oid, kek_wrap=None):
    key = os.urandom(24)
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    encryptor = Cipher(triple_des(key), modes.CBC(b"v" * 8)).encryptor()
    count = 8 - len(PLAIN) % 8
    ciphertext = encryptor.update(PLAIN + bytes((count,)) * count)
    certificate = person("p256").certificate
    named = tlv.sequence(certificate.issuer, tlv.integer(certificate.serial))
    inside = tlv.sequence(
        tlv.object_identifier(algorithm.DATA),
        encode_algorithm(oid, tlv.octet_string(b"v" * 8)),
        tlv.tlv(tlv.context(0, constructed=False), ciphertext),
    )
    info = key_agreement.write(certificate.public_key, named, key)
    value = tlv.sequence(tlv.integer(2), tlv.tlv(tlv.SET, info), inside)
    return forge.message(forge.content_info(algorithm.ENVELOPED_DATA, value))


def test_triple_des_is_opened_and_flagged_and_older_ciphers_are_refused():
    found = opened(triple_des_message(tlv.identifier("1.2.840.113549.3.7")), "p256")
    assert bytes(found.entity) == PLAIN
    assert found.layers[0].flags == ("weak-cipher", "no-inner-signature")
    for oid in ("1.2.840.113549.3.2", "1.3.14.3.2.7", "1.2.840.113549.3.4"):
        found = opened(triple_des_message(tlv.identifier(oid)), "p256")
        assert isinstance(found.error, UnsupportedCms)
        assert "refused" in str(found.error)


def test_only_a_whole_message_is_opened():
    sealed = encrypt(content(mail()), [recipient("p256")], cipher="aes-256-cbc")
    body = b"--x\r\n%b--x--\r\n" % bytes(sealed)
    spliced = Entity(Headers().add("Content-Type", "multipart/mixed; boundary=x"), body)
    found = opened(spliced, "p256")
    assert (found.opened, found.entity, found.error, found.layers) == (False, None, None, ())


@pytest.mark.parametrize(
    ("kind", "opens"),
    [
        (b"application/pkcs7-mime", True),
        (b"APPLICATION/X-PKCS7-MIME; name=x", True),
        (b"application/pkcs7-mime; smime-type=signed-data", True),
        (b'application/octet-stream; name="smime.P7M"', True),
        (b"application/octet-stream", False),
        (b"application/pdf; name=smime.p7m", False),
        (b"text/plain", False),
    ],
)
def test_the_type_or_the_name_says_that_it_is_cms(kind, opens):
    cms = forge.envelope(PLAIN, mode="gcm", name="aes-128-gcm")
    assert opened(forge.message(cms, content_type=kind), "p256").opened is opens


def test_an_ambiguous_type_is_no_smime():
    cms = forge.envelope(PLAIN, mode="gcm", name="aes-128-gcm")
    extra = ((b"Content-Type", b"application/pkcs7-mime"),)
    found = opened(forge.message(cms, content_type=b"text/plain", extra=extra), "p256")
    assert not found.opened


@pytest.mark.parametrize("encoding", [b"binary", b"8bit", b"quoted-printable", b"base64", b""])
def test_every_transfer_encoding_is_read(encoding):
    cms = forge.envelope(PLAIN, mode="gcm", name="aes-128-gcm")
    body = {
        b"binary": cms,
        b"8bit": cms,
        b"quoted-printable": b"".join(b"=%02X" % octet for octet in cms),
        b"base64": encode_lines(cms),
        b"": encode_lines(cms),
    }[encoding]
    headers = Headers((HeaderField(b"Content-Type", b" application/pkcs7-mime"),))
    if encoding:
        headers = headers.add("Content-Transfer-Encoding", encoding)
    assert opened(Entity(headers, body), "p256").opened
    assert opened(Entity(headers, memoryview(body)), "p256").opened
    strange = headers.without(("Content-Transfer-Encoding",)).add("Content-Transfer-Encoding", "x-uuencode")
    assert isinstance(opened(Entity(strange, body), "p256").error, MalformedCms)


def nested(depth):
    message = mail("p256@care.test")
    entity = content(message)
    for level in range(depth):
        if level % 2:
            entity = sign(entity, person("p256"), at=NOW)
        else:
            entity = encrypt(entity, [recipient("p256")], cipher="aes-256-cbc")
    return around(message, entity)


def test_layers_are_opened_up_to_the_limit():
    found = opened(nested(4), "p256")
    assert found.opened
    assert [layer.report()["type"] for layer in found.layers] == [
        "signed",
        "encrypted",
        "signed",
        "encrypted",
    ]
    assert found.layers[1].flags == ("signed-outside",)
    assert found.layers[3].flags == ("no-inner-signature", "signed-outside")
    assert bytes(found.entity) == bytes(content(mail("p256@care.test")))
    found = opened(nested(5), "p256")
    assert not found.opened
    assert isinstance(found.error, LimitExceeded)
    assert opened(nested(5), "p256", layer_limit=5).opened


def test_an_inner_layer_that_stays_closed_is_given_as_it_is():
    message = mail()
    inner = encrypt(content(message), [recipient("rsa")], cipher="aes-256-gcm")
    outer = around(message, encrypt(inner, [recipient("p256")], cipher="aes-256-gcm"))
    found = opened(outer, "p256")
    assert not found.opened
    assert isinstance(found.error, OpenFailed)
    assert bytes(found.entity) == bytes(inner)
    assert len(found.layers) == 1


def test_a_signature_around_ciphertext_proves_nothing_about_the_text():
    message = mail("p256@care.test")
    sealed = encrypt(content(message), [recipient("p256")], cipher="aes-256-gcm")
    found = opened(around(message, sign(sealed, person("p256"), at=NOW)), "p256")
    assert found.opened
    assert (found.signature, found.signatures[0].trust) == ("unknown", "trusted")
    assert found.signatures[0].reason == AROUND_CIPHERTEXT
    inner = sign(content(message), person("p256"), at=NOW)
    sealed = encrypt(inner, [recipient("p256")], cipher="aes-256-gcm")
    triple = around(message, sign(sealed, person("p256"), at=NOW))
    found = opened(triple, "p256")
    assert [layer.status for layer in found.signatures] == ["unknown", "good"]
    assert found.signature == "good"
    foreign = around(message, sign(sealed, person("rsa"), at=NOW))
    assert opened(foreign, "p256").signature == "bad"


def test_a_signature_inside_answers_for_cbc():
    message = mail("p256@care.test")
    entity = encrypt(sign(content(message), person("p256"), at=NOW), [recipient("rsa")], cipher="aes-128-cbc")
    found = opened(around(message, entity), "rsa")
    assert found.layers[0].flags == ()
    assert found.signature == "good"


@pytest.mark.parametrize("encoding", ["binary", "8bit", ""])
@pytest.mark.parametrize(("end", "opens"), [(b"", True), (b"\r\n", True), (b"\n", True), (b"\r\n\r\n", False),
    (b"\x00", False), (b" ", False), (b"\r", False), (b"\r\nx", False)])  # fmt: skip
def test_a_line_end_behind_binary_cms_is_none_of_it(encoding, end, opens):
    cms = forge.envelope(PLAIN, mode="gcm", name="aes-256-gcm") + end
    headers = forge.message(b"").headers.without(("Content-Transfer-Encoding",))
    headers = headers.add("Content-Transfer-Encoding", encoding) if encoding else headers
    found = opened(Entity(headers, cms), "p256")
    assert found.opened is opens
    assert isinstance(found.error, MalformedCms) is not opens


def test_a_binary_signature_part_is_read():
    mail = forge.detached(forge.signed_data([forge.signer_info(forge.attributes())], content=None))
    second = mail.body.index(b"Content-Transfer-Encoding: base64")
    start = mail.body.index(b"\r\n\r\n", second) + 4
    stop = mail.body.index(b"\r\n--grens--")
    part = mail.body[second:start].replace(b"base64", b"binary") + decode(mail.body[start:stop])
    found = opened(Entity(mail.headers, mail.body[:second] + part + mail.body[stop:]))
    assert found.signature == "good"


def compressed(data, oid=algorithm.ZLIB, kind=algorithm.DATA):
    value = tlv.sequence(
        tlv.integer(0),
        encode_algorithm(oid),
        tlv.sequence(tlv.object_identifier(kind), tlv.tlv(tlv.context(0), tlv.octet_string(data))),
    )
    return forge.message(forge.content_info(algorithm.COMPRESSED_DATA, value))


def test_compressed_data_is_opened_under_a_cap():
    found = opened(compressed(zlib.compress(PLAIN)))
    assert bytes(found.entity) == PLAIN
    assert found.report()["layers"] == [{"type": "compressed", "algorithm": "zlib"}]
    bomb = compressed(zlib.compress(bytes(30_000_000)))
    found = opened(bomb, limits=Limits(expansion=5_000_000))
    assert isinstance(found.error, LimitExceeded)
    assert found.work.octets < 8_000_000
    bomb = compressed(zlib.compress(bytes(3_000_000)))
    assert isinstance(opened(bomb).error, LimitExceeded)
    for broken in (b"abc", zlib.compress(PLAIN)[:-5], b""):
        assert isinstance(opened(compressed(broken)).error, MalformedCms)
    assert isinstance(opened(compressed(b"", oid=algorithm.DATA)).error, UnsupportedCms)
    assert isinstance(opened(compressed(b"", kind=algorithm.SIGNED_DATA)).error, UnsupportedCms)


def test_many_recipients_and_many_keys_cost_no_more_than_the_limit():
    cms = forge.envelope(PLAIN, mode="gcm", name="aes-256-gcm", repeat=1001)
    found = opened(forge.message(cms), "p256")
    assert isinstance(found.error, LimitExceeded)
    assert found.work.private_operations == 0
    damaged = bytearray(forge.envelope(PLAIN, mode="gcm", name="aes-256-gcm", repeat=1000))
    damaged[-1] ^= 1
    found = opened(forge.message(bytes(damaged)), "p256")
    assert isinstance(found.error, LimitExceeded)
    assert found.work.private_operations == Limits().private_operations


def test_a_big_message_of_nested_garbage_costs_next_to_nothing():
    for garbage in (b"\x30\x80" * 25_000_000, b"\x30\x84\x02\xfa\xf0\x7a" + b"\x31\x00" * 25_000_000):
        found = opened(Entity(forge.message(b"").headers.without(("Content-Transfer-Encoding",)), garbage))
        assert not found.opened
        assert isinstance(found.error, LimitExceeded | MalformedCms)
        assert found.work.elements <= Limits().elements


def test_the_report_has_the_shape_that_is_documented():
    message = mail("p256@care.test")
    entity = encrypt(sign(content(message), person("p256"), at=NOW), [recipient("rsa")], cipher="aes-256-gcm")
    report = opened(around(message, entity), "rsa").report()
    assert report == {
        "opened": True,
        "layers": [
            {
                "type": "encrypted",
                "cipher": "aes-256-gcm",
                "authenticated": True,
                "key_encryption": "rsaes-pkcs1-v1_5",
                "recipient": "rsa@care.test",
                "flags": [],
            },
            {
                "type": "signed",
                "status": "good",
                "reason": "signed by the person in From",
                "signature": "ecdsa",
                "digest": "sha256",
                "signer": {
                    "subject": "CN=Proefpersoon p256",
                    "emails": ["p256@care.test"],
                    "not_after": "2046-01-01T00:00:00Z",
                },
                "trust": "trusted",
                "from_match": "person",
                "signing_time": "2026-11-24T12:00:00Z",
            },
        ],
        "error": None,
    }


def test_plain_mail_is_neither_opened_nor_an_error():
    found = opened(mail())
    assert found.report() == {"opened": False, "layers": [], "error": None}
    other = parse(
        b"Content-Type: multipart/signed; protocol=application/pgp-signature; boundary=x\r\n\r\n--x--"
    )
    assert opened(other).report() == {"opened": False, "layers": [], "error": None}


@given(st.binary(max_size=200), st.sampled_from([b"base64", b"binary", b"7bit"]))
def test_any_body_is_refused_in_words(body, encoding):
    headers = Headers().add("Content-Type", "application/pkcs7-mime")
    found = opened(Entity(headers.add("Content-Transfer-Encoding", encoding), body), "p256")
    assert not found.opened
    assert isinstance(found.error, MalformedCms | LimitExceeded | MessageError | UnsupportedCms)
