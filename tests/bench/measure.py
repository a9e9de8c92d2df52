"""Measuring two or more ways of doing the same, fairly: interleaved rounds, ratios within a round.

A machine grows slower and faster while one measures. So every round measures each party once, in an order
that turns round from one round to the next (A B, B A, A B, ...), and only values of one round are compared.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

LEAST_ROUNDS = 15
CONFIDENCE = 0.90


@dataclass(frozen=True)
class Sample:
    """One measurement: how many messages, in how many seconds, for how many seconds of processor time."""

    messages: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    @property
    def cpu_per_message(self) -> float:
        """Seconds of processor time for one message."""
        return self.cpu_seconds / self.messages


@dataclass(frozen=True)
class Comparison:
    """Two parties of a case, and the least ratio of their rates that we want; ``None`` = no such bar."""

    candidate: str
    baseline: str
    bar: float | None = None


@dataclass(frozen=True)
class Case:
    """One thing that several parties do: ``parties`` maps a name to a function that measures it once.

    ``note`` is what was counted and not timed, in words. ``each`` is how many recipients a message has.
    """

    name: str
    parties: Mapping[str, Callable[[], Sample]]
    comparisons: tuple[Comparison, ...]
    note: str = ""
    each: int = 1


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios with its confidence interval."""

    median: float
    low: float
    high: float

    def holds(self, bar: float | None) -> bool | None:
        """Whether the bar is reached; ``None`` when the interval does not say, or when there is no bar."""
        if bar is None or self.low < bar <= self.high:
            return None
        return self.low >= bar


def ratio(values: Sequence[float]) -> Ratio:
    """The median and an interval that holds the true median with CONFIDENCE, whatever the distribution.

    Between the k-th smallest and the k-th largest value, with k from the binomial distribution: the chance
    that fewer than k of n values lie below the median is P(Bin(n, 1/2) < k).
    """
    ordered = sorted(values)
    count = len(ordered)
    outside, k = 0.0, 0
    while (outside := outside + math.comb(count, k) / 2**count) <= (1 - CONFIDENCE) / 2:
        k += 1
    if k == 0:
        raise ValueError(f"{count} rounds are too few for an interval")
    return Ratio(statistics.median(ordered), ordered[k - 1], ordered[count - k])


def measure(case: Case, rounds: int) -> dict[str, list[Sample]]:
    """The samples of every party, round by round; a first round, which fills the caches, is not counted."""
    if rounds < LEAST_ROUNDS:
        raise ValueError(f"{rounds} rounds are less than {LEAST_ROUNDS}")
    samples: dict[str, list[Sample]] = {name: [] for name in case.parties}
    for take in case.parties.values():
        take()
    for number in range(rounds):
        order = list(case.parties.items())
        for name, take in reversed(order) if number % 2 else order:
            samples[name].append(take())
    return samples


def compare(comparison: Comparison, samples: Mapping[str, Sequence[Sample]]) -> Ratio:
    """The ratio of the candidate's rate to the baseline's."""
    pairs = zip(samples[comparison.candidate], samples[comparison.baseline], strict=True)
    return ratio([candidate.rate / baseline.rate for candidate, baseline in pairs])
