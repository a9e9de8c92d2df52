import itertools
import random

import pytest

from tests.bench.measure import Case, Comparison, Ratio, Sample, compare, measure, ratio


def test_the_interval_is_between_the_order_statistics_of_the_binomial_distribution():
    assert ratio([float(n) for n in range(1, 16)]) == Ratio(8.0, 4.0, 12.0)
    assert ratio([float(n) for n in range(1, 22)]) == Ratio(11.0, 7.0, 15.0)
    with pytest.raises(ValueError, match="too few"):
        ratio([1.0, 2.0, 3.0, 4.0])


def test_the_interval_holds_the_true_median_at_least_nine_times_in_ten():
    chance = random.Random(7)
    hits = 0
    for _ in range(2000):
        found = ratio([chance.expovariate(0.693147) for _ in range(15)])
        hits += found.low <= 1.0 <= found.high
    assert hits >= 0.9 * 2000


def test_a_bar_holds_is_missed_or_is_open():
    found = Ratio(0.8, 0.7, 0.9)
    assert found.holds(0.7) is True
    assert found.holds(0.71) is None
    assert found.holds(0.9) is None
    assert found.holds(0.91) is False
    assert found.holds(None) is None


def test_rounds_turn_round_and_the_first_is_not_counted():
    order: list[str] = []
    clock = itertools.count(1)

    def party(name):
        def take():
            order.append(name)
            return Sample(10, float(next(clock)), 0.5)

        return take

    case = Case("c", {"a": party("a"), "b": party("b")}, (Comparison("a", "b"),))
    samples = measure(case, 15)
    assert "".join(order) == "ab" + "abba" * 7 + "ab"
    assert len(samples["a"]) == len(samples["b"]) == 15
    assert samples["a"][0].rate == 10 / 3
    assert samples["a"][0].cpu_per_message == 0.05
    with pytest.raises(ValueError, match="less than 15"):
        measure(case, 14)


def test_a_machine_that_grows_slower_does_not_change_the_ratio():
    speed = itertools.count(100)

    def party(work):
        return lambda: Sample(1, work * next(speed), 0.0)

    case = Case("c", {"a": party(2.0), "b": party(1.0)}, (Comparison("a", "b"),))
    assert compare(case.comparisons[0], measure(case, 16)).median == pytest.approx(0.5, rel=0.01)
