"""``nta-milter portal``: serve the pages where recipients open their messages."""

from __future__ import annotations

import argparse

from nta_milter.cli.options import add_config, loaded
from nta_milter.errors import ConfigurationError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``portal``."""
    portal = commands.add_parser(
        "portal",
        help="serve the pages where recipients open their messages",
        description="Serve the secure-download pages on the socket of portal.socket until SIGTERM.",
    )
    add_config(portal)
    portal.set_defaults(run=_portal)


def _portal(arguments: argparse.Namespace) -> int:
    try:
        from nta_milter.portal.server import serve
    except ImportError as error:
        raise ConfigurationError(
            f"{error.name} is not installed; the portal needs the extra nta-milter[portal]"
        ) from error
    return serve(loaded(arguments).settings)
