"""Postfix's queue, as ``postqueue -j`` shows it (postqueue(1))."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nta_milter.errors import TemporaryError

TIMEOUT = 60.0
"""Seconds of patience with postqueue."""

_QUEUE_ID = re.compile(r"[0-9A-Za-z]{4,64}")


@dataclass(frozen=True, slots=True)
class Queued:
    """One message in the queue, with the recipients that it still has and why each waits."""

    queue: str
    queue_id: str
    arrived_at: datetime
    sender: str
    recipients: tuple[str, ...]
    reasons: tuple[str, ...]


Look = Callable[[], tuple[Queued, ...]]
"""One look at the queue; raises TemporaryError."""


class Postqueue:
    """Asks Postfix's own command, which needs the group postdrop and no NoNewPrivileges."""

    def __init__(self, configuration: Path) -> None:
        self._configuration = configuration

    def look(self) -> tuple[Queued, ...]:
        """What the queue holds now.

        Raises:
            TemporaryError: postqueue cannot be run or failed: it must never be taken for an empty queue.
        """
        return parse(self._run("-j").splitlines())

    def deliver_now(self, queue_id: str) -> None:
        """Have a deferred message tried again; raises TemporaryError."""
        if _QUEUE_ID.fullmatch(queue_id):
            self._run("-i", queue_id)

    def _run(self, *arguments: str) -> str:
        words = ["postqueue", "-c", str(self._configuration), *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - Postfix's own program
                words, capture_output=True, timeout=TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TemporaryError(f"cannot be run: {error}", where="postqueue") from error
        faults = " ".join(done.stderr.decode("utf-8", "replace").split())
        if done.returncode or "fatal:" in faults:
            raise TemporaryError(faults or f"ended with status {done.returncode}", where="postqueue")
        return done.stdout.decode("utf-8", "replace")


def parse(lines: Iterable[str]) -> tuple[Queued, ...]:
    """The messages of ``postqueue -j``, one JSON object a line.

    Raises:
        TemporaryError: a line is something else.
    """
    return tuple(_queued(line) for line in lines if line.strip())


def _queued(line: str) -> Queued:
    try:
        fields: dict[str, Any] = json.loads(line)
        recipients = fields["recipients"]
        return Queued(
            queue=str(fields["queue_name"]),
            queue_id=str(fields["queue_id"]),
            arrived_at=datetime.fromtimestamp(int(fields["arrival_time"]), UTC),
            sender=str(fields["sender"]),
            recipients=tuple(str(each["address"]) for each in recipients),
            reasons=tuple(str(each.get("delay_reason", "")) for each in recipients),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, OSError) as error:
        raise TemporaryError("says something that is no queue listing", where="postqueue") from error
