"""Options and exit statuses that the command families share."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from nta_milter.config.load import DEFAULT_FILE, ENVIRONMENT, Loaded, load

EXIT_NO = 1
"""The answer is no."""
EXIT_USAGE = 2
"""The command line or the configuration is wrong."""
EXIT_TEMPORARY = 75
"""Time may cure it (sysexits.h, EX_TEMPFAIL)."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """``--config FILE``, read by ``loaded``."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration file; otherwise ${ENVIRONMENT}, otherwise {DEFAULT_FILE}",
    )


def add_json(parser: argparse._ActionsContainer) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def loaded(arguments: argparse.Namespace) -> Loaded:
    """The configuration that ``--config`` or its defaults name.

    Raises:
        ConfigurationError: it cannot be used; every mistake is named.
    """
    return load(arguments.config)


def visible(text: str) -> str:
    """One line for a terminal: what cannot be printed is escaped, since strangers choose addresses."""
    return "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)


def moment(text: str) -> datetime:
    """An ISO 8601 moment such as 2026-11-24T12:00:00Z; without a zone it is UTC. For ``type=``."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a moment such as 2026-11-24T12:00:00Z") from error
    return value if value.tzinfo else value.replace(tzinfo=UTC)
