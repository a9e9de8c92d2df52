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
    "check",
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
)
"""Modules of this package; each has ``register(commands)``, which adds its commands."""


def parser() -> argparse.ArgumentParser:
    """The whole command line; the manual page is checked against it."""
    top = argparse.ArgumentParser(
        prog="nta-milter", description="Secure e-mail for health care on Postfix (NTA 7516)."
    )
    top.add_argument("--version", action="version", version=f"nta-milter {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for family in FAMILIES:
        importlib.import_module(f"nta_milter.cli.{family}").register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 = fine, 1 = the answer is no, 2 = usage or configuration, 75 = temporary."""
    try:
        parsed = parser().parse_args(arguments)
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
