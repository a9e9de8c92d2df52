"""Whatever is done to a valid message: it opens identically, or is refused, or is not good; never worse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CmsError, MessageError
from nta_milter.message.model import Entity
from nta_milter.smime.encrypt import encrypt
from nta_milter.smime.limits import Limits
from nta_milter.smime.open import open_message
from nta_milter.smime.sign import sign
from nta_milter.smime.transfer import decode, encode_lines
from tests.unit.smime import forge
from tests.unit.smime.messages import around, content, mail
from tests.unit.smime.persons import NOW, person, recipient, ring, trust

MAIL = mail("p256@care.test")
PLAIN = content(MAIL)
KEYS = ("p256", "rsa")


def sealed(cipher, *kinds):
    return around(MAIL, encrypt(PLAIN, [recipient(kind) for kind in kinds], cipher=cipher))


MESSAGES = {
    "gcm": sealed("aes-256-gcm", "p256"),
    "gcm-rsa": sealed("aes-128-gcm", "rsa", "p384"),
    "cbc": sealed("aes-256-cbc", "p256"),
    "cbc-rsa": sealed("aes-128-cbc", "rsa"),
    "streamed": forge.message(forge.envelope(bytes(PLAIN), mode="gcm", name="aes-256-gcm", pieces=100)),
    "opaque": around(MAIL, sign(PLAIN, person("p256"), at=NOW, opaque=True)),
    "detached": around(MAIL, sign(PLAIN, person("p256"), at=NOW)),
    "both": around(
        MAIL,
        encrypt(sign(PLAIN, person("rsa"), at=NOW), [recipient("p256")], cipher="aes-256-gcm"),
    ),
}
BINARY = {name: decode(message.body) for name, message in MESSAGES.items() if name != "detached"}
AUTHENTICATED = ("gcm", "gcm-rsa", "streamed", "both")

ORIGINAL = {
    name: open_message(message.headers, message.body, ring(*KEYS), trust(), at=NOW)
    for name, message in MESSAGES.items()
}


def check(name, entity):
    """Open a mutant and hold it against the rules."""
    found = open_message(entity.headers, entity.body, ring(*KEYS), trust(), at=NOW)
    limits = Limits()
    for counter in ("elements", "recipients", "certificates", "signers", "private_operations", "octets"):
        assert getattr(found.work, counter) <= getattr(limits, counter)
    assert found.error is None or isinstance(found.error, CmsError | MessageError)
    assert found.report()["opened"] is found.opened
    original = ORIGINAL[name]
    if found.opened and found.signature == original.signature == "good":
        assert bytes(found.entity) == bytes(original.entity)
    if name in AUTHENTICATED and found.opened:
        assert bytes(found.entity) == bytes(original.entity)
    return found


def test_every_original_opens():
    assert all(found.opened for found in ORIGINAL.values())
    assert ORIGINAL["opaque"].signature == ORIGINAL["detached"].signature == "good"


@pytest.mark.parametrize("name", BINARY)
@given(st.data())
def test_flipped_octets(name, data):
    mutant = bytearray(BINARY[name])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(
            st.one_of(st.integers(0, min(700, len(mutant) - 1)), st.integers(0, len(mutant) - 1))
        )
        mutant[position] ^= data.draw(st.integers(1, 255))
    check(name, Entity(MESSAGES[name].headers, encode_lines(mutant)))


@pytest.mark.parametrize("name", BINARY)
@given(st.data())
def test_cut_doubled_and_moved_pieces(name, data):
    whole = BINARY[name]
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 300)))
    target = data.draw(st.integers(0, len(whole)))
    kind = data.draw(st.sampled_from(["cut", "double", "move", "truncate", "append"]))
    piece = whole[start:stop]
    mutant = {
        "cut": whole[:start] + whole[stop:],
        "double": whole[:stop] + piece + whole[stop:],
        "move": whole[:target] + piece + whole[target:],
        "truncate": whole[:start],
        "append": whole + piece,
    }[kind]
    check(name, Entity(MESSAGES[name].headers, encode_lines(mutant)))


@pytest.mark.parametrize("name", MESSAGES)
@given(st.data())
def test_changes_to_the_mail_around_it(name, data):
    mutant = bytearray(MESSAGES[name].body)
    position = data.draw(st.integers(0, len(mutant) - 1))
    mutant[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    check(name, Entity(MESSAGES[name].headers, bytes(mutant)))


def test_any_flipped_octet_of_a_gcm_ciphertext_is_refused():
    binary = BINARY["gcm"]
    step = 1 if len(binary) < 2_000 else 37
    refused = 0
    for position in [*range(0, 700), *range(700, len(binary), step), len(binary) - 1]:
        mutant = bytearray(binary)
        mutant[position] ^= 0x40
        found = check("gcm", Entity(MESSAGES["gcm"].headers, encode_lines(mutant)))
        refused += not found.opened
    # some octets are not part of what is protected: versions, the names of algorithms that are not used
    assert refused > 800
