"""The entry point: parses the command line and turns errors into exit statuses."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from nta_milter import __version__
from nta_milter.cli.options import EXIT_NO, EXIT_TEMPORARY, EXIT_USAGE
from nta_milter.errors import ConfigurationError, NtaMilterError, TemporaryError

FAMILIES: tuple[str, ...] = (
    "run",
    "explain",
    "doctor",
    "status",
    "check",
    "cache",
    "record",
    "config",
    "keys",
    "certs",
    "smime",
    "portal",
    "recipients",
    "message",
    "worker",
    "store",
    "audit",
    "outbox",
)
"""Modules of this package, named as their command; ``register(commands)`` adds it."""

MORE = {"migrate": "store"}
"""Commands that another family adds besides its own."""


def parser(families: Sequence[str] = FAMILIES) -> argparse.ArgumentParser:
    """The command line of some families, or the whole; the manual page is checked against the whole."""
    top = argparse.ArgumentParser(
        prog="nta-milter", description="Secure e-mail for health care on Postfix (NTA 7516)."
    )
    top.add_argument("--version", action="version", version=f"nta-milter {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for family in families:
        importlib.import_module(f"nta_milter.cli.{family}").register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 = fine, 1 = the answer is no, 2 = usage or configuration, 75 = temporary."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        # One family is imported, not all: a service loads no room that it must not use.
        named = MORE.get(given[0], given[0]) if given else ""
        parsed = parser((named,) if named in FAMILIES else FAMILIES).parse_args(given)
        status: int = parsed.run(parsed)
    except NtaMilterError as error:
        for line in error.diagnostics().split("\n"):
            print(f"nta-milter: {line}", file=sys.stderr)
        if isinstance(error, ConfigurationError):
            return EXIT_USAGE
        return EXIT_TEMPORARY if isinstance(error, TemporaryError) else EXIT_NO
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_NO
    return status


if __name__ == "__main__":
    sys.exit(main())
