"""What one process counts: counters, gauges and histograms with a bounded set of labels.

Processes that serve one socket count apart; ``join`` makes one of their samples.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

OTHER = "other"
"""What stands for a value of a label that is not in its closed list."""
SHOWN_FROM_THE_START = 64
"""Counters with at most so many combinations of labels are told as 0 before anything was counted, so that
the first event is seen as an increase."""

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]
Collector = Callable[[], Iterable[tuple["Metric", Labels, float]]]
"""Gives gauges at the moment that they are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric of the catalogue.

    ``labels`` maps each label's name to all values that it can have. ``combine`` says what several processes
    of a service are together: counters and histograms are summed. ``buckets`` are the upper bounds of a
    histogram, without the infinite one.
    """

    name: str
    kind: Kind
    text: str
    labels: Mapping[str, frozenset[str]]
    combine: Literal["sum", "min", "max"] = "sum"
    buckets: tuple[float, ...] = ()

    @property
    def combinations(self) -> int:
        """How many combinations of labels there can be."""
        return math.prod(len(allowed) for allowed in self.labels.values())

    def bounded(self, values: Labels) -> Labels:
        """The values, each that is not in its list replaced."""
        known = zip(values, self.labels.values(), strict=True)
        return tuple(value if value in allowed else OTHER for value, allowed in known)


@dataclass(frozen=True, slots=True)
class Sample:
    """One number. A histogram has several: ``suffix`` ``_bucket`` (up to ``bound``), ``_sum``, ``_count``."""

    name: str
    labels: Labels
    value: float
    suffix: str = ""
    bound: str = ""


class Registry:
    """The numbers of this process; safe for many threads."""

    def __init__(self, metrics: Iterable[Metric] = ()) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[Metric, Labels], float] = {
            (metric, labels): 0.0
            for metric in metrics
            if metric.kind == "counter" and metric.combinations <= SHOWN_FROM_THE_START
            for labels in product(*map(sorted, metric.labels.values()))
        }
        self._histograms: dict[tuple[Metric, Labels], list[float]] = {}
        self._collectors: list[Collector] = []

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Count."""
        key = (metric, labels)
        with self._lock:
            if key not in self._values:
                key = (metric, metric.bounded(labels))
            self._values[key] = self._values.get(key, 0.0) + by

    def set(self, metric: Metric, *labels: str, value: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[metric, metric.bounded(labels)] = value

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        """Add one observation to a histogram."""
        place = bisect_left(metric.buckets, value)
        with self._lock:
            counts = self._histograms.get((metric, labels))
            if counts is None:
                key = (metric, metric.bounded(labels))
                counts = self._histograms.setdefault(key, [0.0] * (len(metric.buckets) + 2))
            counts[place] += 1
            counts[-1] += value

    def collect(self, collector: Collector) -> None:
        """Ask this for gauges whenever samples are taken."""
        self._collectors.append(collector)

    def samples(self) -> list[Sample]:
        """All numbers now."""
        found = [
            Sample(metric.name, metric.bounded(labels), float(value))
            for collector in self._collectors
            for metric, labels, value in collector()
        ]
        with self._lock:
            values, histograms = dict(self._values), {key: tuple(c) for key, c in self._histograms.items()}
        found += [Sample(metric.name, labels, value) for (metric, labels), value in values.items()]
        for (metric, labels), counts in histograms.items():
            found += _histogram(metric, labels, counts)
        return found


def _histogram(metric: Metric, labels: Labels, counts: tuple[float, ...]) -> Iterator[Sample]:
    *numbers, total = counts
    seen = 0.0
    for bound, number in zip((*map(str, metric.buckets), "+Inf"), numbers, strict=True):
        seen += number
        yield Sample(metric.name, labels, seen, "_bucket", bound)
    yield Sample(metric.name, labels, total, "_sum")
    yield Sample(metric.name, labels, seen, "_count")


def join(processes: Iterable[Iterable[Sample]], catalogue: Mapping[str, Metric]) -> list[Sample]:
    """The samples of several processes as one; what the catalogue does not know is left out."""
    joined: dict[tuple[str, Labels, str, str], float] = {}
    for samples in processes:
        for each in samples:
            metric = catalogue.get(each.name)
            if metric is None:
                continue
            key = (each.name, each.labels, each.suffix, each.bound)
            if key not in joined:
                joined[key] = each.value
            elif metric.combine == "sum":
                joined[key] += each.value
            else:
                joined[key] = (min if metric.combine == "min" else max)(joined[key], each.value)
    return [
        Sample(name, labels, value, suffix, bound) for (name, labels, suffix, bound), value in joined.items()
    ]
