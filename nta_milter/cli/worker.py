"""``nta-milter worker``: hand to Postfix what is stored, and hear from it."""

from __future__ import annotations

import argparse
import os

from nta_milter.cli.options import add_config, loaded


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``worker``."""
    worker = commands.add_parser(
        "worker",
        help="hand stored mail to Postfix, and hear what became of it",
        description="Take commits and bounces from Postfix by LMTP, hand over what is stored, decide again "
        "what could not be looked up, expire and remove what has had its time, until SIGTERM.",
    )
    add_config(worker)
    worker.set_defaults(run=_worker)


def _worker(arguments: argparse.Namespace) -> int:
    from nta_milter.monitor.log import start
    from nta_milter.policy.snapshot import build
    from nta_milter.worker.decide import decider
    from nta_milter.worker.service import Worker

    settings = loaded(arguments).settings
    os.umask(0o007)  # SQLite's files are written by the three services, which share a group
    start(settings.log, "nta-worker")
    snapshot = build(settings, with_keys=False)
    return Worker(settings, decider(snapshot)).run()
