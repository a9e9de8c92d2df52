from __future__ import annotations

import io
import json
import shutil
import stat
from datetime import UTC, datetime, timedelta

import pytest

from nta_milter.cli.main import main
from tests.unit.smime.pki import AUTHORITY, PERSON, Pki, openssl

PASSWORD = "sleutelbos-42"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def root(pki):
    return pki.issue("root", None, "p256", AUTHORITY, days=3650)


@pytest.fixture
def home(tmp_path, monkeypatch, root):
    for folder in ("keys", "trust"):
        (tmp_path / folder).mkdir()
    (tmp_path / "trust" / "root.pem").write_bytes(root.pem.read_bytes())
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "password").chmod(0o600)
    configure(tmp_path)
    monkeypatch.setenv("NTA_MILTER_CONFIG", str(tmp_path / "c.toml"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return tmp_path


def configure(home, bindings: str = "") -> None:
    (home / "c.toml").write_text(
        f'[policy]\nmode = "always"\n[internal]\ndomains = ["care.test"]\n'
        f'[smime]\nkeys = "{home}/keys"\ntrust = "{home}/trust"\n{bindings}'
        f'[secrets]\nkeys_password = "{home}/password"\n[audit]\nfile = "{home}/audit.jsonl"\n'
    )


def put(home, file, name=None) -> None:
    target = home / "keys" / (name or file.name)
    shutil.copy(file, target)
    target.chmod(0o640)


def listed(capsys, *arguments: str) -> dict:
    main(["keys", "list", "--json", *arguments])
    return json.loads(capsys.readouterr().out)


def findings(capsys, *arguments: str) -> list[tuple[str, str]]:
    main(["keys", "check", "--json", *arguments])
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is all(each["level"] != "fault" for each in report["findings"])
    return [(each["level"], f"{each['subject']}: {each['text']}") for each in report["findings"]]


def after(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def test_an_empty_folder_is_a_no(home, capsys):
    assert main(["keys", "list"]) == 1
    assert capsys.readouterr().out.startswith("no key files in /")
    assert listed(capsys)["keys"] == []


def test_keys_are_listed_with_a_forecast(home, pki, root, capsys):
    put(
        home,
        pki.pkcs12("gateway", pki.issue("gateway", root, "rsa", email="info@care.test", days=40), PASSWORD),
    )
    assert main(["keys", "list"]) == 0
    assert "signs and opens for info@care.test: valid (until " in capsys.readouterr().out
    for days, stage, forecast in (
        (0, "valid", {"expired": 0, "7": 0, "14": 0, "30": 0}),
        (11, "expires-within-30", {"expired": 0, "7": 0, "14": 0, "30": 1}),
        (27, "expires-within-14", {"expired": 0, "7": 0, "14": 1, "30": 1}),
        (34, "expires-within-7", {"expired": 0, "7": 1, "14": 1, "30": 1}),
        (41, "expired", {"expired": 1, "7": 0, "14": 0, "30": 0}),
    ):
        report = listed(capsys, "--at", after(days))
        (key,) = report["keys"]
        assert (key["stage"], report["forecast"]) == (stage, forecast)
        assert key["addresses"] == ["info@care.test"]
        assert (key["signs"], key["opens"], key["successor"]) == (True, True, None)
        assert 38 - days <= key["days_left"] <= 40 - days


def test_one_bad_file_does_not_hide_the_others(home, pki, root, capsys):
    good = pki.issue("good", root, email="info@care.test")
    put(home, pki.pkcs12("good", good, PASSWORD))
    put(home, pki.pkcs12("other", good, "another"))
    assert main(["keys", "list"]) == 1
    out = capsys.readouterr().out
    assert "good.p12: CN=good" in out
    assert "other.p12: no known password fits" in out
    report = listed(capsys)
    assert [key["file"] for key in report["keys"]] == ["good.p12"]
    assert [error["file"] for error in report["errors"]] == ["other.p12"]


def test_a_healthy_folder_has_no_findings(home, pki, root, capsys):
    put(home, pki.pkcs12("healthy", pki.issue("healthy", root, "rsa", email="info@care.test"), PASSWORD))
    assert findings(capsys) == []
    assert main(["keys", "check"]) == 0
    assert capsys.readouterr().out == "every key is in order\n"


def test_check_names_every_fault(home, pki, root, capsys):
    put(home, pki.pkcs12("unbound", pki.issue("unbound", root), PASSWORD))
    put(home, pki.pkcs12("stranger", pki.issue("s", pki.root("s-root"), email="a@clinic.test"), PASSWORD))
    put(home, pki.pkcs12("web", pki.issue("web", root, "p256", "extendedKeyUsage=serverAuth"), PASSWORD))
    put(home, pki.pkcs12("open", pki.issue("open", root, email="b@clinic.test"), PASSWORD))
    (home / "keys" / "open.p12").chmod(0o644)
    (home / "keys" / "bad.p12").write_bytes(b"words")
    (home / "keys" / "bad.p12").chmod(0o640)
    configure(home, 'bindings = { "absent.p12" = ["@care.test"] }\n')
    found = "\n".join(f"{level} {text}" for level, text in findings(capsys))
    for expected in (
        "fault absent.p12: smime.bindings names this file",
        "fault bad.p12: neither a PKCS#12 nor a PEM file",
        "fault open.p12: has mode 0644",
        "fault unbound.p12: CN=unbound,O=Zorggroep Proef: is bound to no address",
        "fault web.p12: CN=web,O=Zorggroep Proef: is neither for signing nor for encrypting mail",
        "warning stranger.p12: CN=s,O=Zorggroep Proef: would not be believed",
        "warning care.test: no key is valid now",
    ):
        assert expected in found
    assert main(["keys", "check"]) == 1


def test_expiry_is_a_warning_then_a_fault_until_a_successor_is_there(home, pki, root, capsys):
    old = pki.issue("old", root, "rsa", email="info@care.test", days=40)
    put(home, pki.pkcs12("old", old, PASSWORD))
    assert findings(capsys, "--at", after(5)) == []
    ((level, text),) = findings(capsys, "--at", after(15))
    assert level == "warning"
    assert "nothing follows it: nta-milter keys request" in text
    assert [level for level, _ in findings(capsys, "--at", after(35))] == ["fault"]
    found = findings(capsys, "--at", after(45))
    assert [level for level, _ in found] == ["fault", "warning"]
    put(home, pki.pkcs12("new", pki.issue("new", root, "rsa", email="info@care.test", days=400), PASSWORD))
    assert findings(capsys, "--at", after(35)) == []
    assert findings(capsys, "--at", after(45)) == []
    assert listed(capsys)["keys"][1]["successor"] == "new.p12"


def test_import_with_the_known_password(home, pki, root, capsys):
    file = pki.pkcs12("in", pki.issue("in", root, email="info@care.test"), PASSWORD)
    assert main(["keys", "import", str(file), "--name", "gateway"]) == 0
    out = capsys.readouterr().out
    assert "CN=in" in out
    assert "It opens and signs for info@care.test." in out
    target = home / "keys" / "gateway.p12"
    assert target.read_bytes() == file.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [path.name for path in (home / "keys").iterdir()] == ["gateway.p12"]
    assert '"key-imported"' in (home / "audit.jsonl").read_text()
    assert findings(capsys) == []


def test_import_keeps_another_password_beside_it(home, pki, root, tmp_path, capsys):
    file = pki.pkcs12("mine", pki.issue("mine", root, email="info@care.test"), "andere")
    (tmp_path / "pw").write_text("andere\n")
    assert main(["keys", "import", str(file), "--password-file", str(tmp_path / "pw"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["addresses"] == ["info@care.test"]
    beside = home / "keys" / "mine.password"
    assert beside.read_bytes() == b"andere\n"
    assert stat.S_IMODE(beside.stat().st_mode) == 0o640
    assert findings(capsys) == []


def test_import_refuses_a_wrong_password_and_writes_nothing(home, pki, root, tmp_path, capsys):
    file = pki.pkcs12("refused", pki.issue("refused", root), "andere")
    assert main(["keys", "import", str(file)]) == 2
    assert f"{file}: needs a password: --password-file FILE; nothing was imported" in capsys.readouterr().err
    (tmp_path / "pw").write_text("fout")
    assert main(["keys", "import", str(file), "--password-file", str(tmp_path / "pw")]) == 2
    assert f"{file}: the password is wrong; nothing was imported" in capsys.readouterr().err
    assert list((home / "keys").iterdir()) == []


def test_import_refuses_what_is_no_key_file(home, pki, root, tmp_path, capsys):
    lone = pki.issue("lone", root)
    for content, expected in (
        (b"words", "neither a PKCS#12 nor a PEM file"),
        (lone.pem.read_bytes(), "has no private key, and none in"),
        (lone.key.read_bytes(), "has no certificate in the file"),
    ):
        (tmp_path / "x.pem").write_bytes(content)
        assert main(["keys", "import", str(tmp_path / "x.pem")]) == 2
        assert expected in capsys.readouterr().err
    assert main(["keys", "import", str(tmp_path / "absent")]) == 2
    assert "absent: cannot be read" in capsys.readouterr().err
    assert main(["keys", "import", str(lone.pem), "--name", "../x"]) == 2
    assert list((home / "keys").iterdir()) == []


def test_import_replaces_only_when_told(home, pki, root, capsys):
    file = pki.pkcs12("twice", pki.issue("twice", root, email="info@care.test"), PASSWORD)
    assert main(["keys", "import", str(file)]) == 0
    assert main(["keys", "import", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["keys", "import", str(file), "--replace"]) == 0


@pytest.mark.parametrize("kind", ["rsa-2048", "p256"])
def test_from_request_to_key(home, pki, root, kind, tmp_path, capsys):
    """The request goes to openssl as the authority; what it issues is imported with the key made here."""
    assert main(["keys", "request", "Info@care.test", "--type", kind, "--organisation", "Zorggroep"]) == 0
    out = capsys.readouterr().out
    folder = home / "keys" / "requests"
    request, key = folder / "info@care.test.csr", folder / "info@care.test.key"
    assert str(request) in out
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in key.read_bytes()
    text = openssl("req", "-in", request, "-noout", "-text", "-verify").decode()
    for expected in ("email:info@care.test", "E-mail Protection", "O = Zorggroep", "Digital Signature"):
        assert expected in text
    (tmp_path / "ext").write_text(f"{PERSON}\nsubjectAltName=email:info@care.test\n")
    openssl(
        "x509", "-req", "-in", request, "-CA", root.pem, "-CAkey", root.key, "-days", 90,
        "-extfile", tmp_path / "ext", "-out", tmp_path / "issued.pem",
    )  # fmt: skip
    openssl("x509", "-in", tmp_path / "issued.pem", "-outform", "DER", "-out", tmp_path / "issued.cer")
    assert main(["keys", "import", str(tmp_path / "issued.cer"), "--name", "info"]) == 0
    assert not key.exists()
    capsys.readouterr()
    assert findings(capsys) == []
    assert listed(capsys)["keys"][0]["file"] == "info.pem"
    assert [event in (home / "audit.jsonl").read_text() for event in ("key-made", "key-imported")] == [
        True,
        True,
    ]


def test_a_request_for_a_gateway_asks_for_the_names_of_rfc3183(home, capsys):
    assert main(["keys", "request", "care.test", "--type", "p256", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["emails"] == ["domain-confidentiality-authority@care.test"]
    text = openssl("req", "-in", report["request"], "-noout", "-text").decode()
    assert "email:domain-confidentiality-authority@care.test, DNS:care.test" in text
    assert main(["keys", "request", "care.test", "--type", "p256"]) == 2
    assert "--replace throws that key away" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["care", "@care.test", "a b@care.test", "../x@care.test", "é@care.test", ""])
def test_a_request_for_no_address_is_refused(home, name, capsys):
    assert main(["keys", "request", name, "--type", "p256"]) == 2
    assert "is neither an address nor a domain" in capsys.readouterr().err
    assert list((home / "keys").iterdir()) == []
