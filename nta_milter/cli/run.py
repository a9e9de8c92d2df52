"""``nta-milter run``: the milter itself."""

from __future__ import annotations

import argparse

from nta_milter.cli.options import add_config


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("run", help="serve Postfix as a milter, in the foreground")
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM; SIGHUP reloads configuration, keys and certificates."""
    from nta_milter.milter.supervisor import Supervisor  # libmilter is needed by this command alone

    return Supervisor(arguments.config).run()
