"""One message from Postfix's queue id to the recipient who reads it: what is recorded, stored and queued."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nta_milter.audit.read import RecordFields, read
from nta_milter.config.model import Settings
from nta_milter.errors import TemporaryError
from nta_milter.monitor.log import NO_MESSAGE
from nta_milter.store.rows import Delivery
from nta_milter.store.trace import Handed, Trace
from nta_milter.worker.postqueue import Postqueue

LINKS = ("message_id", "message", "delivery", "submission", "queue_id", "postfix")
"""The details of a record that lead from one id to another."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: when, what, to whom it happened, by which route and why, and its details."""

    at: datetime
    event: str
    recipients: tuple[str, ...]
    route: str
    reasons: tuple[str, ...]
    details: dict[str, str]

    @property
    def text(self) -> str:
        """What there is to say besides the moment and the event."""
        about = {name: value for name, value in self.details.items() if name not in ("message", "delivery")}
        pieces = (
            ", ".join(self.recipients),
            self.route,
            "; ".join(self.reasons),
            " ".join(f"{name}={value}" for name, value in about.items()),
        )
        return " | ".join(piece for piece in pieces if piece)


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


def follow(settings: Settings, name: str, trace: Trace) -> Timeline:
    """Everything about the message that has this id; one delivery alone where the id is that of a delivery.

    Raises:
        TemporaryError: the record of events cannot be read.
    """
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
    for entry in timeline.entries:
        yield f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.event:14}  {entry.text}"
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
