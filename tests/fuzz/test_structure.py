"""CMS of openssl taken apart: written in another BER it is the same, edited it is never more than it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CmsError, MessageError
from nta_milter.message.headers import Headers
from nta_milter.smime.limits import DEFAULT_LIMITS
from nta_milter.smime.open import classify, open_message
from tests.fuzz.mutation import many
from tests.fuzz.structure import Node, encoded_anew, rebuilt
from tests.fuzz.test_smime import TEXT, World, content
from tests.laboratory.certificates import openssl

COUNTERS = ("elements", "recipients", "certificates", "signers", "attributes", "private_operations", "octets")
BINARY = (
    Headers()
    .add("From", "doctor@care.test")
    .add("Content-Type", "application/pkcs7-mime")
    .add("Content-Transfer-Encoding", "binary")
)


class Made(World):
    """More of what openssl makes: without attributes, and in pieces."""

    def __init__(self, folder):
        super().__init__(folder)
        sign = (*self.sign, "-nodetach", "-outform", "DER")
        self.signed = {
            "attributes": self.opaque,
            "bare": openssl(*sign, "-noattr", stdin=TEXT),
            "streamed": openssl(*sign, "-stream", stdin=TEXT),
        }
        self.sealed = {"cbc": self.enveloped, "gcm": self.authenticated}

    def opened(self, der):
        return open_message(BINARY, der, self.keys, self.trust, at=self.now)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("structure"))


def test_a_tree_is_written_as_it_was_read(made):
    for der in (*made.sealed.values(), made.opaque):
        assert bytes(Node.read(der)) == der


@many
@pytest.mark.parametrize("name", ["attributes", "bare", "streamed"])
@given(st.data())
def test_a_signature_written_in_another_ber_is_as_good(made, name, data):
    found = made.opened(data.draw(encoded_anew(made.signed[name])))
    assert found.error is None
    assert (found.signature, content(found)) == ("good", TEXT), found.layers


@many
@pytest.mark.parametrize("name", ["cbc", "gcm"])
@given(st.data())
def test_ciphertext_written_in_another_ber_opens_as_well(made, name, data):
    found = made.opened(data.draw(encoded_anew(made.sealed[name])))
    assert (found.opened, content(found)) == (True, TEXT), found.error


def held_to_the_rules(made, der):
    found = made.opened(der)
    assert found.error is None or isinstance(found.error, CmsError | MessageError)
    assert found.opened is (found.error is None and bool(found.layers))
    for counter in COUNTERS:
        assert getattr(found.work, counter) <= getattr(DEFAULT_LIMITS, counter)
    assert found.report()["opened"] is found.opened
    classify(BINARY, der)
    return found


@many
@pytest.mark.parametrize("name", ["attributes", "bare", "streamed"])
@given(st.data())
def test_an_edited_signature_is_good_over_the_very_text_only(made, name, data):
    found = held_to_the_rules(made, data.draw(rebuilt(made.signed[name])))
    if found.signature == "good":
        assert content(found) == TEXT


@many
@pytest.mark.parametrize("name", ["cbc", "gcm"])
@given(st.data())
def test_edited_ciphertext_opens_to_the_very_text_where_it_is_authenticated(made, name, data):
    found = held_to_the_rules(made, data.draw(rebuilt(made.sealed[name])))
    if name == "gcm" and found.opened:
        assert content(found) == TEXT
