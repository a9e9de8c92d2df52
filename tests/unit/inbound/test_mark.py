"""The result header in the words of RFC 7281, and nothing of a sender's that could end a token."""

import pytest

from nta_milter.inbound.mark import result, verdict
from nta_milter.message.headers import Headers
from nta_milter.smime.limits import DEFAULT_LIMITS, Work
from nta_milter.smime.open import Opened
from nta_milter.smime.report import EncryptedLayer, SignedLayer

ENCRYPTED = EncryptedLayer(
    cipher="aes-256-cbc", authenticated=False, key_encryption="rsaes-oaep", recipient="CN=x"
)


class Signer:
    emails = ("nurse@hospital.test",)


def signed(status, trust="trusted", match="person", signer=None):
    return SignedLayer(status=status, reason="", trust=trust, from_match=match, signer=signer)


def opened(*layers):
    return Opened(True, None, Headers(), layers, None, Work(DEFAULT_LIMITS))


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([ENCRYPTED], "smime=none (encrypted, not signed)"),
        ([ENCRYPTED, signed("good")], "smime=pass (encrypted, signed by the sender)"),
        ([signed("good", match="domain")], "smime=pass (not encrypted, signed by the sender's domain)"),
        ([signed("bad")], "smime=fail (not encrypted, signature bad, certificate trusted)"),
        (
            [signed("unknown", "untrusted")],
            "smime=policy (not encrypted, signature unknown, certificate untrusted)",
        ),
        (
            [signed("unknown", "unknown")],
            "smime=neutral (not encrypted, signature unknown, certificate unknown)",
        ),
        ([signed("good"), signed("bad")], "smime=fail (not encrypted, signature bad, certificate trusted)"),
    ],
)
def test_the_worst_signature_decides(layers, wanted):
    assert result(opened(*layers)) == wanted


def test_the_signer_is_named_when_proven():
    assert result(opened(signed("good", signer=Signer))).endswith(
        " body.smime-identifier=nurse@hospital.test"
    )


def test_a_signers_address_cannot_end_a_token():
    class Hostile:
        emails = ('a"; spf=pass (x)\r\nX-Evil: 1@hospital.test',)

    text = result(opened(signed("good", signer=Hostile)))
    assert "\n" not in text
    assert text.count(";") == 0
    assert text.count('"') == 0


@pytest.mark.parametrize(
    ("status", "trust", "wanted"), [("good", "trusted", "pass"), ("bad", "trusted", "fail")]
)
def test_verdicts(status, trust, wanted):
    assert verdict(signed(status, trust)) == wanted
