import json

import pytest

from nta_milter.cli import doctor
from nta_milter.cli.main import main


@pytest.fixture
def folder(tmp_path):
    """A site whose folders are closed to others."""
    (tmp_path / "nta-milter.toml").write_text(
        f"""
[policy]
mode = "always"
[internal]
domains = ["care.test"]
[dns]
servers = ["127.0.0.1:9"]
timeout = 0.05
lifetime = 0.05
[routing]
postfix = "{tmp_path}/postfix"
[milter]
spool = "{tmp_path}/spool"
[smime]
keys = "{tmp_path}/keys"
certificates = "{tmp_path}/certificates"
trust = "{tmp_path}/trust"
"""
    )
    for name in ("postfix", "spool", "keys", "certificates", "trust"):
        (tmp_path / name).mkdir(mode=0o750)
    for name in ("main.cf", "master.cf"):
        (tmp_path / "postfix" / name).touch()
    return tmp_path


def found(folder, capsys):
    """The findings about folders: path, level and command."""
    assert main(["doctor", "--json", "--config", str(folder / "nta-milter.toml")]) == 1
    said = json.loads(capsys.readouterr().out)
    return {
        (each["text"].split(":")[0].split(" ")[0], each["level"], each["command"])
        for each in said
        if each["code"].startswith("folder")
    }


def test_closed_folders_are_no_finding(folder, capsys):
    assert found(folder, capsys) == set()


def test_folders_that_others_may_look_into_are_found_with_their_mend(folder, capsys):
    levels = {"keys": "fault", "spool": "fault", "certificates": "warning"}
    for name in levels:
        (folder / name).chmod(0o751)
    assert found(folder, capsys) == {
        (str(folder / name), level, f"chmod o= {folder / name}") for name, level in levels.items()
    }


def test_a_folder_that_is_missing_is_found(folder, capsys):
    (folder / "spool").rmdir()
    assert found(folder, capsys) == {(str(folder / "spool"), "fault", "")}


def test_a_key_file_that_the_user_of_the_milter_cannot_read_is_found(folder, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "USER", "nobody")
    for name, mode in (("of-root.p12", 0o640), ("of-all.p12", 0o644)):
        (folder / "keys" / name).touch()
        (folder / "keys" / name).chmod(mode)
    assert main(["doctor", "--json", "--config", str(folder / "nta-milter.toml")]) == 1
    said = [each for each in json.loads(capsys.readouterr().out) if each["code"] == "key-unreadable"]
    key = folder / "keys" / "of-root.p12"
    assert [each["command"] for each in said] == [f"chgrp nobody {key} && chmod g+r {key}"]
