"""The joined row of a delivery, as every part of the repository reads it."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import Select

from nta_milter.store.rows import Delivery, DeliveryState, NewBlob
from nta_milter.store.schema import blobs, deliveries, messages

_JOINED = deliveries.join(messages, messages.c.id == deliveries.c.message_id).outerjoin(
    blobs, and_(blobs.c.id == deliveries.c.blob_id, blobs.c.message_id == deliveries.c.message_id)
)
COLUMNS = (
    deliveries.c.id,
    deliveries.c.message_id,
    deliveries.c.blob_id,
    blobs.c.size,
    deliveries.c.recipient,
    deliveries.c.arguments,
    deliveries.c.route,
    deliveries.c.next_hop,
    deliveries.c.reasons,
    deliveries.c.state,
    deliveries.c.created_at,
    messages.c.expires_at,
    deliveries.c.opened_at,
    deliveries.c.read_at,
    deliveries.c.downloads,
    messages.c.sender,
    messages.c.author,
    messages.c.arguments.label("message_arguments"),
    messages.c.language,
    messages.c.reply_to,
    deliveries.c.queue_id,
)


def delivery_rows(*more: Any, join: Any = None, on: Any = None) -> Select[Any]:
    """A select of deliveries; ``more`` are further columns, of the table ``join`` where one is given."""
    source = _JOINED if join is None else _JOINED.join(join, on)
    return select(*COLUMNS, *more).select_from(source)


def delivery_of(row: Any) -> Delivery:
    """The value of a row; columns after those of the delivery are left to the caller."""
    values = dict(zip((column.name for column in COLUMNS), row, strict=False))
    values["message_arguments"] = tuple(json.loads(row[17]))
    values["arguments"] = tuple(json.loads(row[5]))
    values["reasons"] = tuple(json.loads(values["reasons"]))
    values["state"] = DeliveryState(values["state"])
    values["size"] = values["size"] or 0
    return Delivery(**values)


def blob_row(blob: NewBlob, message_id: str) -> dict[str, Any]:
    """The values of a new blob's row."""
    return {"id": blob.id, "message_id": message_id, "size": blob.size, "content": blob.sealed}


def find_delivery(connection: Connection, delivery_id: str) -> Delivery | None:
    """One delivery by its id."""
    row = connection.execute(delivery_rows().where(deliveries.c.id == delivery_id)).first()
    return None if row is None else delivery_of(row)
