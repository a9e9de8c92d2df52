from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.lookup.answer import Answer, Presence
from nta_milter.smime.smimea import DANE_EE, PKIX_EE, RECORD_LIMIT, Smimea, owner_name
from nta_milter.smime.trust import Trust

from .persons import NOW, later, person, trust

RSA = person("rsa").certificate
ADDRESS = "rsa@care.test"


class Dns:
    """A resolver with one answer; it notes what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    def query(self, name: str, rdtype: str) -> Answer:
        self.asked.append((name, rdtype))
        return self.answer


def present(*records, secure: bool = True) -> Answer:
    return Answer(Presence.PRESENT, secure, 60, records)


def ask(answer: Answer, address: str = ADDRESS, *, believed: Trust | None = None, at=NOW):
    dns = Dns(answer)
    found = Smimea(dns, believed or trust()).find(address, at)
    return found, [reason.code for reason in found.reasons], dns.asked


def test_the_owner_name_of_rfc8162():
    """The example of RFC 8162 section 3: hugh@example.com."""
    expected = "c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6._smimecert.example.com"
    assert owner_name("hugh@Example.com") == expected
    assert owner_name('"hugh"@example.com') == expected
    assert owner_name("Hugh@example.com") != expected


def test_the_local_part_is_hashed_as_utf8():
    digest = hashlib.sha256("zoë".encode()).hexdigest()[:56]
    assert owner_name("zoë@care.test") == f"{digest}._smimecert.care.test"
    digest = hashlib.sha256(b'a"b').hexdigest()[:56]
    assert owner_name('"a\\"b"@care.test') == f"{digest}._smimecert.care.test"


@pytest.mark.parametrize(
    "address", ["", "alice", "@care.test", "alice@", "alice@bad domain", "alice@[192.0.2.1]"]
)
def test_what_has_no_owner_name_is_not_asked(address):
    found, codes, asked = ask(present(), address)
    assert (found.certificate, codes, asked) == (None, [], [])


@pytest.mark.parametrize("usage", [DANE_EE, PKIX_EE])
def test_a_secure_record_is_used(usage):
    found, codes, asked = ask(present((usage, 0, 0, RSA.der)))
    assert found.certificate.certificate == RSA
    assert found.certificate.certificate_class == "personal"
    assert codes == ["certificate-smimea"]
    assert asked == [(owner_name(ADDRESS), "SMIMEA")]


def test_an_insecure_answer_is_not_used():
    found, codes, _ = ask(present((DANE_EE, 0, 0, RSA.der), secure=False))
    assert (found.certificate, codes, found.unknown) == (None, ["smimea-insecure"], False)


def test_no_answer_is_not_absence():
    """Invariant 7: UNKNOWN is not ABSENT."""
    found, codes, _ = ask(Answer(Presence.UNKNOWN, False, 0, reason="time-out"))
    assert (found.certificate, codes, found.unknown) == (None, ["smimea-unknown"], True)
    found, codes, _ = ask(Answer(Presence.ABSENT, True, 60))
    assert (found.certificate, codes, found.unknown) == (None, [], False)


@pytest.mark.parametrize(
    "form", [(0, 0, 0), (2, 0, 0), (3, 1, 0), (3, 0, 1), (3, 0, 2), (1, 1, 1), (255, 0, 0)]
)
def test_a_record_without_the_recipients_certificate_is_not_used(form):
    found, codes, _ = ask(present((*form, RSA.der)))
    assert (found.certificate, codes) == (None, ["smimea-other"])


def test_pkix_asks_for_path_and_address_and_dane_does_not():
    nobody = Trust([])
    assert ask(present((DANE_EE, 0, 0, RSA.der)), believed=nobody)[0].certificate is not None
    for address, believed in ((ADDRESS, nobody), ("bob@care.test", trust())):
        found, codes, _ = ask(present((PKIX_EE, 0, 0, RSA.der)), address, believed=believed)
        assert (found.certificate, codes) == (None, ["certificate-unusable"])


def test_expired_damaged_and_too_many_records():
    found, codes, _ = ask(present((DANE_EE, 0, 0, RSA.der)), at=later(days=9000))
    assert (found.certificate, codes) == (None, ["certificate-unusable"])
    found, codes, _ = ask(present((DANE_EE, 0, 0, b"\x30\x00"), (DANE_EE, 0, 0, RSA.der)))
    assert (found.certificate.certificate, codes) == (RSA, ["smimea-other", "certificate-smimea"])
    found, codes, _ = ask(present(*[(DANE_EE, 0, 0, b"")] * RECORD_LIMIT, (DANE_EE, 0, 0, RSA.der)))
    assert (found.certificate, len(codes)) == (None, RECORD_LIMIT)


@pytest.mark.parametrize(
    "answer",
    [
        present((DANE_EE, 0, 0, RSA.der)),
        Answer(Presence.ABSENT, True, 60),
        Answer(Presence.UNKNOWN, False, 0, reason="time-out"),
    ],
)
def test_an_answer_is_kept_absence_and_failure_too(answer):
    dns = Dns(answer)
    source = Smimea(dns, trust())
    assert source.find(ADDRESS, NOW) == source.find(ADDRESS, NOW)
    assert len(dns.asked) == 1
    source = Smimea(dns, trust(), ttl_cap=0, unknown_ttl=0)
    source.find(ADDRESS, NOW)
    source.find(ADDRESS, NOW)
    assert len(dns.asked) == 3


@given(st.text(max_size=40), st.binary(max_size=80), st.integers(0, 255), st.booleans())
def test_any_address_and_record_give_an_answer(address, data, usage, secure):
    answer = replace(present((usage, 0, 0, data)), secure=secure)
    found = Smimea(Dns(answer), trust()).find(address, NOW)
    assert found.certificate is None
