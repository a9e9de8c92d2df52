"""What the documents name: tests and commands, and which of them there are."""

import argparse
import ast
import re
import shlex
from functools import cache

from nta_milter.cli.main import parser
from tests.repo.tree import parsed, python

PROGRAM = "nta-milter"

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_INLINE = re.compile(r"`(nta-milter\s[^`]*)`")
_LINE = re.compile(r"^ {0,8}(?:[\w./-]*/|\$ |# )?(nta-milter [a-z-].*)$", re.MULTILINE)
_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def named_tests(page: str) -> list[tuple[str, str]]:
    """File and function of each test that a page names as ``FILE::TEST``."""
    return _TEST.findall(page)


@cache
def existing_tests() -> frozenset[tuple[str, str]]:
    """File and function of every test that there is."""
    return frozenset(
        (str(path), node.name)
        for path in python("tests")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def named_commands(page: str) -> list[str]:
    """Each command line of ours on a page: between backquotes, or a line of a block."""
    blocks = [line for block in _BLOCK.findall(page) for line in _LINE.findall(block)]
    inline = [" ".join(command.split()) for command in _INLINE.findall(_BLOCK.sub("", page))]
    return [*inline, *blocks]


_parser = cache(parser)


def fault_of(command: str) -> str:
    """What no parser of ours would take in a command line; empty when it is one of ours, or begins one."""
    name, *words = shlex.split(command.split(" | ")[0], comments=True)
    assert name == PROGRAM
    current = _parser()
    while (below := _families(current)) and words and not words[0].startswith("-"):
        word = words.pop(0)
        if word not in below:
            return f"{word!r} is no command"
        current = below[word]
    known = {option for action in current._actions for option in action.option_strings}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"{' '.join(unknown)} is no option" if unknown else ""


def _families(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: below
        for action in of._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, below in action.choices.items()
    }
