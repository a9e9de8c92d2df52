"""A cache of parsed values: least recently used out first, each value no longer than its time to live.

It knows nothing of DNS: whoever loads a value says how long it holds and whether it is a failure.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

HOT = 2
"""Uses after which a value counts as hot and is loaded again before it expires."""
REFRESH_AT = 0.9
"""Part of the time to live after which a hot value is loaded again."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[V]):
    """A fresh value; ``ttl`` in seconds, 0 = not kept. A ``failed`` one never replaces a living value."""

    value: V
    ttl: float
    failed: bool = False


Load = Callable[[K, float], Loaded[V]]


class Held(Generic[V]):
    """A value in the cache and the moment, on the cache's clock, at which it expires."""

    __slots__ = ("_refresh", "_uses", "expires", "value")

    def __init__(self, value: V, expires: float, refresh: float) -> None:
        self.value = value
        self.expires = expires
        self._refresh = refresh
        self._uses = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """What the cache did since it was made; ``entries`` is what it holds now."""

    entries: int
    hits: int
    misses: int
    joined: int
    failures: int
    evictions: int
    prefetches: int


class Cache(Generic[K, V]):
    """At most ``capacity`` values, shared by threads; one load at a time for each key.

    ``clock`` gives seconds that never go back. ``background`` runs a function some time later without
    waiting for it (an executor's ``submit``, for example); without it nothing is loaded ahead of time.
    """

    def __init__(
        self,
        capacity: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        background: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        self._capacity = capacity
        self._clock = clock
        self._background = background
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, Held[V]] = OrderedDict()
        self._flights: dict[K, Future[Held[V]]] = {}
        self._hits = self._misses = self._joined = self._failures = self._evictions = self._prefetches = 0

    def get(self, key: K, load: Load[K, V], *, least: float = 0.0) -> Held[V]:
        """The value for ``key``, loaded if it is not held for at least ``least`` more seconds.

        ``load`` is given the key and the ``least`` that it should ask of whatever it builds on. Threads
        that want the same key wait for one load; what it raises, they all raise.
        """
        held = self.find(key, load, least=least)
        if held is not None:
            return held
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                self._misses += 1
                own: Future[Held[V]] = Future()
                self._flights[key] = own
            else:
                self._joined += 1
        return self._load(key, load, least, own) if flight is None else flight.result()

    def find(self, key: K, load: Load[K, V], *, least: float = 0.0) -> Held[V] | None:
        """The value for ``key`` if it is held; ``load`` is only for loading it again ahead of time."""
        now = self._clock()
        with self._lock:
            held = self._entries.get(key)
            if held is None or held.expires <= now + least:
                return None
            self._entries.move_to_end(key)
            self._hits += 1
            held._uses += 1
            if held._refresh > now or held._uses < HOT or self._background is None:
                return held
            held._refresh = math.inf
        self._background(lambda: self._prefetch(key, load))
        return held

    def held(self, key: K) -> Held[V] | None:
        """The living value for ``key``, if there is one; not counted as a use."""
        with self._lock:
            held = self._entries.get(key)
            return held if held is not None and held.expires > self._clock() else None

    def flush(self, key: K) -> bool:
        """Forget one key, a load under way included; False when there was nothing to forget."""
        with self._lock:
            flight = self._flights.pop(key, None)
            return self._entries.pop(key, None) is not None or flight is not None

    def clear(self) -> int:
        """Forget everything; the number of values forgotten."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            self._flights.clear()
            return count

    def keys(self) -> tuple[K, ...]:
        """What is held, the most recently used last."""
        with self._lock:
            return tuple(self._entries)

    def counters(self) -> Counters:
        """A consistent copy of the counters."""
        with self._lock:
            return Counters(
                entries=len(self._entries),
                hits=self._hits,
                misses=self._misses,
                joined=self._joined,
                failures=self._failures,
                evictions=self._evictions,
                prefetches=self._prefetches,
            )

    def _prefetch(self, key: K, load: Load[K, V]) -> None:
        with self._lock:
            held = self._entries.get(key)
            if held is None or key in self._flights:
                return
            self._prefetches += 1
            flight = self._flights[key] = Future()
        # What the value is made of must not be about to expire itself, or nothing is won.
        self._load(key, load, 2 * max(0.0, held.expires - self._clock()), flight)

    def _load(
        self,
        key: K,
        load: Load[K, V],
        least: float,
        flight: Future[Held[V]],
    ) -> Held[V]:
        try:
            held = self._store(key, load(key, least), flight)
        except BaseException as error:
            with self._lock:
                self._landed(key, flight)
            flight.set_exception(error)
            raise
        flight.set_result(held)
        return held

    def _store(self, key: K, loaded: Loaded[V], flight: Future[Held[V]]) -> Held[V]:
        now = self._clock()
        held = Held(loaded.value, now + loaded.ttl, now + loaded.ttl * REFRESH_AT)
        with self._lock:
            wanted = self._landed(key, flight)
            self._failures += loaded.failed
            if loaded.failed:
                living = self._entries.get(key)
                if living is not None and living.expires > now:
                    return living
            if wanted and loaded.ttl > 0:
                self._entries[key] = held
                self._entries.move_to_end(key)
                while len(self._entries) > self._capacity:
                    self._entries.popitem(last=False)
                    self._evictions += 1
        return held

    def _landed(self, key: K, flight: Future[Held[V]]) -> bool:
        """End a load; False when the key was flushed meanwhile, so that its value is not kept."""
        if self._flights.get(key) is not flight:
            return False
        del self._flights[key]
        return True
