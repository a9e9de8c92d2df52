"""``nta-milter message``: what became of stored messages; taking back, sending again, giving more time."""

from __future__ import annotations

import argparse
import getpass
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.cli.options import EXIT_NO, add_config, add_json, loaded, visible
from nta_milter.cli.stored import opened, record
from nta_milter.cli.timeline import as_json, as_text, delivery_as_json, follow
from nta_milter.errors import PermanentError
from nta_milter.store.handover import Handover
from nta_milter.store.rows import Delivery
from nta_milter.store.store import Store
from nta_milter.store.trace import Trace, trace

UNKNOWN = "is the id of no delivery, message or mail that is recorded or stored; the log may know it"

LONGEST = 3_650
"""Most days that a message can be given."""
LISTED = 100
"""Deliveries that are listed where nothing else is asked."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``message list``, ``show``, ``recall``, ``extend`` and ``resend``."""
    family = commands.add_parser(
        "message",
        help="show what became of stored messages, take one back, or help a recipient to it",
        description="Messages that are stored: in the portal, held, or on their way. A message has "
        "one delivery for each recipient, with an id of its own.",
    )
    actions = family.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="list the newest deliveries",
        description="List the newest deliveries that fit. Exit status 1 if there are none.",
    )
    listing.add_argument("--sender", metavar="ADDRESS", default="", help="address in From")
    listing.add_argument("--recipient", metavar="ADDRESS", default="", help="address of the recipient")
    listing.add_argument(
        "--limit", type=_limit, metavar="N", default=LISTED, help=f"most deliveries (default: {LISTED})"
    )
    add_config(listing)
    add_json(listing)
    listing.set_defaults(run=_list)
    show = actions.add_parser(
        "show",
        help="show what became of a message, from Postfix's queue to its reader",
        description="Show all events of a message in their order, its deliveries, and where Postfix has its "
        "mails now; never its content. Ordinary mail that passed untouched is in the log alone.",
    )
    show.add_argument(
        "id",
        metavar="ID",
        help="Postfix's queue id of the message or of a copy of it, its Message-ID, or the id of a delivery, "
        "of a stored message or of a submission",
    )
    add_config(show)
    add_json(show)
    show.set_defaults(run=_show)
    recall = actions.add_parser(
        "recall",
        help="take a message back",
        description="Take one delivery back, or all of a message: links end and nothing more is sent. Exit "
        "status 1 if it was too late for each of them.",
    )
    _add_id(recall)
    recall.set_defaults(run=_recall)
    extend = actions.add_parser(
        "extend",
        help="let a message be opened for longer",
        description="Let a message of the portal be opened for so many days from now, by all its recipients. "
        "Exit status 1 if it can be opened for longer already, or has expired.",
    )
    _add_id(extend)
    extend.add_argument("--days", type=_days, metavar="N", required=True, help="days from now")
    extend.set_defaults(run=_extend)
    resend = actions.add_parser(
        "resend",
        help="send the notification of a message again",
        description="Send the notification of one delivery again, or of all of a message, with a new link; "
        "earlier links stay good. Of a held message, the mail to the sender. Exit status 1 if nothing can be "
        "sent: it is over, or portal.resend is false.",
    )
    _add_id(resend)
    resend.set_defaults(run=_resend)


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="id of a delivery or of a message")
    add_config(parser)
    add_json(parser)


def _days(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {LONGEST}")
    return int(text)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return int(text)


def _list(arguments: argparse.Namespace) -> int:
    with opened(loaded(arguments).settings) as store:
        found = store.handover.list_deliveries(
            sender=arguments.sender, recipient=arguments.recipient, limit=arguments.limit
        )
    if arguments.json:
        print(json.dumps([delivery_as_json(delivery) for delivery in found], indent=2, ensure_ascii=False))
    else:
        for delivery in found:
            at = delivery.created_at.isoformat(timespec="minutes")
            people = f"{visible(delivery.author)}\t{visible(delivery.recipient)}"
            print(f"{delivery.id}\t{at}\t{delivery.state.value}\t{delivery.route}\t{people}")
    return 0 if found else EXIT_NO


def _show(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    if settings.store.url:
        with opened(settings) as store:
            timeline = follow(settings, arguments.id, partial(trace, store.database))
    else:
        timeline = follow(settings, arguments.id, lambda _: Trace((), ()))
    if not timeline.known:
        raise PermanentError(UNKNOWN, where=ascii(arguments.id))
    if arguments.json:
        print(json.dumps(as_json(timeline), indent=2, ensure_ascii=False))
    else:
        print("\n".join(as_text(timeline)))
    return 0


def _recall(arguments: argparse.Namespace) -> int:
    return _for_each(arguments, Handover.recall, Event.RECALLED, "recalled", ("recalled", "too late"))


def _extend(arguments: argparse.Namespace) -> int:
    settings = loaded(arguments).settings
    at = datetime.now(UTC)
    until = at + timedelta(days=arguments.days)
    with opened(settings) as store:
        found = _found(store, arguments.id)
        extended = store.handover.extend(found[0].message_id, until, at)
        after = store.handover.find(found[0].id) or found[0]
    if extended:
        record(settings, *(_event(Event.EXTENDED, delivery) for delivery in found))
    expires = after.expires_at.isoformat(timespec="seconds")
    if arguments.json:
        print(json.dumps({"message": after.message_id, "extended": extended, "expires_at": expires}))
    elif extended:
        print(f"{after.message_id}\tcan be opened until {expires}")
    else:
        states = ", ".join(sorted({delivery.state.value for delivery in found}))
        print(f"{after.message_id}\tnot extended: {states}, expires {expires}")
    return 0 if extended else EXIT_NO


def _resend(arguments: argparse.Namespace) -> int:
    at = datetime.now(UTC)
    said = ("is sent again", "cannot be sent again")
    return _for_each(
        arguments, lambda handover, name: handover.notify_again(name, at), Event.RESENT, "resent", said
    )


def _for_each(
    arguments: argparse.Namespace,
    act: Callable[[Handover, str], bool],
    event: Event,
    done: str,
    said: tuple[str, str],
) -> int:
    """Do something with each delivery; ``said`` is what was done, and what could not be."""
    settings = loaded(arguments).settings
    with opened(settings) as store:
        outcomes = [(delivery, act(store.handover, delivery.id)) for delivery in _found(store, arguments.id)]
    record(settings, *(_event(event, delivery) for delivery, succeeded in outcomes if succeeded))
    if arguments.json:
        print(json.dumps([{"id": delivery.id, done: succeeded} for delivery, succeeded in outcomes]))
    else:
        for delivery, succeeded in outcomes:
            words = said[0] if succeeded else f"{said[1]} ({delivery.state.value})"
            print(f"{delivery.id}\t{visible(delivery.recipient)}\t{words}")
    return 0 if any(succeeded for _, succeeded in outcomes) else EXIT_NO


def _found(store: Store, name: str) -> tuple[Delivery, ...]:
    delivery = store.handover.find(name)
    found = (delivery,) if delivery else store.handover.list_deliveries(message_id=name, limit=100_000)
    if not found:
        raise PermanentError("is the id of no delivery and of no message", where=ascii(name))
    return found


def _event(event: Event, delivery: Delivery) -> AuditRecord:
    return AuditRecord(
        at=datetime.now(UTC),
        event=event,
        queue_id=delivery.queue_id or delivery.message_id,
        sender=delivery.author,
        recipients=(delivery.recipient,),
        route=delivery.route,
        reasons=(),
        details={"message": delivery.message_id, "delivery": delivery.id, "by": getpass.getuser()},
    )
