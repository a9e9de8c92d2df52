"""What a process takes from the settings when it starts, and keeps until it is started again."""

from __future__ import annotations

from operator import attrgetter

from nta_milter.config.model import Settings

FIXED = (
    "milter.socket",
    "milter.control",
    "milter.workers",
    "milter.threads",
    "milter.lookup_threads",
    "milter.timeout",
)
FIXED_TABLES = ("audit", "log", "metrics")


def needs_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys and tables that differ and that a reload does not change."""
    keys = [key for key in FIXED if attrgetter(key)(old) != attrgetter(key)(new)]
    return (*keys, *(name for name in FIXED_TABLES if getattr(old, name) != getattr(new, name)))
