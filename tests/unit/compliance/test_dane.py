"""One host, by every combination of answers that matters."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.compliance.dane import RECORD_LIMIT, examine_host, show, tlsa_fault, tlsa_name
from nta_milter.lookup.answer import Answer, Presence

HOST = "mx.hospital.test"
DIGEST = (3, 1, 1, b"\xab" * 32)


def present(*records, secure=True, canonical=HOST):
    return Answer(Presence.PRESENT, secure, 300, records, canonical)


def absent(secure=True):
    return Answer(Presence.ABSENT, secure, 60)


def unknown(why="SERVFAIL, dnssec bogus (6)"):
    return Answer(Presence.UNKNOWN, False, 0, reason=why)


def examined(name=HOST, **answers):
    """The report, and the questions that were asked; names of TLSA owners are given by their host."""
    asked = []
    table = {("A", HOST): absent(), ("AAAA", HOST): absent(), **answers.pop("more", {})}
    for key, answer in answers.items():
        table[key, HOST] = answer

    def ask(owner, rdtype):
        asked.append((rdtype, owner.removeprefix("_25._tcp.")))
        return table[asked[-1]]

    return examine_host(name, ask), asked


def codes(report):
    return [reason.code for reason in report.reasons]


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    begin = datetime.datetime(2026, 1, 1)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=900))
        .sign(key, hashes.SHA256())
    )


def test_a_host_is_usable_when_addresses_and_tlsa_are_secure():
    report, asked = examined(A=present("192.0.2.1"), TLSA=present(DIGEST))
    assert (report.usable, report.secure, codes(report)) == (True, True, [])
    assert report.tlsa == ("3 1 1 " + "ab" * 32,)
    assert asked == [("A", HOST), ("TLSA", HOST)]


def test_a_host_with_only_ipv6_is_usable():
    report, _ = examined(AAAA=present("2001:db8::1"), TLSA=present(DIGEST))
    assert report.usable


@pytest.mark.parametrize(
    ("answers", "secure", "code"),
    [
        ({}, True, "address-absent"),
        ({"A": absent(False), "AAAA": absent(False)}, False, "address-absent"),
        ({"A": present("192.0.2.1", secure=False)}, False, "address-insecure"),
        ({"AAAA": present("2001:db8::1", secure=False)}, False, "address-insecure"),
        ({"A": present("192.0.2.1", secure=False, canonical="x.test")}, False, "alias-insecure"),
        ({"A": unknown()}, None, "address-unknown"),
        ({"AAAA": unknown()}, None, "address-unknown"),
        ({"A": present("192.0.2.1"), "TLSA": absent()}, True, "tlsa-absent"),
        ({"A": present("192.0.2.1"), "TLSA": absent(False)}, False, "tlsa-absent"),
        ({"A": present("192.0.2.1"), "TLSA": present(DIGEST, secure=False)}, False, "tlsa-insecure"),
        ({"A": present("192.0.2.1"), "TLSA": unknown()}, None, "tlsa-unknown"),
        ({"A": present("192.0.2.1"), "TLSA": present((1, 1, 1, b"x" * 32))}, True, "tlsa-unusable"),
    ],
)
def test_a_host_is_not_usable(answers, secure, code):
    report, _ = examined(**answers)
    assert not report.usable
    assert report.secure is secure
    assert codes(report)[0] == code


def test_what_cannot_be_known_says_why():
    report, _ = examined(A=present("192.0.2.1"), TLSA=unknown("SERVFAIL, signature expired (7)"))
    assert "signature expired" in report.reasons[0].text


@pytest.mark.parametrize(
    "name", ["", "mx.hospital.test.", "192.0.2.1", "mx", "m x.test", "_mx.hospital.test"]
)
def test_nothing_is_asked_about_what_is_no_host_name(name):
    report, asked = examined(name)
    assert (codes(report), asked, report.usable) == (["host-invalid"], [], False)


class TestAnAlias:
    TARGET = "real.hospital.test"
    ADDRESS = present("192.0.2.1", canonical=TARGET)

    def test_the_targets_records_count_first(self):
        report, asked = examined(A=self.ADDRESS, more={("TLSA", self.TARGET): present(DIGEST)})
        assert report.usable
        assert ("TLSA", HOST) not in asked

    @pytest.mark.parametrize("answer", [absent(), absent(False), present(DIGEST, secure=False)])
    def test_without_secure_ones_there_those_at_the_name_count(self, answer):
        own = (3, 1, 1, b"\xcd" * 32)
        report, _ = examined(A=self.ADDRESS, TLSA=present(own), more={("TLSA", self.TARGET): answer})
        assert report.tlsa == (show(own),)
        assert report.usable

    def test_unknown_there_is_unknown(self):
        report, asked = examined(A=self.ADDRESS, more={("TLSA", self.TARGET): unknown()})
        assert codes(report) == ["tlsa-unknown"]
        assert ("TLSA", HOST) not in asked

    def test_nowhere_any_is_absent(self):
        report, _ = examined(A=self.ADDRESS, TLSA=absent(), more={("TLSA", self.TARGET): absent()})
        assert codes(report) == ["tlsa-absent"]


class TestTlsaRecords:
    @pytest.mark.parametrize(
        "record",
        [(usage, selector, matching, b"x" * length)
         for usage in (2, 3) for selector in (0, 1) for matching, length in ((1, 32), (2, 64))],
    )  # fmt: skip
    def test_a_digest_of_the_right_length_can_be_used(self, record):
        assert tlsa_fault(record) == ""

    @pytest.mark.parametrize(
        ("record", "fault"),
        [
            ((0, 1, 1, b"x" * 32), "usage 0"),
            ((1, 1, 1, b"x" * 32), "usage 1"),
            ((4, 1, 1, b"x" * 32), "usage 4"),
            ((255, 1, 1, b"x" * 32), "usage 255"),
            ((3, 2, 1, b"x" * 32), "selector 2"),
            ((3, 1, 3, b"x" * 32), "matching type 3"),
            ((3, 1, 1, b""), "0 bytes of digest instead of 32"),
            ((3, 1, 1, b"x" * 31), "31 bytes of digest instead of 32"),
            ((3, 1, 1, b"x" * 64), "64 bytes of digest instead of 32"),
            ((3, 1, 2, b"x" * 32), "32 bytes of digest instead of 64"),
            ((3, 0, 0, b"x" * 32), "no certificate in DER"),
            ((3, 1, 0, b""), "no public key in DER"),
        ],
    )
    def test_a_record_that_mail_cannot_use(self, record, fault):
        assert tlsa_fault(record) == fault

    def test_whole_certificates_and_keys_are_read(self):
        own = certificate()
        key = own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert tlsa_fault((3, 0, 0, own.public_bytes(Encoding.DER))) == ""
        assert tlsa_fault((3, 1, 0, key)) == ""
        assert tlsa_fault((3, 1, 0, own.public_bytes(Encoding.DER))) == "no public key in DER"
        assert tlsa_fault((3, 0, 0, key)) == "no certificate in DER"

    def test_one_usable_record_suffices_and_the_others_are_remarks(self):
        report, _ = examined(A=present("192.0.2.1"), TLSA=present((0, 0, 1, b"x" * 32), DIGEST))
        assert report.usable
        assert codes(report) == ["tlsa-record-ignored"]

    def test_many_records_are_not_all_listed(self):
        many = [(3, 1, 1, bytes([n]) * 32) for n in range(60)] + [
            (0, 1, 1, bytes([n]) * 32) for n in range(60)
        ]
        report, _ = examined(A=present("192.0.2.1"), TLSA=present(*sorted(many)))
        assert report.usable
        assert len(report.tlsa) == RECORD_LIMIT
        assert len(report.reasons) <= RECORD_LIMIT

    def test_long_data_are_shortened(self):
        assert len(show((3, 0, 0, b"x" * 60_000))) < 200

    @given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=80))
    def test_whatever_is_published_is_usable_or_has_a_fault(self, usage, selector, matching, data):
        fault = tlsa_fault((usage, selector, matching, data))
        if not fault:
            assert usage in (2, 3)
            assert selector in (0, 1)
            assert (matching, len(data)) in ((1, 32), (2, 64)) or matching == 0


def test_the_owner_of_tlsa_records():
    assert tlsa_name("mx.hospital.test") == "_25._tcp.mx.hospital.test"
