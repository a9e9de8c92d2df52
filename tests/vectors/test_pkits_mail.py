"""The signed mails of NIST's PKITS: 224 by a foreign program, each judged whole."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cryptography_vectors
import pytest

from nta_milter.message.headers import HeaderField, Headers, split
from nta_milter.message.model import Entity
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.open import Opened, open_message
from nta_milter.smime.trust import Trust
from tests.unit.smime.persons import NOW

DATA = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
MAILS = sorted((DATA / "smime").glob("*.eml"))

NOT_CHECKED = {
    "SignedInvalidDSASignatureTest6": "a DSA signature",
    "SignedValidDSAParameterInheritanceTest5": "a DSA signature",
    "SignedValidDSASignaturesTest4": "a DSA signature",
    "SignedInvalidNegativeSerialNumberTest15": "a certificate that is none: its serial number is negative",
}
GOOD = {
    "SignedValidDNnameConstraintsTest14",
    "SignedValidDNnameConstraintsTest4",
    "SignedValidDNandRFC822nameConstraintsTest27",
    "SignedValidRFC822nameConstraintsTest21",
    "SignedValidRFC822nameConstraintsTest23",
    "SignedValidRFC822nameConstraintsTest25",
}
"""Certificates that name an address and are valid by what the mail itself brings."""


@lru_cache
def trust() -> Trust:
    return Trust([Certificate.from_der((DATA / "certs" / "TrustAnchorRootCertificate.crt").read_bytes())])


def read(path: Path) -> Entity:
    data = path.read_bytes()
    data = data if b"\r\n" in data else data.replace(b"\n", b"\r\n")
    headers, start = split(data)
    return Entity(headers, data[start:])


def opened(mail: Entity) -> Opened:
    return open_message(mail.headers, mail.body, KeyRing(), trust(), at=NOW)


def from_signer(mail: Entity) -> Entity:
    """The mail with the signer's own address in From, where the certificate names one."""
    signer = opened(mail).signatures[0].signer
    if signer is None or not signer.emails:
        return mail
    sender = HeaderField(b"From", b" " + signer.emails[0].encode())
    return Entity(Headers((*mail.headers.without(("From",)), sender)), mail.body)


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_each_signature_is_right_and_good_only_where_all_is_valid(path: Path) -> None:
    mail = from_signer(read(path))
    found = opened(mail)
    assert found.opened
    assert found.entity is not None
    assert bytes(found.entity.body).strip() == b"This is a sample signed message."
    layer = found.signatures[0]
    if path.stem in NOT_CHECKED:
        assert (layer.status, layer.trust) == ("unknown", "unknown")
        return
    assert "changed" not in layer.reason
    assert "does not fit" not in layer.reason
    assert (layer.status == "good") is (path.stem in GOOD)
    assert layer.signer is not None
    if not layer.signer.emails:
        assert layer.from_match == "mismatch"
    changed = bytes(mail.body).replace(b"sample", b"simple")
    assert opened(Entity(mail.headers, changed)).signature == "bad"
