"""Packages built once, and a machine for each release of Debian in which they are installed."""

import os
import subprocess

import pytest

from tests.packaging.machine import CHECKOUT, RELEASES, ROOT, Machine

SHORT = ("12",)


def releases() -> tuple[str, ...]:
    """Every release in the long form, the floor in the short one."""
    return tuple(RELEASES) if os.environ.get("NTA_MILTER_TESTS") == "all" else SHORT


def pytest_collection_modifyitems(items):
    here = os.fspath(ROOT / "tests" / "packaging")
    for item in items:
        if os.fspath(item.path).startswith(here):
            item.add_marker(pytest.mark.packaging)


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """The files that packaging/build-deb makes."""
    folder = tmp_path_factory.mktemp("packages")
    done = subprocess.run([ROOT / "packaging" / "build-deb", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return sorted(folder.glob("*.deb"))


@pytest.fixture(scope="module", params=releases())
def machine(request, packages):
    """A machine with our packages in /root, not installed, and the laboratory in CHECKOUT."""
    with Machine(request.param) as booted:
        booted.copy(*packages, to="/root")
        booted.copy(ROOT / "tests", to=CHECKOUT)
        booted.copy(ROOT / "packaging" / "postfix", to=f"{CHECKOUT}/packaging")
        yield booted
