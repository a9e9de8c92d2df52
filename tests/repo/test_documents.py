import os
import re

import pytest

from tests.repo.tree import ROOT, files

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
NAMED = re.compile(r"`((?:nta_milter|packaging|tests|systemd|\.ci)/[\w./-]*)[^`]*`")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_every_file_that_a_document_names_exists(path):
    named = NAMED.findall((ROOT / path).read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


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
