"""What is not in force: keys that need a restart, and a reload that was refused."""

from __future__ import annotations

import contextlib
from operator import attrgetter
from pathlib import Path

from nta_milter.config.model import Settings

FIXED = (
    "milter.socket",
    "milter.control",
    "milter.workers",
    "milter.threads",
    "milter.lookup_threads",
    "milter.timeout",
    "audit.target",
    "audit.file",
)
FIXED_TABLES = ("log", "metrics")
"""What a process takes from the settings when it starts, and keeps until it is started again."""

REFUSED = "reload-refused"
"""The file beside the control sockets in which the parent says why it refused the last reload."""


def needs_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys and tables that differ and that a reload does not change."""
    keys = [key for key in FIXED if attrgetter(key)(old) != attrgetter(key)(new)]
    return (*keys, *(name for name in FIXED_TABLES if getattr(old, name) != getattr(new, name)))


def note_refused(folder: Path, reason: str) -> None:
    """Leave a note why the last reload was refused; an empty reason takes it away. No folder, no note."""
    with contextlib.suppress(OSError):
        if reason:
            (folder / REFUSED).write_text(reason, encoding="utf-8", errors="backslashreplace")
        else:
            (folder / REFUSED).unlink(missing_ok=True)


def refused(folder: Path) -> str:
    """Why the last reload was refused; empty where it was not."""
    try:
        return (folder / REFUSED).read_text(encoding="utf-8")
    except OSError:
        return ""
