"""``nta-milter cache``: what the running workers know of a domain, and forgetting it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded
from nta_milter.monitor.control import ask


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    family = commands.add_parser("cache", help="show or forget what the running milter knows of a domain")
    actions = family.add_subparsers(metavar="ACTION", required=True)
    for name, text, description in (
        (
            "show",
            "show what each worker has in its cache",
            "Ask each worker of the running milter what it has in its cache about a mail domain, and for how "
            "long. Nothing is looked up. Exit status 0 if one has something, 1 if none has, 75 if none "
            "answers.",
        ),
        (
            "flush",
            "forget a domain, so that it is looked up anew",
            "Have each worker of the running milter forget a mail domain and its hosts. The resolver has a "
            "cache of its own. Exit status 0 if one had something, 1 if none had, 75 if none answers.",
        ),
    ):
        parser = actions.add_parser(name, help=text, description=description)
        parser.add_argument("domain", metavar="DOMAIN", help="what follows the @ of an address")
        add_config(parser)
        add_json(parser)
        parser.set_defaults(run=run, command=name)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when a worker had the domain, 1 when none had."""
    told = ask(loaded(arguments).settings.milter.control, arguments.command, arguments.domain)
    answers = [{"worker": int(name.rpartition("-")[2]), **answer} for name, answer in told.items()]
    for answer in answers:
        if arguments.json:
            print(json.dumps(answer, ensure_ascii=False))
        else:
            print(_text(arguments.command, answer))
    return 0 if any(answer["held"] for answer in answers) else EXIT_NO


def _text(command: str, answer: Mapping[str, object]) -> str:
    who = f"worker {answer['worker']}: {answer['domain']}"
    if not answer["held"]:
        return f"{who} is not in the cache"
    if command == "flush":
        return f"{who} is forgotten"
    report = answer["report"]
    assert isinstance(report, dict)
    reasons = "".join(f"\n  - {reason['text']}" for reason in report["reasons"])
    return f"{who} is {report['status']}, for {answer['seconds']} s{reasons}"
