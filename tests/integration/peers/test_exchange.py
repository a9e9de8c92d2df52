"""Whole MIME mails with attachments, 8-bit text and long lines, exchanged both ways with every peer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nta_milter.message.headers import Headers
from nta_milter.message.model import Entity
from nta_milter.smime.encrypt import encrypt, pkcs7_headers
from nta_milter.smime.mime import content_type, signed_parts
from nta_milter.smime.open import open_message
from nta_milter.smime.sign import sign
from nta_milter.smime.transfer import decode, encode_lines
from tests.integration.peers.matrix import MATRIX
from tests.integration.peers.peers import KEY_OF, PEERS, CryptSmime, Refused
from tests.unit.smime.messages import around, content, mail, parse
from tests.unit.smime.persons import person, recipient, ring, trust

WIRED = [peer for peer in PEERS if peer is not CryptSmime]


def cases(attribute, peers=WIRED):
    return [
        pytest.param(peer.name, *(case if isinstance(case, tuple) else (case,)), id=f"{peer.name}-{case}")
        for peer in peers
        for case in sorted(getattr(peer, attribute))
    ]


def kind_of(how):
    return KEY_OF.get(how, how)


def noted(direction, peer, algorithm, outcome):
    MATRIX.note(direction, peer, algorithm, outcome)
    assert outcome, f"{direction} {peer}: {algorithm}"


def message(cms, kind, sender="rsa"):
    entity = Entity(pkcs7_headers("application/pkcs7-mime", kind, "smime.p7m"), encode_lines(cms))
    return around(mail(f"{sender}@care.test"), entity)


def opened(whole, *kinds):
    return open_message(whole.headers, whole.body, ring(*kinds), trust(), at=datetime.now(UTC))


CONTENT = bytes(content(mail()))


@pytest.mark.parametrize(("name", "cipher", "how"), cases("encrypts"))
def test_what_peers_encrypt_opens_here(peers, name, cipher, how):
    cms = peers[name].encrypt(CONTENT, cipher, how)
    found = opened(message(cms, "enveloped-data"), kind_of(how))
    ok = found.opened and bytes(found.entity) == CONTENT and found.layers[0].cipher == cipher
    noted("encrypted by", name, f"{cipher} {how}", ok)


def test_what_bouncycastle_compresses_opens_here_alone_and_in_layers(peers):
    compressed = message(peers["BouncyCastle"].compress(CONTENT), "compressed-data")
    found = opened(compressed)
    noted("opened from", "BouncyCastle", "zlib", found.opened and bytes(found.entity) == CONTENT)
    inner = bytes(content(compressed))
    signed = message(peers["BouncyCastle"].sign(inner, "pkcs1", True), "signed-data")
    sealed = message(
        peers["BouncyCastle"].encrypt(bytes(content(signed)), "aes-256-gcm", "v15"), "enveloped-data"
    )
    found = opened(sealed, "rsa")
    assert [layer.report()["type"] for layer in found.layers] == ["encrypted", "signed", "compressed"]
    assert found.signature == "good"
    assert bytes(found.entity) == CONTENT


@pytest.mark.parametrize(("name", "cipher", "how"), cases("decrypts"))
def test_what_we_encrypt_opens_there(peers, name, cipher, how):
    to = recipient(kind_of(how), "oaep" if how == "oaep" else "v15")
    sealed = encrypt(content(mail()), [to], cipher=cipher)
    ok = peers[name].decrypt(decode(sealed.body), kind_of(how)) == CONTENT
    noted("opened by", name, f"{cipher} {how}", ok)


def test_one_message_for_several_peers_opens_at_each(peers):
    people = [recipient(kind) for kind in ("p256", "p384", "rsa", "p521")]
    for by in ("issuer", "key"):
        sealed = encrypt(content(mail()), people, cipher="aes-256-cbc", identify_by=by)
        for name, kind in (("openssl cms", "p384"), ("openssl cms", "rsa"), ("BouncyCastle", "p521")):
            assert peers[name].decrypt(decode(sealed.body), kind) == CONTENT


@pytest.mark.parametrize("opaque", [False, True], ids=["detached", "opaque"])
@pytest.mark.parametrize(("name", "how"), cases("signs"))
def test_what_peers_sign_is_good_here(peers, name, how, opaque):
    kind = kind_of(how)
    prepared = sign(content(mail()), person("rsa"), at=datetime.now(UTC))
    text = bytes(signed_parts(content_type(prepared.headers), prepared.body)[0])
    cms = peers[name].sign(text, how, opaque)
    if opaque:
        found = opened(message(cms, "signed-data", sender=kind))
    else:
        whole = around(mail(f"{kind}@care.test"), resealed(prepared, text, cms))
        found = opened(whole)
    ok = found.signature == "good" and bytes(found.entity) == text
    assert found.layers, found.error
    noted("signed by", name, f"{how} {'opaque' if opaque else 'detached'}", ok)


def resealed(entity, text, cms):
    """A multipart/signed of ours with the signature of somebody else."""
    boundary = content_type(entity.headers).boundary
    part = bytes(pkcs7_headers("application/pkcs7-signature", "", "smime.p7s")) + b"\r\n" + encode_lines(cms)
    body = b"--%b\r\n%b\r\n--%b\r\n%b--%b--\r\n" % (boundary, text, boundary, part, boundary)
    return Entity(entity.headers, body)


@pytest.mark.parametrize("opaque", [False, True], ids=["detached", "opaque"])
@pytest.mark.parametrize(("name", "how"), cases("verifies"))
def test_what_we_sign_is_good_there(peers, name, how, opaque):
    text, cms = ours(how, opaque)
    ok = peers[name].verify(cms, None if opaque else text) == text
    noted("verified by", name, f"{how} {'opaque' if opaque else 'detached'}", ok)
    changed = text.replace(b"Beste", b"Bezte")
    forged = (cms.replace(b"Beste", b"Bezte"), None) if opaque else (cms, changed)
    with pytest.raises(Refused):
        peers[name].verify(*forged)


def ours(how, opaque):
    """What we sign: the content as signed, and the CMS."""
    kind = kind_of(how)
    entity = sign(
        content(mail()),
        person(kind),
        at=datetime.now(UTC),
        opaque=opaque,
        algorithm="rsassa-pss" if how == "pss" else None,
    )
    detached = sign(content(mail()), person(kind), at=datetime.now(UTC))
    text, signature = signed_parts(content_type(detached.headers), detached.body)
    if opaque:
        return bytes(text), decode(entity.body)
    text, signature = signed_parts(content_type(entity.headers), entity.body)
    return bytes(text), decode(signature.body)


@pytest.mark.parametrize(("name", "cipher", "how"), cases("decrypts", [CryptSmime]))
def test_whole_messages_for_crypt_smime(peers, name, cipher, how):
    sealed = encrypt(content(mail()), [recipient("rsa", how)], cipher=cipher)
    whole = bytes(around(mail(), sealed))
    decrypted = peers[name].perl("decrypt", whole)
    noted("opened by", name, f"{cipher} {how}", decrypted.endswith(bytes(content(mail()).body)))


@pytest.mark.parametrize("how", sorted(CryptSmime.verifies))
def test_whole_signed_messages_for_crypt_smime(peers, how):
    kind = kind_of(how)
    algorithm = "rsassa-pss" if how == "pss" else None
    whole = mail(f"{kind}@care.test")
    entity = sign(content(whole), person(kind), at=datetime.now(UTC), algorithm=algorithm)
    checked = peers["Crypt::SMIME"].perl("check", bytes(around(whole, entity)), kind)
    text = bytes(signed_parts(content_type(entity.headers), entity.body)[0])
    noted("verified by", "Crypt::SMIME", f"{how} detached", text in checked)
    with pytest.raises(Refused):
        peers["Crypt::SMIME"].perl("check", bytes(around(whole, entity)).replace(b"Beste", b"Bezte"), kind)


def test_whole_messages_of_crypt_smime(peers):
    whole = mail()
    sealed = peers["Crypt::SMIME"].perl("encrypt", bytes(whole))
    found = opened(parsed(sealed), "rsa")
    ok = found.opened and found.entity.body == whole.body
    noted("encrypted by", "Crypt::SMIME", f"{found.layers[0].cipher} v15", ok)
    signed = peers["Crypt::SMIME"].perl("sign", bytes(whole))
    found = opened(parsed(signed))
    noted("signed by", "Crypt::SMIME", "pkcs1 detached", found.signature == "good")


def parsed(data):
    entity = parse(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    return Entity(Headers(entity.headers.fields), entity.body)
