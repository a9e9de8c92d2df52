"""The audit's record of something that happened to a delivery."""

from __future__ import annotations

from datetime import datetime

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.store.rows import Delivery


def record_of(
    event: Event, delivery: Delivery, at: datetime, details: dict[str, str] | None = None
) -> AuditRecord:
    """One record, under the queue id of the message that the delivery came with."""
    return AuditRecord(
        at=at,
        event=event,
        queue_id=delivery.queue_id or delivery.message_id,
        sender=delivery.author or delivery.sender,
        recipients=(delivery.recipient,),
        route=delivery.route,
        reasons=delivery.reasons,
        details={"message": delivery.message_id, "delivery": delivery.id, **(details or {})},
    )
