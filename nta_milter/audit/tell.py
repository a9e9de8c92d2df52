"""What is recorded is counted too, and told in the log of the worker and of the portal, without addresses."""

from __future__ import annotations

import logging
from collections.abc import Callable

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.monitor.log import tell
from nta_milter.monitor.registry import Metric, Registry

EVENTS = Metric(
    "nta_milter_events_total",
    "counter",
    "Events that were recorded in the audit.",
    {"event": frozenset(event.value for event in Event)},
)

TOLD = (
    "delivery",
    "submission",
    "form",
    "queue_id",
    "postfix",
    "status",
    "decided",
    "because",
    "reply",
    "network",
    "chain",
    "records",
    "before",
)
"""The details of a record that a log line has; who is who stands in the audit alone."""

Told = Callable[[AuditRecord], None]
"""Is given each record when it is on disk."""


def teller(registry: Registry, log: logging.Logger | None = None) -> Told:
    """Counts each record, and has it in the log where there is one."""

    def told(record: AuditRecord) -> None:
        registry.add(EVENTS, record.event.value)
        if log is not None:
            shown = {name: record.details[name] for name in TOLD if name in record.details}
            tell(log, logging.INFO, record.event.value, record.queue_id, route=record.route, **shown)

    return told
