from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from asn1crypto import cms
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import KeyStoreError
from nta_milter.smime.directory import CertificateDirectory
from nta_milter.smime.harvest import HarvestStore, Outcome, parse_capabilities, write_atomically
from nta_milter.smime.sign import CAPABILITIES
from nta_milter.smime.trust import Trust

from .pki import AUTHORITY, PERSON, Pki, openssl

AT = datetime.now(UTC) + timedelta(hours=1)
ALICE = "Alice@care.test"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def root(pki):
    return pki.issue("root", None, "p256", AUTHORITY, days=3650)


@pytest.fixture(scope="module")
def alice(pki, root):
    return pki.issue("alice", root, "rsa", email="alice@care.test", days=100)


@pytest.fixture
def store(tmp_path):
    return HarvestStore(tmp_path / "harvested")


@pytest.fixture
def offer(store, root):
    def _offer(holder, *others, address=ALICE, capabilities=None, at=AT):
        trust = Trust([root.certificate])
        brought = [other.certificate for other in others]
        return store.offer(address, holder.certificate, brought, capabilities, trust, at)

    return _offer


def test_the_first_certificate_is_kept_and_found(store, offer, alice):
    assert store.find(ALICE, AT).certificate is None
    assert offer(alice, capabilities=CAPABILITIES).outcome is Outcome.KEPT
    found = CertificateDirectory({}, (store,)).find("alice@CARE.test", AT)
    assert found.certificate.certificate == alice.certificate
    assert found.certificate.certificate_class == "personal"
    assert (found.certificate.cipher, found.certificate.key_transport) == ("aes-256-gcm", "oaep")
    assert [reason.code for reason in found.reasons] == ["certificate-harvested"]
    assert store.find("bob@care.test", AT).certificate is None
    assert stat.S_IMODE((store.folder / "alice@care.test.pem").stat().st_mode) == 0o640


def test_the_same_again_changes_nothing_but_what_it_reads(store, offer, alice):
    offer(alice)
    assert offer(alice).outcome is Outcome.KNOWN
    assert store.find(ALICE, AT).certificate.cipher is None
    assert offer(alice, capabilities=CAPABILITIES).outcome is Outcome.KEPT
    assert store.find(ALICE, AT).certificate.cipher == "aes-256-gcm"


def test_a_changed_key_waits_for_an_administrator(store, offer, pki, root, alice):
    offer(alice)
    other = pki.issue("alice-other", root, "p256", email="alice@care.test", days=300)
    result = offer(other)
    assert result.outcome is Outcome.PENDING
    assert "its key differs" in result.reason
    found = store.find(ALICE, AT)
    assert found.certificate.certificate == alice.certificate
    assert [reason.code for reason in found.reasons] == ["certificate-pending", "certificate-harvested"]
    assert [name for name, _ in store.entries("pending")] == ["alice@care.test"]
    assert store.accept(ALICE).certificate == other.certificate
    assert store.find(ALICE, AT).certificate.certificate == other.certificate
    assert store.entries("pending") == ()
    assert store.accept(ALICE) is None
    assert [entry.certificate for _, entry in store.entries()] == [other.certificate]


def test_a_changed_key_is_kept_when_the_old_one_has_expired(store, offer, pki, root, alice):
    offer(alice)
    other = pki.issue("alice-later", root, "p256", email="alice@care.test", days=300)
    assert offer(other, at=AT + timedelta(days=101)).outcome is Outcome.KEPT


def test_a_new_certificate_for_the_same_key_is_kept_and_an_old_one_does_not_come_back(
    store, offer, pki, root, alice
):
    offer(alice)
    renewed = pki.issue("alice-renewed", root, "rsa", email="alice@care.test", days=400, key=alice.key)
    assert offer(renewed).outcome is Outcome.KEPT
    assert store.find(ALICE, AT).certificate.certificate == renewed.certificate


def test_what_is_not_trusted_for_the_address_or_cannot_encrypt_is_refused(store, offer, pki, root):
    stranger = pki.root("stranger")
    for holder, expected in (
        (pki.issue("under-stranger", stranger, email="alice@care.test"), "local issuer"),
        (pki.issue("bob", root, email="bob@care.test"), "no certificate that encrypts for its sender"),
        (pki.issue("web", root, "p256", "extendedKeyUsage=serverAuth", email="alice@care.test"), "e-mail"),
        (pki.issue("ed", root, "ed25519", email="alice@care.test"), "cannot encrypt"),
        (pki.issue("sha1", root, "rsa", email="alice@care.test", digest="sha1"), "signed with sha1"),
    ):
        result = offer(holder)
        assert result.outcome is Outcome.REFUSED
        assert expected in result.reason
    assert store.entries() == ()


def test_the_encryption_certificate_beside_a_signing_one_is_taken(store, offer, pki, root):
    signing = pki.issue("dual-sign", root, "ed25519", email="alice@care.test")
    usage = PERSON + "\nkeyUsage=keyAgreement"
    encrypting = pki.issue("dual-encrypt", root, "x25519", usage, email="alice@care.test")
    noise = pki.issue("dual-noise", root, "p256", email="bob@care.test")
    assert offer(signing, noise, encrypting).entry.certificate == encrypting.certificate


def test_an_address_is_forgotten_with_what_waits(store, offer, pki, root, alice):
    offer(alice)
    offer(pki.issue("alice-third", root, "p256", email="alice@care.test"))
    assert store.forget(ALICE)
    assert not store.forget(ALICE)
    assert store.find(ALICE, AT).certificate is None
    assert store.entries("pending") == ()


def test_a_damaged_file_is_said_and_not_used(store, offer, alice):
    offer(alice)
    (store.folder / "alice@care.test.pem").write_bytes(b"words")
    found = store.find(ALICE, AT)
    assert found.certificate is None
    assert "holds no PEM certificate" in found.reasons[0].text
    with pytest.raises(KeyStoreError):
        offer(alice)


def test_many_writers_leave_one_whole_file(tmp_path):
    file = tmp_path / "x"
    texts = [bytes([letter]) * 10_000 for letter in b"abcd"]
    threads = [Thread(target=lambda t=text: [write_atomically(file, t) for _ in range(5)]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_bytes() in texts
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_names_the_file(tmp_path):
    (tmp_path / "folder").write_bytes(b"")
    with pytest.raises(KeyStoreError, match="folder/x: cannot be written"):
        write_atomically(tmp_path / "folder" / "x", b"")


def test_an_address_too_long_for_a_file_is_an_error_of_ours(offer, pki, root):
    address = "é" * 64 + "@care.test"
    names = f"[names]\notherName.1=1.3.6.1.5.5.7.8.9;FORMAT:UTF8,UTF8:{address}"
    holder = pki.issue("long", root, "p256", f"{PERSON}\nsubjectAltName=@names\n{names}")
    assert holder.certificate.emails == (address,)
    with pytest.raises(KeyStoreError, match="File name too long"):
        offer(holder, address=address)


def test_the_capabilities_that_openssl_writes(tmp_path, alice):
    (tmp_path / "in").write_bytes(b"proef\n")
    openssl(
        "cms", "-sign", "-in", tmp_path / "in", "-signer", alice.pem, "-inkey", alice.key,
        "-outform", "DER", "-out", tmp_path / "out",
    )  # fmt: skip

    attributes = cms.ContentInfo.load((tmp_path / "out").read_bytes())["content"]["signer_infos"][0][
        "signed_attrs"
    ]
    (found,) = [a for a in attributes if a["type"].dotted == "1.2.840.113549.1.9.15"]
    assert parse_capabilities(found["values"][0].dump()) == ("v15", "aes-256-cbc", False)


def test_no_or_damaged_capabilities_prove_nothing():
    for data in (None, b"", b"\x30", b"\x31\x00", b"\x30\x02\x02\x00", CAPABILITIES[:-1], b"\x30" * 9000):
        assert parse_capabilities(data) == ("v15", None, False)
    assert parse_capabilities(CAPABILITIES) == ("oaep", "aes-256-gcm", True)


@given(st.binary(max_size=60))
def test_any_capabilities_are_read_or_prove_nothing(data):
    transport, cipher, bound = parse_capabilities(data)
    assert bound in (False, True)
    assert transport in ("v15", "oaep")
    assert cipher is None or cipher.startswith("aes-")
