"""Keeps the folder of revocation lists fresh: what known certificates name is fetched, looked at and kept.

Known are the certificates of the trust store, the configured and the kept ones of recipients, and those that
the milter noted because it believed a signature by them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from nta_milter.config.model import Settings
from nta_milter.errors import CertificateError, FetchFailed, KeyStoreError
from nta_milter.monitor.log import tell
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.directory import CertificateDirectory
from nta_milter.smime.distribution import Held, Place, check, inspect, noted, places
from nta_milter.smime.harvest import HarvestStore, write_atomically
from nta_milter.smime.trust import Trust
from nta_milter.worker.fetch import fetch

STATE_FILE = "fetched.json"
RETRY = timedelta(minutes=15)
"""Time between two tries while an address gives nothing that counts."""

ROUND_LIMIT = 200
"""Most addresses that are asked in one round."""

State = Literal["current", "expired", "missing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last try of one address: when (seconds since 1970), and why it brought nothing; empty = it did."""

    at: float
    error: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What there is of one address's list."""

    place: Place
    held: Held | None
    attempt: Attempt | None
    state: State


class Lists:
    """Fetches revocation lists into ``smime.crls``."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._smime = settings.smime
        self._clock = clock
        self._stopping = stopping

    @property
    def wanted(self) -> bool:
        """Whether the settings ask for it."""
        return self._smime.fetch_crls and self._smime.crls is not None

    def round(self, *, every: bool = False) -> int:
        """Fetch what is due, or ``every`` list; how many are new.

        Raises:
            KeyStoreError: the trust store or the folder cannot be used.
        """
        folder = self._smime.crls
        if folder is None:
            return 0
        at = self._clock()
        trust = Trust.load(self._smime.trust)
        known = places(self._certificates(folder, trust, at), trust, at)
        state = _read_state(folder)
        due = [place for place in known if every or self._due(state.get(place.url), at)]
        # who was asked longest ago first: those that fail must not take every turn
        due.sort(key=lambda place: state[place.url].at if place.url in state else 0.0)
        new = 0
        for place in due[:ROUND_LIMIT]:
            if self._stopping():
                break
            state[place.url], changed = self._fetch(place, trust, folder, state.get(place.url))
            new += changed
        if due:
            urls = {place.url for place in known}
            _write_state(folder, {url: attempt for url, attempt in state.items() if url in urls})
        return new

    def rows(self) -> Iterator[Row]:
        """What there is of each list, by address.

        Raises:
            KeyStoreError: the trust store or the folder cannot be used.
        """
        folder = self._smime.crls
        if folder is None:
            return
        at = self._clock()
        state = _read_state(folder)
        trust = Trust.load(self._smime.trust)
        for place in places(self._certificates(folder, trust, None), trust, at):
            held = _held(place.file(folder))
            now: State = "missing" if held is None else "current" if held.current(at) else "expired"
            yield Row(place, held, state.get(place.url), now)

    def _due(self, attempt: Attempt | None, at: datetime) -> bool:
        if attempt is None:
            return True
        wait = RETRY if attempt.error else timedelta(seconds=self._smime.crl_interval)
        return not 0 <= at.timestamp() - attempt.at < wait.total_seconds()

    def _fetch(
        self, place: Place, trust: Trust, folder: Path, before: Attempt | None
    ) -> tuple[Attempt, bool]:
        at = self._clock()
        file = place.file(folder)
        old = _held(file)
        modified = before.modified if before is not None and old is not None and old.current(at) else ""
        try:
            found = fetch(place.url, networks=self._smime.crl_networks, modified=modified)
            if found.data is None:
                return Attempt(at.timestamp(), modified=modified), False
            held = check(found.data, place, trust, at, old)
        except (FetchFailed, CertificateError) as error:
            told = logging.ERROR if old is None or not old.current(at) else logging.WARNING
            tell(log, told, "crl-refused", url=place.url, reason=_one_line(error.message))
            return Attempt(at.timestamp(), error.message), False
        write_atomically(file, found.data)
        until = "" if held.next_update is None else held.next_update.isoformat()
        tell(log, logging.INFO, "crl-fetched", url=place.url, entries=held.entries, until=until)
        return Attempt(at.timestamp(), modified=found.modified), True

    def _certificates(
        self, folder: Path, trust: Trust, at: datetime | None
    ) -> Iterator[Sequence[Certificate]]:
        """Every known certificate, with what came with it; noted ones that expired before ``at`` go."""
        yield from ((certificate,) for certificate in (*trust.anchors, *trust.intermediates))
        try:
            directory = CertificateDirectory.load(self._smime.certificates)
            yield from ((entry.certificate,) for entries in directory.entries.values() for entry in entries)
        except KeyStoreError as error:
            tell(log, logging.WARNING, "certificates-unreadable", error=error)
        try:
            store = HarvestStore(self._smime.harvested)
            yield from ((entry.certificate,) for _, entry in store.entries())
        except KeyStoreError as error:
            tell(log, logging.WARNING, "certificates-unreadable", error=error)
        for file, chain in noted(folder):
            if at is not None and chain[0].not_after < at:
                file.unlink(missing_ok=True)
            else:
                yield chain


def _held(file: Path) -> Held | None:
    """What a list of ours says of itself; None when it is not there or is damaged."""
    try:
        return inspect(file.read_bytes())
    except (OSError, CertificateError):
        return None


def _read_state(folder: Path) -> dict[str, Attempt]:
    """The last tries; none when that cannot be read: everything is then tried again."""
    try:
        return {
            url: Attempt(float(values["at"]), str(values["error"]), str(values["modified"]))
            for url, values in json.loads((folder / STATE_FILE).read_bytes()).items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write_state(folder: Path, state: dict[str, Attempt]) -> None:
    text = json.dumps({url: asdict(attempt) for url, attempt in state.items()}, indent=1)
    write_atomically(folder / STATE_FILE, text.encode())


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() and c != '"' else "?" for c in text)
