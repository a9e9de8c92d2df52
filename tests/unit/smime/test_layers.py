"""Layers in any order: each is taken off and told, and what they are worth together follows the rules."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import LimitExceeded
from nta_milter.message.headers import Headers
from nta_milter.message.model import Entity
from nta_milter.smime import algorithm, tlv
from nta_milter.smime.algorithm import encode_algorithm
from nta_milter.smime.encrypt import encrypt
from nta_milter.smime.open import AROUND_CIPHERTEXT, open_message
from nta_milter.smime.sign import sign
from tests.unit.smime import forge
from tests.unit.smime.messages import around, content, mail
from tests.unit.smime.persons import NOW, person, recipient, ring, trust

SENDER = "p256@care.test"
WHOLE = mail(SENDER)
PLAIN = content(WHOLE)


def opaque(entity, kind="p256"):
    return sign(entity, person(kind), at=NOW, opaque=True)


def detached(entity, kind="p256"):
    return sign(entity, person(kind), at=NOW)


def by_another(entity):
    return opaque(entity, "rsa")


def gcm(entity):
    return encrypt(entity, [recipient("p256")], cipher="aes-256-gcm")


def cbc(entity):
    return encrypt(entity, [recipient("rsa")], cipher="aes-128-cbc")


def packed(entity):
    inside = tlv.tlv(tlv.context(0), tlv.octet_string(zlib.compress(bytes(entity))))
    kind = tlv.sequence(tlv.object_identifier(algorithm.DATA), inside)
    value = tlv.sequence(tlv.integer(0), encode_algorithm(algorithm.ZLIB), kind)
    made = forge.message(forge.content_info(algorithm.COMPRESSED_DATA, value))
    return Entity(made.headers.only(("Content-Type", "Content-Transfer-Encoding")), made.body)


KINDS = {
    opaque: "signed",
    detached: "signed",
    by_another: "signed",
    gcm: "encrypted",
    cbc: "encrypted",
    packed: "compressed",
}
SIGNED = (opaque, detached, by_another)


def wrapped(layers):
    """The mail with these layers around its content, the first outermost."""
    entity = PLAIN
    for layer in reversed(layers):
        entity = layer(entity)
    return around(WHOLE, entity)


def opened(message):
    return open_message(message.headers, message.body, ring("p256", "rsa"), trust(), at=NOW)


def worth(layers):
    """What the signatures are worth together, by decision 011, told from the layers alone."""
    innermost = max((place for place, layer in enumerate(layers) if layer in (gcm, cbc)), default=-1)
    signed = [(place, layer) for place, layer in enumerate(layers) if layer in SIGNED]
    if not signed:
        return None
    if any(layer is by_another for _, layer in signed):
        return "bad"
    inside = [layer for place, layer in signed if place > innermost]
    return "good" if inside else "unknown"


@given(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4))
def test_every_layer_is_taken_off_and_told(layers):
    found = opened(wrapped(layers))
    assert found.error is None
    assert found.opened
    assert [layer.report()["type"] for layer in found.layers] == [KINDS[layer] for layer in layers]
    assert found.signature == worth(layers)
    assert found.wrapped is any(layer is not detached for layer in layers)
    assert found.encrypted is any(layer in (gcm, cbc) for layer in layers)
    # what is signed is made fit for its way (decision of the writer), so that its text is compared decoded
    if not any(layer in SIGNED for layer in layers):
        assert bytes(found.entity) == bytes(PLAIN)
    for place, (layer, made) in enumerate(zip(found.layers, layers, strict=True)):
        around_ciphertext = any(later in (gcm, cbc) for later in layers[place + 1 :])
        if made in (opaque, detached):
            assert (layer.status, layer.reason == AROUND_CIPHERTEXT) == (
                ("unknown", True) if around_ciphertext else ("good", False)
            )
        if made in (gcm, cbc):
            before = any(earlier in SIGNED for earlier in layers[:place])
            assert ("signed-outside" in layer.flags) is before
            # a signature over ciphertext further inside protects all that is signed, whoever wrote that
            inside = [later for later in layers[place + 1 :] if later in (opaque, detached)]
            assert ("no-inner-signature" in layer.flags) is (made is cbc and not inside)


def test_a_fifth_layer_is_not_opened():
    found = opened(wrapped([opaque] * 5))
    assert isinstance(found.error, LimitExceeded)
    assert not found.opened
    assert len(found.layers) == 4


@pytest.mark.parametrize(
    "layers", [[gcm], [opaque], [detached], [opaque, gcm]], ids=lambda item: item[0].__name__
)
@pytest.mark.parametrize("kind", ["multipart/mixed", "multipart/alternative", "multipart/related"])
def test_what_is_only_a_part_of_a_message_stays_closed(layers, kind):
    entity = content(wrapped(layers))
    body = (
        b"--b\r\n"
        + bytes(entity)
        + b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nhttp://evil.test/\r\n--b--\r\n"
    )
    mixed = Entity(Headers().add("Content-Type", f'{kind}; boundary="b"'), body)
    found = opened(around(WHOLE, mixed))
    assert (found.opened, found.entity, found.layers, found.error) == (False, None, (), None)
    inside = opened(around(WHOLE, gcm(mixed)))
    assert inside.opened
    assert len(inside.layers) == 1
    assert bytes(inside.entity.body) == body
