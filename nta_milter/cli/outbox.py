"""``nta-milter outbox``: what Postfix does not have yet, and another try for what was set aside."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime

from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded, visible
from nta_milter.cli.stored import opened
from nta_milter.store.rows import Attempt, Pending


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``outbox list`` and ``outbox retry``."""
    family = commands.add_parser(
        "outbox",
        help="show what waits to be handed to Postfix, or try it again",
        description="Copies, notifications and reports that Postfix does not have yet, and messages whose "
        "commit has not come.",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="list what waits",
        description="List what waits, what was set aside first. Exit status 1 if something was set aside.",
    )
    add_config(listing)
    add_json(listing)
    listing.set_defaults(run=_list)
    retry = actions.add_parser(
        "retry",
        help="try again what was set aside",
        description="Try again what was set aside after too many failures. Exit status 1 if there is none.",
    )
    retry.add_argument("id", nargs="*", metavar="ID", help="as outbox list shows it; all if left out")
    add_config(retry)
    retry.set_defaults(run=_retry)


def _list(arguments: argparse.Namespace) -> int:
    with opened(loaded(arguments).settings) as store:
        pending = store.handover.pending()
        attempts = store.outgoing.open_attempts()
    if arguments.json:
        found = {
            "pending": [_as_json(each) for each in pending],
            "uncommitted": [_attempt_as_json(each) for each in attempts],
        }
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for each in pending:
            print(_as_text(each))
        for attempt in attempts:
            print(f"{attempt.id} uncommitted, {attempt.queue_id}, since {_moment(attempt.created_at)}")
    return EXIT_NO if any(each.state == "shunted" for each in pending) else 0


def _as_json(pending: Pending) -> dict[str, object]:
    return {
        "id": pending.id,
        "form": pending.form.value,
        "state": pending.state,
        "tries": pending.tries,
        "due_at": _moment(pending.due_at),
        "fault": pending.fault,
        "delivery": pending.delivery.id,
        "sender": pending.delivery.author,
        "recipient": pending.delivery.recipient,
    }


def _attempt_as_json(attempt: Attempt) -> dict[str, object]:
    return {
        "id": attempt.id,
        "message": attempt.message_id,
        "queue_id": attempt.queue_id,
        "since": _moment(attempt.created_at),
    }


def _as_text(pending: Pending) -> str:
    text = f"{pending.id} {pending.state}: {pending.form.value} for {pending.delivery.recipient}"
    if pending.tries:
        text += f", tried {pending.tries} times, {pending.fault}"
    text = visible(text)
    return text if pending.state == "shunted" else f"{text}, due {_moment(pending.due_at)}"


def _retry(arguments: argparse.Namespace) -> int:
    at = datetime.now(UTC)
    with opened(loaded(arguments).settings) as store:
        wanted = arguments.id or [each.id for each in store.handover.shunted()]
        done = [name for name in wanted if store.handover.retry(name, at)]
    for name in done:
        print(f"{name} is tried again")
    return 0 if done else EXIT_NO


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
