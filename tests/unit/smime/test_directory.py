from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CertificateError, KeyStoreError
from nta_milter.smime.certificate import RecipientCertificate
from nta_milter.smime.directory import (
    CertificateDirectory,
    Found,
    Reason,
    entry_file,
    entry_name,
    format_entry,
    parse_entry,
)

from .persons import NOW, person

EXPIRED = datetime(2047, 1, 1, tzinfo=UTC)


def codes(found: Found) -> list[str]:
    return [reason.code for reason in found.reasons]


class Source:
    """A personal source with one answer; it notes what it was asked."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.asked: list[str] = []

    def find(self, address: str, at: datetime) -> Found:
        self.asked.append(address)
        return self.found


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "alice@care.test.pem").write_bytes(person("p256").certificate.pem())
    (tmp_path / "Care.test.pem").write_bytes(person("gateway").certificate.pem())
    (tmp_path / "notes.txt").write_text("words")
    return tmp_path


def test_the_persons_own_goes_before_the_gateways(folder):
    directory = CertificateDirectory.load(folder)
    found = directory.find("Alice@CARE.test", NOW)
    assert found.certificate == RecipientCertificate(person("p256").certificate)
    assert codes(found) == ["certificate-configured"]
    found = directory.find("bob@care.test", NOW)
    assert found.certificate.certificate_class == "gateway"
    assert found.certificate.certificate == person("gateway").certificate
    assert found.reasons[0].text == "configured for the gateway of care.test, valid until 2046-01-01"
    found = directory.find("bob@sub.care.test", NOW)
    assert found == Found(
        None, (Reason("certificate-none", "no certificate is known for bob@sub.care.test"),)
    )


def test_an_expired_certificate_is_not_used_and_said(folder):
    found = CertificateDirectory.load(folder).find("alice@care.test", EXPIRED)
    assert found.certificate is None
    assert codes(found) == ["certificate-unusable", "certificate-unusable"]
    assert "expired on 2046-01-01" in found.reasons[0].text


def test_personal_sources_are_asked_last_and_in_order(folder):
    personal = RecipientCertificate(person("rsa").certificate, certificate_class="personal")
    first = Source(Found(None, (Reason("smimea-unknown", "no answer"),), unknown=True))
    second = Source(Found(personal, (Reason("certificate-harvested", "kept"),)))
    directory = CertificateDirectory.load(folder, (first, second))
    assert directory.find("alice@care.test", NOW).certificate.certificate_class == "configured"
    assert first.asked == second.asked == []
    found = directory.find("Bob@clinic.test", NOW)
    assert found.certificate is personal
    assert first.asked == second.asked == ["Bob@clinic.test"]
    assert codes(found) == ["smimea-unknown", "certificate-harvested"]
    assert CertificateDirectory({}, (first,)).find("bob@clinic.test", NOW).unknown


def test_options_before_the_certificate(tmp_path):
    file = tmp_path / "alice@care.test.pem"
    certificate = person("rsa").certificate
    file.write_bytes(b"cipher: AES-256-GCM\r\nKey-Transport: oaep\nBound-Keys: yes\n" + certificate.pem())
    (entry,) = CertificateDirectory.load(tmp_path).entries["alice@care.test"]
    assert entry == RecipientCertificate(certificate, "oaep", "aes-256-gcm", "configured", True)
    assert parse_entry(format_entry(entry), "configured") == (entry,)
    for wrong, expected in (
        (b"Cipher: 3des\n", "Cipher: 3des is not one of"),
        (b"Key-Transport: x\n", "neither"),
        (b"Bound-Keys: maybe\n", "neither yes nor no"),
    ):
        file.write_bytes(wrong + certificate.pem())
        with pytest.raises(KeyStoreError, match=rf"alice@care\.test\.pem: .*{expected}"):
            CertificateDirectory.load(tmp_path)


def test_of_several_certificates_a_usable_one_is_taken(tmp_path):
    signing, encrypting = person("ed25519").certificate, person("x25519").certificate
    (tmp_path / "alice@care.test.pem").write_bytes(signing.pem() + encrypting.pem())
    found = CertificateDirectory.load(tmp_path).find("alice@care.test", NOW)
    assert found.certificate.certificate == encrypting
    assert codes(found) == ["certificate-unusable", "certificate-configured"]


def test_what_cannot_be_loaded_names_the_file(tmp_path):
    with pytest.raises(KeyStoreError, match="absent: there is no such folder"):
        CertificateDirectory.load(tmp_path / "absent")
    (tmp_path / "x@care.test.pem").write_bytes(b"words")
    with pytest.raises(KeyStoreError, match=r"x@care\.test\.pem: the file holds no PEM certificate"):
        CertificateDirectory.load(tmp_path)
    for name in ("x@care.test.pem", "X@care.test.pem"):
        (tmp_path / name).write_bytes(person("p256").certificate.pem())
    with pytest.raises(KeyStoreError, match=r"two files for x@care\.test"):
        CertificateDirectory.load(tmp_path)


@given(st.text(min_size=1, max_size=30))
def test_a_name_leads_to_a_file_in_the_folder_and_back(name):
    file = entry_file(Path("/folder"), name)
    assert file.parent == Path("/folder")
    assert "/" not in file.name
    assert "\0" not in file.name
    assert not file.name.startswith(".")
    assert entry_name(file) == name.lower()


@given(
    st.lists(st.sampled_from([b"Cipher: ", b"aes-256-gcm", b"\n", b"Key-Transport: oaep\n", b"\xff"])),
    st.binary(),
)
def test_any_text_is_an_entry_or_a_certificate_error(pieces, tail):
    text = b"".join(pieces) + tail
    with pytest.raises(CertificateError):
        parse_entry(text, "personal")
    (entry,) = parse_entry(tail.replace(b"-", b"") + b"\n" + person("p256").certificate.pem(), "personal")
    assert entry.certificate == person("p256").certificate


@pytest.mark.parametrize(
    ("file", "address"),
    [
        ("care.test", "bob@CARE.test."),
        ("xn--brger-kva.test", "bob@bürger.test"),
        ("bürger.test", "bob@xn--brger-kva.test"),
        ("bob@xn--brger-kva.test", "Bob@BÜRGER.test"),
    ],
)
def test_a_domain_is_found_however_it_is_written(tmp_path, file, address):
    (tmp_path / f"{file}.pem").write_bytes(person("p256").certificate.pem())
    assert CertificateDirectory.load(tmp_path).find(address, NOW).certificate is not None
