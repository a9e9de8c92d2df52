"""How one process is: what ``nta-milter status`` asks of it, and what is asked of several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nta_milter import __version__
from nta_milter.config.model import Settings
from nta_milter.monitor.registry import Labels, Metric, Registry, Sample

STATUS = "status"
"""The command that a process answers with how it is."""

SERVICES = frozenset(("milter", "worker", "portal"))
STARTED = Metric(
    "nta_milter_start_time_seconds",
    "gauge",
    "When the service's oldest process started, in seconds since 1970 UTC.",
    {"service": SERVICES},
    combine="min",
)

Facts = Callable[[], Mapping[str, object]]
"""What a service tells of itself besides: anything that JSON can hold."""


class Process:
    """This process, since it was made."""

    def __init__(self, service: str, registry: Registry, facts: Facts) -> None:
        self._service = service
        self._facts = facts
        self._started_at = datetime.now(UTC)
        self.registry = registry
        registry.collect(self._started)

    def _started(self) -> Iterable[tuple[Metric, Labels, float]]:
        yield STARTED, (self._service,), self._started_at.timestamp()

    def status(self) -> dict[str, object]:
        """Its answer to the command ``status``."""
        return {
            "service": self._service,
            "version": __version__,
            "pid": os.getpid(),
            "started_at": self._started_at.isoformat(timespec="seconds"),
            **self._facts(),
            "metrics": [astuple(sample) for sample in self.registry.samples()],
        }

    def answer(self, command: str, _domain: str) -> Mapping[str, object]:
        """For a control socket; raises ValueError for another command."""
        if command != STATUS:
            raise ValueError(command)
        return self.status()


def samples_of(status: Mapping[str, Any]) -> list[Sample]:
    """The samples in a process's answer."""
    return [
        Sample(name, tuple(labels), value, suffix, bound)
        for name, labels, value, suffix, bound in status["metrics"]
    ]


def fingerprint(settings: Settings) -> str:
    """What two equal configurations have in common, in hex."""
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]


def files_fingerprint(settings: Settings) -> str:
    """The state of the files that are read with the configuration and not again: it changes with them."""
    smime = settings.smime
    digest = hashlib.sha256()
    places = (smime.keys, smime.certificates, smime.trust, smime.trust / "intermediates")
    for place in (*places, *settings.policy.word_files):
        try:
            for path in _files(place):
                status = path.stat()
                digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
        except OSError as error:  # it is not ours to see, or was taken away just now
            digest.update(f"{place} {error.strerror}\n".encode())
    return digest.hexdigest()[:16]


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(path for path in place.iterdir() if path.is_file())
    return [place] if place.is_file() else []
