"""One message from Postfix's queue id to the recipient who reads it: what is recorded, stored and queued."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nta_milter.audit.read import RecordFields, read
from nta_milter.cli.options import visible
from nta_milter.config.model import Settings
from nta_milter.errors import TemporaryError
from nta_milter.monitor.log import NO_MESSAGE
from nta_milter.store.rows import Delivery
from nta_milter.store.trace import Handed, Trace
from nta_milter.worker.postqueue import Postqueue

LINKS = ("message_id", "message", "delivery", "submission", "queue_id", "postfix")
"""The details of a record that lead from one id to another."""


_KNOWN = ("message", "delivery", "message_id")
"""Details that stand elsewhere in the text."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: when, what, from whom, to whom it happened, by which route and why, and its details."""

    at: datetime
    event: str
    sender: str
    recipients: tuple[str, ...]
    route: str
    reasons: tuple[str, ...]
    details: dict[str, str]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is known by an id. ``postfix`` tells of each queue id where its mail is now."""

    queue_ids: tuple[str, ...]
    entries: tuple[Entry, ...]
    trace: Trace
    postfix: dict[str, str]

    @property
    def known(self) -> bool:
        """Whether there is anything."""
        return bool(self.entries or self.trace.deliveries)


def follow(settings: Settings, name: str, trace_by: Callable[[str], Trace]) -> Timeline:
    """Everything about the message that has this id; one delivery alone where the id is that of a delivery.

    ``trace_by`` gives what the store has by an id; a Message-ID it does not know, but the queue id that the
    record of events leads to.

    Raises:
        TemporaryError: the record of events cannot be read.
    """
    trace = trace_by(name)
    if not trace.deliveries:
        found = _records(settings, {name, f"<{name}>"})
        named = dict.fromkeys(record["queue_id"] for record in found if record["queue_id"] != NO_MESSAGE)
        traces = [trace_by(queue_id) for queue_id in named]
        trace = Trace(
            tuple(delivery for each in traces for delivery in each.deliveries),
            tuple(handed for each in traces for handed in each.handed),
        )
    only = {name} & {delivery.id for delivery in trace.deliveries}
    deliveries = tuple(each for each in trace.deliveries if not only or each.id in only)
    handed = tuple(each for each in trace.handed if not only or each.delivery_id in only)
    ids = {name, f"<{name}>"}
    ids.update(*((each.queue_id, each.message_id, each.id) for each in deliveries))
    records = _records(settings, ids - {""})
    wanted = [record for record in records if not only or _about(record, only)]
    entries = sorted(_entries(wanted), key=lambda entry: entry.at)
    queue_ids = dict.fromkeys(
        queue_id
        for queue_id in (
            *(record["queue_id"] for record in wanted),
            *(each.queue_id for each in deliveries),
            *(record.get("details", {}).get("queue_id", "") for record in wanted),
            *(each.queue_id for each in handed),
        )
        if queue_id and queue_id != NO_MESSAGE
    )
    own = {each.message_id for each in deliveries}  # what stands for the queue id of a reply of the portal
    names = tuple(queue_id for queue_id in queue_ids if queue_id not in own)
    return Timeline(names, tuple(entries), Trace(deliveries, handed), _in_postfix(settings, names))


def _records(settings: Settings, ids: set[str]) -> list[RecordFields]:
    """The records about these ids, and about those that they lead to."""
    while True:
        found = [record for record in read(settings, ids) if ids & _ids(record)]
        more = {record["queue_id"] for record in found} - {NO_MESSAGE, ""}
        if more <= ids:
            return found
        ids = ids | more


def _ids(record: RecordFields) -> set[str]:
    details = record.get("details", {})
    return {record["queue_id"], *(details[name] for name in LINKS if name in details)}


def _about(record: RecordFields, deliveries: set[str]) -> bool:
    return record.get("details", {}).get("delivery", "") in {*deliveries, ""}


def _entries(records: list[RecordFields]) -> Iterator[Entry]:
    for record in records:
        yield Entry(
            at=datetime.fromisoformat(record["at"]),
            event=record["event"],
            sender=record["sender"],
            recipients=tuple(record["recipients"]),
            route=record["route"],
            reasons=tuple(record["reasons"]),
            details=dict(record.get("details", {})),
        )


def _in_postfix(settings: Settings, queue_ids: tuple[str, ...]) -> dict[str, str]:
    """Where each mail is, as far as Postfix's queue says."""
    try:
        queued = {each.queue_id: each for each in Postqueue(settings.routing.postfix).look()}
    except TemporaryError as error:
        return dict.fromkeys(queue_ids, f"not known: {error}")
    found = {}
    for queue_id in queue_ids:
        each = queued.get(queue_id)
        if each is None:
            found[queue_id] = "not in the queue any more"
        else:
            reasons = "; ".join(reason for reason in dict.fromkeys(each.reasons) if reason)
            found[queue_id] = f"in the queue, {each.queue}" + (f": {reasons}" if reasons else "")
    return found


def as_json(timeline: Timeline) -> dict[str, Any]:
    """For ``--json``; never content."""
    return {
        "queue_ids": list(timeline.queue_ids),
        "events": [
            {
                "at": entry.at.isoformat(timespec="milliseconds"),
                "event": entry.event,
                "sender": entry.sender,
                "recipients": list(entry.recipients),
                "route": entry.route,
                "reasons": list(entry.reasons),
                "details": entry.details,
            }
            for entry in timeline.entries
        ],
        "deliveries": [delivery_as_json(delivery) for delivery in timeline.trace.deliveries],
        "submissions": [_handed_as_json(handed) for handed in timeline.trace.handed],
        "postfix": timeline.postfix,
    }


def as_text(timeline: Timeline) -> Iterator[str]:
    """For a person."""
    return map(visible, _lines(timeline))


def _lines(timeline: Timeline) -> Iterator[str]:
    said: set[tuple[object, ...]] = set()
    for entry in timeline.entries:
        message_id = entry.details.get("message_id", "none")
        heading = (entry.at, entry.sender, message_id)
        if "delivery" not in entry.details and heading not in said:  # the milter's: it came in then
            said.add(heading)
            yield _line(entry, "received", f"from {entry.sender or '<>'}", f"Message-ID {message_id}")
        why = (entry.recipients, entry.route, entry.reasons)
        reasons = "" if why in said else "; ".join(entry.reasons)
        said.add(why)
        details = (f"{name}={value}" for name, value in entry.details.items() if name not in _KNOWN)
        yield _line(entry, entry.event, ", ".join(entry.recipients), entry.route, reasons, " ".join(details))
    for delivery in timeline.trace.deliveries:
        yield ""
        for name, value in delivery_as_json(delivery).items():
            if value not in (None, "", []):
                yield f"{name}: {'; '.join(value) if isinstance(value, list) else value}"
        for handed in timeline.trace.handed:
            if handed.delivery_id == delivery.id:
                yield f"{handed.form.value}: {_handed_text(handed)}"
    if timeline.postfix:
        yield ""
        for queue_id, where in timeline.postfix.items():
            yield f"Postfix, {queue_id}: {where}"
        yield "What Postfix did with each stands in its own log, under its queue id."


def _line(entry: Entry, event: str, *pieces: str) -> str:
    return f"{entry.at:%Y-%m-%d %H:%M:%S}  {event:14} {' | '.join(piece for piece in pieces if piece)}"


def _handed_text(handed: Handed) -> str:
    text = f"{handed.state}, submission {handed.id}"
    if handed.queue_id:
        text += f", queue id {handed.queue_id}"
    return f"{text}, tried {handed.tries} times: {handed.fault}" if handed.fault else text


def _handed_as_json(handed: Handed) -> dict[str, object]:
    return {
        "id": handed.id,
        "delivery": handed.delivery_id,
        "form": handed.form.value,
        "state": handed.state,
        "queue_id": handed.queue_id,
        "tries": handed.tries,
        "fault": handed.fault,
        "created_at": moment(handed.created_at),
        "submitted_at": moment(handed.submitted_at),
    }


def moment(at: datetime | None) -> str | None:
    """A moment as it is printed."""
    return at.isoformat(timespec="seconds") if at else None


def delivery_as_json(delivery: Delivery) -> dict[str, object]:
    """Everything that is known of a delivery; never its content."""
    return {
        "id": delivery.id,
        "message": delivery.message_id,
        "queue_id": delivery.queue_id,
        "state": delivery.state.value,
        "route": delivery.route,
        "reasons": list(delivery.reasons),
        "from": delivery.author,
        "envelope_sender": delivery.sender,
        "recipient": delivery.recipient,
        "size": delivery.size,
        "created_at": moment(delivery.created_at),
        "expires_at": moment(delivery.expires_at),
        "opened_at": moment(delivery.opened_at),
        "read_at": moment(delivery.read_at),
        "downloads": delivery.downloads,
        "reply_to": delivery.reply_to,
    }
