import importlib.util
import re
import subprocess
import sys

import pytest

from nta_milter.cli.main import parser
from nta_milter.config.describe import tables
from nta_milter.config.load import load
from tests.repo.tree import ROOT

MAN = ROOT / "packaging" / "man"
EXAMPLE = ROOT / "packaging" / "doc" / "nta-milter.toml.example"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_manual", MAN / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def sections(page: str, mark: str) -> dict[str, str]:
    """The text below each ``.SH`` or ``.SS`` line."""
    parts = re.split(rf"^\.{mark} (.*)\n", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def plain(roff: str) -> str:
    return re.sub(r"\\f[BIR]|\\&", "", roff).replace("\\-", "-").replace("\\e", "\\")


def test_the_committed_pages_and_example_are_the_generated_ones(build):
    stale = [path.name for path, content in build.pages().items() if path.read_text() != content]
    assert stale == [], "run packaging/man/build.py"


def test_every_option_of_every_command_stands_in_the_manual_page_and_the_other_way_round(build):
    page = (MAN / "nta-milter.1").read_text()
    documented = {
        plain(name): set(re.findall(r"^--?[a-z-]+", plain(text), re.MULTILINE))
        for name, text in sections(sections(page, "SH")["COMMANDS"], "SS").items()
    }
    existing = {
        " ".join(command.words[1:]): {
            option for action in command.arguments for option in action.option_strings[:1]
        }
        for command in build.commands(parser())
    }
    assert documented == existing


def test_every_argument_has_help(build):
    silent = [
        f"{' '.join(command.words)} {action.dest}"
        for command in build.commands(parser())
        for action in command.arguments
        if not action.help
    ]
    assert silent == []
    assert all(command.help or command.parser.description for command in build.commands(parser()))


def test_every_key_stands_in_the_manual_page_and_the_other_way_round():
    page = (MAN / "nta-milter.toml.5").read_text()
    documented = {
        plain(name): [plain(key) for key in re.findall(r"^\.TP\n(.*)", text, re.MULTILINE)]
        for name, text in sections(sections(page, "SH")["KEYS"], "SS").items()
    }
    existing = {
        table.heading if table.name else "Before the first table": [key.name for key in table.keys]
        for table in tables()
    }
    assert documented == existing


@pytest.mark.parametrize("page", sorted(path.name for path in MAN.glob("*.[158]")))
def test_a_page_is_formatted_without_a_warning(page):
    result = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-Kutf8", "-Tutf8", MAN / page], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_example_is_a_configuration_as_it_is():
    assert load(EXAMPLE).settings.policy.mode == "always"


def test_the_example_holds_every_key_and_all_of_them_load(tmp_path):
    text = re.sub(r"^#(?! |$)", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    (tmp_path / "c.toml").write_text(text)
    loaded = load(tmp_path / "c.toml")
    given = {re.sub(r"\[\d+\]", "", place) for place in loaded.origin}
    for table in tables():
        for key in table.keys:
            name = f"{table.name}.{key.name}" if table.name else key.name
            assert any(place == name or place.startswith(f"{name}.") for place in given), name
