#!/usr/bin/env python3
"""Writes nta-milter(1) from the command line's parsers, nta-milter.toml(5) and its example from the model.

.venv/bin/python packaging/man/build.py            write them
.venv/bin/python packaging/man/build.py --check    say which of them are out of date; exit status 1 if any
"""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nta_milter import __version__
from nta_milter.cli.main import parser
from nta_milter.config.describe import Key, Table, tables, toml

HERE = Path(__file__).resolve().parent
PROGRAM = "nta-milter"
CONFIGURATION = "/etc/nta-milter/nta-milter.toml"


@dataclass(frozen=True)
class Command:
    """One command that can be given: its words, its parser and its line of help."""

    words: tuple[str, ...]
    parser: argparse.ArgumentParser
    help: str

    @property
    def arguments(self) -> list[argparse.Action]:
        return [
            action
            for action in self.parser._actions
            if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        ]


def commands(top: argparse.ArgumentParser, words: tuple[str, ...] = (PROGRAM,)) -> Iterator[Command]:
    """Every command below a parser, in the order in which they were added."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, below in action.choices.items():
                inner = list(commands(below, (*words, name)))
                yield from inner or [Command((*words, name), below, helps.get(name, ""))]


def roff(text: str) -> str:
    """Text as troff takes it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("^", "\\(ha")
    text = text.replace("~", "\\(ti").replace("'", "\\(aq").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith((".", "\\(aq")) else text


def sentence(text: str) -> str:
    """The text as a sentence of its own."""
    text = text.strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."


def capital(text: str) -> str:
    """The text with a capital letter first, unless it begins with a name of the configuration."""
    first = text.split(" ", 1)[0]
    return text if "_" in first or ":" in first else text[:1].upper() + text[1:]


def value_name(action: argparse.Action) -> str:
    """What stands for an argument's value, with its repetition; empty for a switch."""
    if action.nargs == 0:
        return ""
    name = action.metavar or (
        "{" + ",".join(str(choice) for choice in action.choices) + "}"
        if action.choices
        else action.dest.upper()
    )
    if not isinstance(name, str):
        return " ".join(name)
    if action.nargs is None:
        return name
    if isinstance(action.nargs, int):
        return " ".join([name] * action.nargs)
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}[action.nargs]


def usage(command: Command) -> str:
    """The command with its arguments, required ones without brackets."""
    parts = [f"\\fB{roff(' '.join(command.words))}\\fR"]
    positional = [action for action in command.arguments if not action.option_strings]
    for action in (a for a in command.arguments if a.option_strings):
        value = value_name(action)
        option = f"\\fB{roff(action.option_strings[-1])}\\fR" + (f" \\fI{roff(value)}\\fR" if value else "")
        parts.append(option if action.required else f"[{option}]")
    parts += [f"\\fI{roff(value_name(action))}\\fR" for action in positional]
    return " ".join(parts)


def argument(action: argparse.Action) -> Iterator[str]:
    """An argument's paragraph."""
    value = value_name(action)
    names = ", ".join(f"\\fB{roff(option)}\\fR" for option in action.option_strings)
    heading = " ".join(part for part in (names, f"\\fI{roff(value)}\\fR" if value else "") if part)
    yield ".TP"
    yield heading
    yield roff(sentence(capital((action.help or "").replace("%(default)s", str(action.default)))))


def title(name: str, section: int) -> str:
    """The title, without a date so that a page changes with its content only; no adjusting of long names."""
    line = f'.TH {name.upper()} {section} "" "nta\\-milter {__version__}" "nta\\-milter manual"'
    return f"{line}\n.ad l\n.nh"


def command_page() -> str:
    """nta-milter(1)."""
    top = parser()
    found = list(commands(top))
    lines = [
        '.\\" Written by packaging/man/build.py: change the parsers of nta_milter/cli, not this.',
        title(roff(PROGRAM), 1),
        ".SH NAME",
        "nta\\-milter \\- secure e\\-mail for health care on Postfix (NTA 7516)",
        ".SH SYNOPSIS",
    ]
    for command in found:
        lines += [usage(command), ".br"]
    lines += [
        "\\fBnta\\-milter \\-\\-version\\fR | \\fB\\-\\-help\\fR",
        ".SH DESCRIPTION",
        "nta\\-milter looks at the mail that passes a Postfix. Outbound mail with health data leaves only",
        "as S/MIME or over mandatory DANE; what cannot leave so is refused, for the time being or for good,",
        "with the reason. Inbound S/MIME is opened with the keys of the organisation.",
        ".PP",
        "Every command explains its options with \\fB\\-\\-help\\fR.",
        ".SH OPTIONS",
    ]
    for action in top._actions:
        if action.option_strings:
            lines += argument(action)
    lines.append(".SH COMMANDS")
    for command in found:
        lines += [f".SS {roff(' '.join(command.words[1:]))}", usage(command), ".PP"]
        lines.append(roff(sentence(capital(command.parser.description or command.help))))
        for action in command.arguments:
            lines += argument(action)
    lines += [
        ".SH EXIT STATUS",
        *_definitions(
            ("0", "Fine."),
            ("1", "The answer is no: refused, not compliant, not valid."),
            ("2", "The command line or the configuration is wrong; each mistake is named on standard error."),
            ("75", "A temporary failure: the same command may succeed later."),
        ),
        ".SH ENVIRONMENT",
        *_definitions(
            (
                "NTA_MILTER_CONFIG",
                f"The configuration file, where no option names one; {CONFIGURATION} if unset.",
            ),
            ("CREDENTIALS_DIRECTORY", "Folder of secrets, set by systemd (LoadCredential=)."),
        ),
        ".SH FILES",
        *_definitions(
            (CONFIGURATION, "The configuration, see nta-milter.toml(5)."),
            ("/etc/nta-milter/conf.d/*.toml", "Drop-ins, read after it in the order of their names."),
        ),
        ".SH SEE ALSO",
        "\\fBnta\\-milter.toml\\fR(5), \\fBpostconf\\fR(5); MILTER_README of Postfix",
    ]
    return "\n".join(lines) + "\n"


def _definitions(*pairs: tuple[str, str]) -> Iterator[str]:
    for term, text in pairs:
        yield ".TP"
        yield f"\\fB{roff(term)}\\fR"
        yield roff(text)


def configuration_page() -> str:
    """nta-milter.toml(5)."""
    lines = [
        '.\\" Written by packaging/man/build.py: change nta_milter/config/model.py, not this file.',
        title(roff(f"{PROGRAM}.toml"), 5),
        ".SH NAME",
        "nta\\-milter.toml \\- configuration of nta\\-milter",
        ".SH DESCRIPTION",
        "The configuration is a TOML file: the one that \\fB\\-\\-config\\fR names, otherwise the one that",
        "the environment variable \\fBNTA_MILTER_CONFIG\\fR names, otherwise",
        f"\\fI{roff(CONFIGURATION)}\\fR.",
        "Then the drop\\-ins \\fIconf.d/*.toml\\fR beside it are read in the order of their names: a key of",
        "a later file replaces the same key of an earlier one; arrays of tables, such as [[rules]], are",
        "appended.",
        ".PP",
        "A key that is left out has its default. One key has none: \\fBmode\\fR of [policy], since the",
        "organisation must choose which mail counts as sensitive. Paths are absolute.",
        ".PP",
        "\\fBnta\\-milter config check\\fR names every mistake with its line;",
        "\\fBnta\\-milter config show\\fR prints what is in force and where each value came from.",
        ".SH KEYS",
    ]
    for table in tables():
        lines.append(f".SS {roff(table.heading if table.name else 'Before the first table')}")
        if table.name:
            repeated = " The table may be given several times." if table.array else ""
            lines.append(roff(sentence(capital(table.text)) + repeated))
        for key in table.keys:
            lines += [".TP", f"\\fB{roff(key.name)}\\fR"]
            lines += [roff(sentence(capital(key.text))), ".br", roff(sentence(capital(_rule(key))))]
    lines += [
        ".SH EXAMPLE",
        "The shortest configuration:",
        ".PP",
        ".nf",
        "[policy]",
        roff('mode = "content"'),
        ".fi",
        ".SH SEE ALSO",
        "\\fBnta\\-milter\\fR(1)",
    ]
    return "\n".join(lines) + "\n"


def _rule(key: Key) -> str:
    """What a key may hold and what it holds when left out."""
    if key.required:
        return f"{key.allowed}. It must be given"
    default = "none" if key.default is None else toml(key.default)
    example = f"; example: {key.example}" if key.example else ""
    return f"{key.allowed}. Default: {default}{example}"


def example_file() -> str:
    """nta-milter.toml.example: every key, with its meaning; those with a default are commented out."""
    lines = [
        "# Configuration of nta-milter; every key is explained in nta-milter.toml(5) too.",
        "# A line that begins with # and a key shows the default, or an example where the default is empty.",
    ]
    for table in tables():
        lines += ["", *_wrapped(table.text if table.name else "before the first table")]
        if table.name:
            lines.append(("#" if table.array else "") + table.heading)
        for key in table.keys:
            lines += _wrapped(f"{key.name}: {sentence(key.text)} {sentence(capital(key.allowed))}")
            lines.append(_assignment(table, key))
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="#   ", break_long_words=False)


def _assignment(table: Table, key: Key) -> str:
    if key.required and not table.array:
        return f"{key.name} = {_example(key)}"
    return f"#{key.name} = {_example(key)}"


def _example(key: Key) -> str:
    if key.example is not None:
        return key.example
    if not key.required:
        return toml(key.default)
    choices = getattr(key.hint, "__args__", ())
    return toml(choices[0]) if choices else toml(f"a {key.name}")


def pages() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    return {
        HERE / "nta-milter.1": command_page(),
        HERE / "nta-milter.toml.5": configuration_page(),
        HERE.parent / "doc" / "nta-milter.toml.example": example_file(),
    }


def main() -> int:
    """Write the files, or with ``--check`` print what is out of date."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--check", action="store_true", help="write nothing, print the differences")
    check = options.parse_args().check
    stale = 0
    for path, content in pages().items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == content:
            continue
        stale = 1
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    old.splitlines(keepends=True), content.splitlines(keepends=True), str(path), "generated"
                )
            )
        else:
            path.write_text(content, encoding="utf-8")
            print(f"wrote {path}")
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main())
