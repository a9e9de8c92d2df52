import json

import pytest

from nta_milter.cli.main import main
from nta_milter.config.load import ENVIRONMENT, load


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "nta-milter.toml"
    path.write_text(
        'mode = "shadow"\n'
        '[policy]\nmode = "content"\npatient_number = \'\\bP-\\d{7}\\b\'\nwords = ["é \\" \\\\"]\n'
        '[dns]\ntimeout = 0.5\n[[rules]]\nname = "a"\nrecipient = "@hospital.test"\n[[rules]]\nname = "b"\n'
        '[smime.bindings]\n"a b.p12" = ["@care.test", "x@care.test"]\n[secrets]\nkeys_password = "/x y"\n'
        '[internal]\ndomains = ["care.test"]\n'
    )
    monkeypatch.setenv(ENVIRONMENT, str(path))
    return path


def test_check_says_that_there_are_no_mistakes(file, capsys):
    assert main(["config", "check"]) == 0
    first, *absent = capsys.readouterr().out.splitlines()
    assert first == f"{file}: no mistakes"
    assert "not there yet, or not for you to see: smime.keys: /etc/nta-milter/keys" in absent


def test_check_says_what_is_named_and_is_not_there(file, tmp_path, capsys):
    for name in ("keys", "certificates", "trust", "spool", "postfix"):
        (tmp_path / name).mkdir()
    file.write_text(
        "policy.mode = 'always'\ninternal.domains = ['care.test']\n"
        f"milter.spool = '{tmp_path}/spool'\nrouting.postfix = '{tmp_path}/postfix'\n[smime]\n"
        + "".join(f"{name} = '{tmp_path}/{name}'\n" for name in ("keys", "certificates", "trust"))
    )
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == f"{file}: no mistakes\n"
    (tmp_path / "keys").rmdir()
    assert main(["config", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["absent"] == {"smime.keys": f"{tmp_path}/keys"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policy.mode = 'always'\n", "internal.domains: must name at least one domain"),
        (
            "policy.mode = 'always'\ninternal.domains = ['care.test']\nstore.url = '/var/lib/store'\n",
            "store.url: is not a database URL such as sqlite:////path",
        ),
    ],
)
def test_check_names_what_would_keep_a_service_from_starting(file, capsys, text, words):
    file.write_text(text)
    assert main(["config", "check"]) == 2
    assert words in capsys.readouterr().err


def test_check_names_each_mistake_on_a_line(file, tmp_path, capsys):
    (tmp_path / "bad.toml").write_text("mode = 1\nmood = 2\n[policy]\nmode = 'marked'\n")
    assert main(["config", "check", str(tmp_path / "bad.toml")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"nta-milter: {tmp_path}/bad.toml:1: mode: a whole number is not allowed, "
        'only one of "enforce", "shadow"',
        f"nta-milter: {tmp_path}/bad.toml:2: mood: unknown key; did you mean mode?",
    ]


def test_check_compiles_words_and_patterns_too(file, tmp_path, capsys):
    bad = tmp_path / "bad.toml"
    bad.write_text(f"[policy]\nmode = 'content'\nword_files = ['{tmp_path}/absent']\n")
    assert main(["config", "check", str(bad)]) == 2
    assert f"{tmp_path}/absent" in capsys.readouterr().err
    bad.write_text("[policy]\nmode = 'content'\npatient_number = '(a+)+'\n")
    assert main(["config", "check", str(bad)]) == 2
    assert "patient_number" in capsys.readouterr().err


def test_check_reports_to_programs_as_json(file, tmp_path, capsys):
    assert main(["config", "check", "--json", str(file)]) == 0
    assert {**json.loads(capsys.readouterr().out), "absent": {}} == {
        "files": [str(file)],
        "problems": [],
        "absent": {},
    }
    assert main(["config", "check", "--json", str(tmp_path)]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "files": [],
        "problems": [{"where": str(tmp_path), "text": "is not a regular file"}],
        "absent": {},
    }


def test_show_tells_value_unit_and_origin(file, capsys):
    assert main(["config", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f'mode = "shadow"  # {file}:1' in lines
    assert f"timeout = 0.5  # s; {file}:7" in lines
    assert "lifetime = 3.0  # s; default" in lines
    assert f'bindings = {{ "a b.p12" = ["@care.test", "x@care.test"] }}  # {file}:14' in lines
    assert lines.count("[[rules]]") == 2


def test_what_show_prints_is_a_configuration_with_the_same_settings(file, tmp_path, capsys):
    assert main(["config", "show"]) == 0
    (tmp_path / "copy.toml").write_text(capsys.readouterr().out)
    assert load(tmp_path / "copy.toml").settings == load(file).settings


def test_show_as_json_has_every_key_by_its_dotted_name(file, tmp_path, capsys):
    drop_in = tmp_path / "conf.d" / "10.toml"
    drop_in.parent.mkdir()
    drop_in.write_text('[smime.bindings]\nb = ["@b.test"]\n[[rules]]\nname = "c"\nsize_limit = 5\n')
    assert main(["config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["policy.mode"] == {"value": "content", "unit": None, "origin": f"{file}:3"}
    assert shown["rules[2].size_limit"] == {"value": 5, "unit": "bytes", "origin": f"{drop_in}:5"}
    assert shown["rules[0].size_limit"] == {"value": 0, "unit": "bytes", "origin": "default"}
    assert shown["smime.bindings"]["origin"] == f"{file}:14, {drop_in}:2"
    assert shown["dns.trusted"]["value"] == ["127.0.0.0/8", "::1/128"]
    assert shown["listeners[2].side"] == {"value": "ntamx", "unit": None, "origin": "default"}


def test_show_of_a_file_with_mistakes_is_refused(file, capsys):
    file.write_text("[policy]\n")
    assert main(["config", "show"]) == 2
    assert "policy.mode is missing" in capsys.readouterr().err
