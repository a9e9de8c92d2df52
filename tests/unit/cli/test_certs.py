from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from nta_milter.cli.main import main
from nta_milter.smime.directory import CertificateDirectory
from nta_milter.smime.harvest import HarvestStore, Outcome
from nta_milter.smime.trust import Trust
from tests.unit.smime.pki import AUTHORITY, PERSON, Pki, openssl
from tests.unit.worker.site import Site

AT = datetime.now(UTC) + timedelta(minutes=1)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def root(pki):
    return pki.issue("root", None, "p256", AUTHORITY, days=3650)


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "certificates").mkdir()
    (tmp_path / "c.toml").write_text(
        f'[policy]\nmode = "always"\n[smime]\ncertificates = "{tmp_path}/certificates"\n'
        f'harvested = "{tmp_path}/harvested"\n[audit]\nfile = "{tmp_path}/audit.jsonl"\n'
    )
    monkeypatch.setenv("NTA_MILTER_CONFIG", str(tmp_path / "c.toml"))
    return tmp_path


@pytest.fixture
def harvested(home, root):
    """Offers holders' certificates as verified signed mail would."""
    store = HarvestStore(home / "harvested")

    def offer(holder, address="alice@clinic.test"):
        return store.offer(address, holder.certificate, (), None, Trust([root.certificate]), AT).outcome

    return offer


def listed(capsys, *arguments: str) -> list[dict]:
    main(["certs", "list", "--json", *arguments])
    return json.loads(capsys.readouterr().out)


def test_nothing_known_is_a_no(home, capsys):
    assert main(["certs", "list"]) == 1
    assert capsys.readouterr().out == "no certificates\n"
    assert main(["certs", "forget", "alice@clinic.test"]) == 1
    assert main(["certs", "accept", "alice@clinic.test"]) == 1


def test_a_persons_and_a_gateways_certificate_are_added_listed_and_forgotten(
    home, pki, root, tmp_path, capsys
):
    alice = pki.issue("alice", root, "rsa", email="alice@clinic.test")
    gateway = pki.issue("gateway", root, email="domain-confidentiality-authority@clinic.test")
    der = tmp_path / "gateway.cer"
    openssl("x509", "-in", gateway.pem, "-outform", "DER", "-out", der)
    options = ["--cipher", "aes-256-gcm", "--key-transport", "oaep"]
    assert main(["certs", "add", "Alice@Clinic.test", str(alice.pem), *options]) == 0
    assert main(["certs", "add", "clinic.test", str(der), "--json"]) == 0
    capsys.readouterr()
    rows = {row["name"]: row for row in listed(capsys)}
    assert rows["alice@clinic.test"]["class"] == "configured"
    assert rows["alice@clinic.test"]["cipher"] == "aes-256-gcm"
    assert rows["alice@clinic.test"]["key_transport"] == "oaep"
    assert rows["clinic.test"]["class"] == "gateway"
    assert all(row["usable"] and row["state"] == "configured" for row in rows.values())
    assert [row["name"] for row in listed(capsys, "clinic.test")] == ["clinic.test"]
    late = (AT + timedelta(days=400)).isoformat()
    assert not any(row["usable"] for row in listed(capsys, "--at", late))
    main(["certs", "list"])
    assert "clinic.test: gateway: CN=gateway,O=Zorggroep Proef: valid (until " in capsys.readouterr().out
    directory = CertificateDirectory.load(home / "certificates")
    assert directory.find("alice@clinic.test", AT).certificate.certificate == alice.certificate
    assert directory.find("bob@clinic.test", AT).certificate.certificate == gateway.certificate
    assert main(["certs", "forget", "alice@clinic.test"]) == 0
    capsys.readouterr()
    assert [row["name"] for row in listed(capsys)] == ["clinic.test"]
    audit = (home / "audit.jsonl").read_text()
    assert audit.count('"certificate-set"') == 2
    assert audit.count('"certificate-removed"') == 1


def test_what_cannot_encrypt_or_names_another_is_refused(home, pki, root, tmp_path, capsys):
    bob = pki.issue("bob", root, email="bob@clinic.test")
    short = pki.issue("short", root, "rsa1024", email="alice@clinic.test")
    (tmp_path / "words").write_text("words")
    for name, file, status, expected in (
        ("alice@clinic.test", bob.pem, 1, "names bob@clinic.test and not alice@clinic.test"),
        ("care.test", bob.pem, 1, "names bob@clinic.test and not care.test"),
        ("alice@clinic.test", short.pem, 1, "RSA key of 1024 bits"),
        ("alice@clinic.test", tmp_path / "words", 2, "the file holds no certificate"),
        ("alice@clinic.test", tmp_path / "absent", 2, "cannot be read"),
        ("alice", bob.pem, 2, "is neither an address nor a domain"),
    ):
        assert main(["certs", "add", name, str(file)]) == status
        assert expected in capsys.readouterr().err
    assert list((home / "certificates").iterdir()) == []
    assert main(["certs", "add", "alice@clinic.test", str(bob.pem), "--other-name"]) == 0
    assert main(["certs", "add", "alice@clinic.test", str(bob.pem), "--other-name"]) == 2
    assert main(["certs", "add", "alice@clinic.test", str(bob.pem), "--other-name", "--replace"]) == 0


def test_a_waiting_certificate_is_listed_and_accepted(home, pki, root, harvested, capsys):
    first = pki.issue("first", root, email="alice@clinic.test")
    second = pki.issue("second", root, email="alice@clinic.test")
    assert harvested(first) is Outcome.KEPT
    assert harvested(second) is Outcome.PENDING
    assert [(row["state"], row["class"]) for row in listed(capsys)] == [
        ("kept", "personal"),
        ("pending", "personal"),
    ]
    assert main(["certs", "accept", "Alice@clinic.test"]) == 0
    capsys.readouterr()
    ((state, sha256),) = [(row["state"], row["sha256"]) for row in listed(capsys)]
    assert (state, sha256) == ("kept", second.certificate.fingerprint)
    assert main(["certs", "forget", "alice@clinic.test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "alice@clinic.test", "removed": True}
    assert listed(capsys) == []


# Revocation lists


def test_the_state_of_each_list_is_shown_and_fetched_at_once(home, pki, root, capsys):
    with Site().running() as site:
        named = f"{PERSON}\ncrlDistributionPoints=URI:{site.url}/root.crl"
        holder = pki.issue("listed", root, extensions=named, email="listed@clinic.test")
        revoked = pki.issue("revoked", root, email="revoked@clinic.test")
        for name in ("trust", "crls"):
            (home / name).mkdir()
        (home / "trust" / "root.pem").write_bytes(root.pem.read_bytes())
        (home / "certificates" / "listed@clinic.test.pem").write_bytes(holder.pem.read_bytes())
        assert main(["certs", "crls"]) == 2
        assert "smime.crls: names no folder" in capsys.readouterr().err
        text = (home / "c.toml").read_text()
        keys = f'trust = "{home}/trust"\ncrls = "{home}/crls"\ncrl_networks = ["127.0.0.0/8"]\n'
        (home / "c.toml").write_text(text.replace("[smime]\n", f"[smime]\n{keys}"))
        assert main(["certs", "crls"]) == 1
        assert capsys.readouterr().out == f"{site.url}/root.crl: missing; never fetched\n"
        site.answers["/root.crl"] = lambda handler: handler.reply(404)
        assert main(["certs", "crls", "--fetch"]) == 1
        assert "UTC: cannot be fetched: status 404" in capsys.readouterr().out
        data = pki.crl("cli", root, (revoked,)).read_bytes()
        site.answers["/root.crl"] = lambda handler: handler.reply(200, data)
        assert main(["certs", "crls", "--fetch"]) == 0
        assert f"{site.url}/root.crl: current; 1 revoked, of 20" in capsys.readouterr().out
    assert main(["certs", "crls", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["state"] == "current"
    assert row["issuer"] == root.certificate.subject
    assert row["revoked"] == 1
    assert row["error"] is None
    (home / "certificates" / "listed@clinic.test.pem").unlink()
    assert main(["certs", "crls"]) == 1
    assert capsys.readouterr().out == "no known certificate names a list\n"
