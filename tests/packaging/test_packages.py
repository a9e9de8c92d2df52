"""What is in the packages, and in the wheel that pip makes."""

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.packaging.machine import ROOT
from tests.repo.tree import files

PROGRAM = {str(path) for path in files() if path.parts[0] == "nta_milter"}


@pytest.fixture(scope="module")
def contents(packages):
    """The paths in each package, without the leading slash."""
    listed = {}
    for file in packages:
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", file], capture_output=True, check=True)
        names = subprocess.run(["tar", "-t"], input=done.stdout, capture_output=True, check=True).stdout
        listed[file.name.split("_")[0]] = {name.removeprefix("./") for name in names.decode().split("\n")}
    return listed


def test_the_wheel_has_every_file_of_the_program(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(
        [
            "cp",
            "-a",
            *(ROOT / name for name in ("nta_milter", "pyproject.toml", "README.md", "LICENSE")),
            source,
        ],
        check=True,
    )
    subprocess.run(
        ["/usr/bin/python3", "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source],
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(wheel).namelist()) >= PROGRAM


def test_the_package_has_every_file_of_the_program(contents):
    there = {name.removeprefix("usr/lib/python3/dist-packages/") for name in contents["nta-milter"]}
    assert there >= PROGRAM


def test_services_tables_and_manual_are_in_their_packages(contents):
    for name in ("nta-milter.service", "nta-worker.service", "nta-worker.socket"):
        assert f"lib/systemd/system/{name}" in contents["nta-milter"]
    for name in ("nta-portal.service", "nta-portal.socket"):
        assert f"lib/systemd/system/{name}" in contents["nta-portal"]
    for path in files():
        if path.parts[:2] == ("packaging", "postfix"):
            assert f"usr/share/nta-milter/{path.relative_to('packaging')}" in contents["nta-milter"]
    assert "usr/share/nta-portal/nginx/nta-portal.conf" in contents["nta-portal"]
    assert {"usr/share/man/man8/nta-milter.8.gz", "usr/share/man/man1/nta-milter.1.gz"} <= contents[
        "nta-milter"
    ]


def test_every_document_is_installed(contents):
    documents = {
        path.relative_to("packaging/doc") for path in files() if path.parts[:2] == ("packaging", "doc")
    }
    documents.remove(Path("CHANGELOG.md"))  # Debian's changelog.gz
    assert {Path(name) for name in ("install.md", "norm.md", "gebruiker.md", "user.md")} <= documents
    there = contents["nta-milter"]
    assert [str(path) for path in documents if f"usr/share/doc/nta-milter/{path}" not in there] == []
    assert "usr/share/doc/nta-milter/changelog.gz" in there


def test_lintian_has_nothing_to_say(packages):
    done = subprocess.run(
        ["lintian", "--no-cfg", "--allow-root", "--fail-on", "error,warning", *packages],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_override_of_lintian_is_explained():
    overrides = list((ROOT / "packaging" / "debian").glob("*.lintian-overrides"))
    assert len(overrides) == 2
    for path in overrides:
        lines = path.read_text().splitlines()
        tags = [number for number, line in enumerate(lines) if not line.startswith("#")]
        assert tags
        assert all(number and lines[number - 1].startswith("#") for number in tags), path


def test_what_we_need_of_python_is_asked_of_debian_too():
    control = (ROOT / "packaging" / "debian" / "control").read_text()
    needed = re.findall(
        r'^ {4}"(\w+)>=([\d.]+)",$', (ROOT / "pyproject.toml").read_text().split("optional")[0], re.M
    )
    assert len(needed) >= 8
    names = {"pymilter": "milter", "pyOpenSSL": "openssl"}
    for name, version in needed:
        assert f"python3-{names.get(name, name.lower())} (>= {version})" in control
