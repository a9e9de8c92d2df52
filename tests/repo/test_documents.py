import os
import re

import pytest

from tests.repo.pages import existing_tests, fault_of, named_commands, named_tests
from tests.repo.tree import ROOT, files

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
NAMED = re.compile(r"`((?:nta_milter|packaging|tests|systemd|\.ci)/[\w./-]*)[^`]*`")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_file_that_a_document_names_exists(path):
    named = NAMED.findall((ROOT / path).read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_test_that_a_document_names_exists(path):
    named = named_tests((ROOT / path).read_text(encoding="utf-8"))
    assert [test for test in named if test not in existing_tests()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_command_that_a_document_names_exists_with_its_options(path):
    named = named_commands((ROOT / path).read_text(encoding="utf-8"))
    assert [(command, fault) for command in named if (fault := fault_of(command))] == []


@pytest.mark.parametrize(
    ("page", "faults"),
    [
        ("run `nta-milter doctor --json`", [""]),
        ("run `nta-milter record --check` or `nta-milter keys`", ["", ""]),
        ("```sh\nnta-milter check hospital.test\necho x | nta-milter nothing\n```", [""]),
        ("run `nta-milter docter`", ["'docter' is no command"]),
        ("```\nnta-milter store initt\n```", ["'initt' is no command"]),
        ("run `nta-milter message list --sendre a@care.test`", ["--sendre is no option"]),
    ],
)
def test_a_command_that_does_not_exist_is_seen(page, faults):
    assert [fault_of(command) for command in named_commands(page)] == faults


def test_the_readme_names_every_document():
    pages = {path for path in files() if path.parent.parts == ("packaging", "doc")}
    assert [str(path) for path in sorted(pages) if f"`{path}`" not in README] == []


def test_the_two_commands_of_the_readme_stand_alone_and_can_be_run():
    blocks = re.findall(r"^```\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
    assert blocks[:2] == ["packaging/quickstart", "tests/run --ci"]
    for block in blocks[:2]:
        assert os.access(ROOT / block.split()[0], os.X_OK)


def test_ci_runs_the_test_command_of_the_readme():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "exec tests/run --ci"


def test_every_script_that_is_run_by_its_name_is_executable():
    # dpkg makes maintainer scripts executable itself
    commands = [
        path
        for path in files()
        if (not path.suffix or path.parts[0] == "packaging") and path.parts[:2] != ("packaging", "debian")
    ]
    scripts = [path for path in commands if (ROOT / path).read_bytes()[:2] == b"#!"]
    assert [str(path) for path in scripts if not os.access(ROOT / path, os.X_OK)] == []
    assert len(scripts) > 3
