"""What a verified signature leaves for the worker: where the lists about its certificate are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from nta_milter.config.model import PolicySettings, Settings, SmimeSettings
from nta_milter.inbound.harvest import note_lists
from nta_milter.message.headers import split
from nta_milter.smime.distribution import NOTED, noted
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.open import open_message
from nta_milter.smime.trust import Trust
from tests.unit.smime.pki import AUTHORITY, PERSON, Pki, openssl

NAMED = "crlDistributionPoints=URI:http://crl.care.test/"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def root(pki):
    return pki.root()


@pytest.fixture(scope="module")
def middle(pki, root):
    return pki.issue("middle", root, extensions=f"{AUTHORITY}\n{NAMED}root.crl")


@pytest.fixture(scope="module")
def signed(pki, middle):
    holder = pki.issue(
        "alice", middle, extensions=f"{PERSON}\n{NAMED}middle.crl,URI:ldap://x/", email="alice@care.test"
    )
    text = b"Content-Type: text/plain\r\n\r\nhoi\r\n"
    (pki.folder / "text").write_bytes(text)
    words = ("cms", "-sign", "-in", pki.folder / "text", "-signer", holder.pem, "-inkey", holder.key)
    return b"From: alice@care.test\n" + openssl(*words, "-certfile", middle.pem)


def opened(mail, *anchors):
    data = mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    headers, start = split(data)
    at = datetime.now(UTC) + timedelta(minutes=1)
    trust = Trust([holder.certificate for holder in anchors])
    return open_message(headers, data[start:], KeyRing(), trust, at=at)


def snapshot(folder, *, fetch=True):
    smime = SmimeSettings(crls=folder, fetch_crls=fetch)
    return SimpleNamespace(settings=Settings(policy=PolicySettings(mode="always"), smime=smime))


def test_a_trusted_signer_is_noted_with_the_path_once(signed, root, middle, tmp_path):
    found = opened(signed, root)
    assert found.signature == "good"
    note_lists(found, snapshot(tmp_path))
    note_lists(found, snapshot(tmp_path))
    [(file, chain)] = noted(tmp_path)
    assert file.suffix == NOTED
    assert chain == (found.layers[0].signer, middle.certificate)


def test_nobody_else_is_noted(pki, signed, root, tmp_path):
    stranger = pki.root("stranger")
    note_lists(opened(signed, stranger), snapshot(tmp_path))
    note_lists(opened(signed.replace(b"hoi", b"hee"), root), snapshot(tmp_path))
    note_lists(opened(signed, root), snapshot(tmp_path, fetch=False))
    note_lists(opened(signed, root), snapshot(None))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_keeps_no_mail(signed, root, tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    note_lists(opened(signed, root), snapshot(tmp_path / "file" / "crls"))
    assert "event=crl-not-noted" in caplog.text
