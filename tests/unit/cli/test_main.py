"""One family of commands is loaded, not all: a service has no room in memory that it must not use."""

import subprocess
import sys

import pytest

SHOW = """
import sys
from nta_milter.cli.main import main
try:
    main({arguments!r})
except SystemExit:
    pass
print(*sorted(m for m in sys.modules if m.startswith("nta_milter.")))
"""


def loaded(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(arguments=list(arguments))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["portal", "recipients", "config"])
def test_invariant_10_the_portal_and_its_commands_load_no_smime(command):
    modules = loaded(command, "--help")
    assert f"nta_milter.cli.{command}" in modules
    assert not {module for module in modules if module.startswith("nta_milter.smime")}


def test_every_command_is_there_when_none_is_named():
    assert {"nta_milter.cli.run", "nta_milter.cli.smime", "nta_milter.cli.portal"} <= loaded("--help")


def test_a_command_of_another_familys_module():
    assert "nta_milter.cli.store" in loaded("migrate", "--help")
