import json

import pytest

from nta_milter.cli.main import main
from nta_milter.portal.factors import code
from nta_milter.store import migrations
from nta_milter.store.blobs import FileBlobs
from nta_milter.store.database import Database
from nta_milter.store.keys import PublicKeys, new_key_pair
from nta_milter.store.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    (tmp_path / "public").mkdir()
    for service in ("portal", "worker"):
        (tmp_path / "public" / f"{service}.pem").write_bytes(new_key_pair()[1])
    (tmp_path / "c.toml").write_text(
        '[policy]\nmode = "always"\n[portal]\nsms_command = ["/bin/true"]\n'
        f'[store]\nurl = "sqlite:///{tmp_path}/s"\nblobs = "{tmp_path}"\n'
        f'public = "{tmp_path}/public"\n[audit]\nfile = "{tmp_path}/audit.jsonl"\n'
    )
    monkeypatch.setenv("NTA_MILTER_CONFIG", str(tmp_path / "c.toml"))
    database = Database(f"sqlite:///{tmp_path}/s")
    migrations.migrate(database)
    opened = Store.of(database, FileBlobs(tmp_path), PublicKeys.load(tmp_path / "public"))
    yield opened
    opened.close()


def test_a_code_from_a_file_is_kept_as_a_hash(store, tmp_path, capsys):
    (tmp_path / "code").write_text("roos-fiets-47\n")
    assert main(["recipients", "add", "Jan@Citizen.test", "--code-file", str(tmp_path / "code")]) == 0
    (factor,) = store.access.factors("jan@citizen.test")
    assert factor.kind == "code"
    assert code.matches("Roos Fiets 47", factor.value)
    assert not code.matches("roos-fiets-48", factor.value)
    assert "roos" not in factor.value
    assert store.access.can_prove("JAN@citizen.test")
    assert capsys.readouterr().out == "jan@citizen.test: code set\n"
    assert '"factor-set"' in (tmp_path / "audit.jsonl").read_text()


def test_a_telephone_number_is_kept_as_e164(store, capsys):
    assert main(["recipients", "add", "jan@citizen.test", "--phone", "06-123 456 78", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["phone"] == "+31612345678"
    assert store.access.factors("jan@citizen.test")[0].value == "+31612345678"
    assert not store.access.can_prove("jan@citizen.test")


def test_without_a_program_that_sends_codes_no_number_is_kept(store, tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text(config.read_text().replace("sms_command", "# sms_command"))
    assert main(["recipients", "add", "jan@citizen.test", "--phone", "+31612345678"]) == 2
    assert "portal.sms_command: is empty" in capsys.readouterr().err
    assert store.access.all_factors() == ()


def test_what_is_known_is_listed_and_removed(store, tmp_path, capsys):
    (tmp_path / "code").write_text("roos-fiets-47")
    assert main(["recipients", "list"]) == 1
    main(["recipients", "add", "jan@citizen.test", "--code-file", str(tmp_path / "code")])
    main(["recipients", "add", "jan@citizen.test", "--phone", "+31612345678"])
    capsys.readouterr()
    assert main(["recipients", "list", "jan@citizen.test", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in listed] == ["code", "phone"]
    assert "scrypt" not in json.dumps(listed)
    assert main(["recipients", "list"]) == 0
    assert "scrypt" not in capsys.readouterr().out
    assert main(["recipients", "remove", "jan@citizen.test", "--kind", "phone"]) == 0
    assert main(["recipients", "remove", "jan@citizen.test"]) == 0
    assert main(["recipients", "remove", "jan@citizen.test"]) == 1
    assert store.access.all_factors() == ()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "jan", "--phone", "+31612345678"], "is not an e-mail address"),
        (["add", "jan@citizen.test", "--phone", "12"], "is not a telephone number"),
        (["add", "jan@citizen.test", "--code-file", "/nowhere/code"], "cannot be read"),
        (["add", "jan@citizen.test", "--code-file", "weak"], "is too easy to guess"),
        (["add", "jan@citizen.test", "--code-file", "two"], "more than one line"),
        (["add", "jan@citizen.test", "--code-file", "latin"], "is not UTF-8"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(store, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weak").write_text("12345678")
    (tmp_path / "two").write_text("roos-fiets-47\nroos-fiets-48\n")
    (tmp_path / "latin").write_bytes(b"roos-fi\xe9ts-47")
    assert main(["recipients", *words]) == 2
    assert said in capsys.readouterr().err
    assert store.access.all_factors() == ()
