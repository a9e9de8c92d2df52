import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nta_milter.lookup.cache import HOT, REFRESH_AT, Cache, Counters, Loaded


class Clock:
    """A time that passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def pass_by(self, seconds):
        self.now += seconds


class Loader:
    """Gives what it is told to give, and counts."""

    def __init__(self, value="value", ttl=60.0, failed=False):
        self.value, self.ttl, self.failed = value, ttl, failed
        self.calls = []

    def __call__(self, key, least):
        self.calls.append((key, least))
        return Loaded(self.value, self.ttl, self.failed)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def later():
    """What was put off until later."""
    return []


@pytest.fixture
def cache(clock, later):
    return Cache(3, clock=clock, background=later.append)


def until(happened):
    for _ in range(2000):
        if happened():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


def run(later):
    while later:
        later.pop(0)()


def test_a_value_is_loaded_once_and_held(cache):
    load = Loader()
    assert [cache.get("a", load).value for _ in range(5)] == ["value"] * 5
    assert load.calls == [("a", 0.0)]


def test_a_value_is_held_exactly_as_long_as_it_may(cache, clock):
    load = Loader(ttl=60)
    assert cache.get("a", load).expires == 1060
    clock.pass_by(59.999)
    cache.get("a", load)
    assert len(load.calls) == 1
    clock.pass_by(0.001)
    cache.get("a", load)
    assert len(load.calls) == 2


def test_a_hit_does_not_lengthen_a_life(cache, clock):
    load = Loader(ttl=10)
    for _ in range(20):
        cache.get("a", load)
        clock.pass_by(1)
    assert len(load.calls) == 2


def test_a_value_without_a_life_is_given_but_not_held(cache):
    load = Loader(ttl=0)
    assert cache.get("a", load).value == "value"
    assert cache.counters().entries == 0
    cache.get("a", load)
    assert len(load.calls) == 2


def test_the_least_recently_used_goes_first(cache):
    load = Loader()
    for key in "abc":
        cache.get(key, load)
    cache.get("a", load)
    cache.get("d", load)
    assert cache.keys() == ("c", "a", "d")
    assert cache.counters().evictions == 1


def test_looking_without_using_keeps_the_order(cache):
    for key in "abc":
        cache.get(key, Loader())
    assert cache.held("a").value == "value"
    cache.get("d", Loader())
    assert cache.held("a") is None


def test_a_value_must_last_as_long_as_is_asked(cache, clock):
    load = Loader(ttl=60)
    cache.get("a", load)
    clock.pass_by(40)
    assert cache.find("a", load, least=19) is not None
    assert cache.find("a", load, least=20) is None
    assert cache.get("a", load, least=20).expires == 1100
    assert load.calls == [("a", 0.0), ("a", 20)]


def test_finding_never_loads(cache):
    load = Loader()
    assert cache.find("a", load) is None
    assert load.calls == []


def test_a_hot_value_is_loaded_again_before_it_expires(cache, clock, later):
    load = Loader("old", ttl=100)
    for _ in range(HOT + 1):
        cache.get("a", load)
    clock.pass_by(100 * REFRESH_AT + 1)
    load.value = "new"
    assert cache.get("a", load).value == "old"
    assert len(load.calls) == 1
    run(later)
    assert len(load.calls) == 2
    assert load.calls[1][1] >= 9, "what it builds on must outlive the old value"
    assert cache.get("a", load).value == "new"
    assert cache.counters().prefetches == 1


def test_it_is_loaded_again_once_only(cache, clock, later):
    load = Loader(ttl=100)
    for _ in range(HOT):
        cache.get("a", load)
    clock.pass_by(95)
    for _ in range(10):
        cache.get("a", load)
    assert len(later) == 1


def test_a_cold_value_just_expires(cache, clock, later):
    load = Loader(ttl=100)
    cache.get("a", load)
    clock.pass_by(95)
    cache.get("a", load)
    assert later == []


def test_without_a_background_nothing_is_loaded_ahead(clock):
    cache = Cache(3, clock=clock)
    load = Loader(ttl=100)
    for _ in range(10):
        cache.get("a", load)
    clock.pass_by(95)
    assert cache.get("a", load).expires == 1100
    assert len(load.calls) == 1


def test_a_failure_ahead_of_time_leaves_the_living_value(cache, clock, later):
    load = Loader("good", ttl=100)
    for _ in range(HOT):
        cache.get("a", load)
    clock.pass_by(95)
    cache.get("a", load)
    load.value, load.ttl, load.failed = "failure", 10, True
    run(later)
    assert cache.get("a", load).value == "good"
    clock.pass_by(5)
    assert cache.get("a", load).value == "failure"


def test_a_failure_is_held_for_its_own_short_time(cache, clock):
    load = Loader("failure", ttl=10, failed=True)
    cache.get("a", load)
    cache.get("a", load)
    assert len(load.calls) == 1
    clock.pass_by(10)
    cache.get("a", load)
    assert len(load.calls) == 2
    assert cache.counters().failures == 2


def test_an_answer_replaces_a_failure_that_still_lives(cache):
    cache.get("a", Loader("failure", ttl=10, failed=True))
    assert cache.get("a", Loader("good", ttl=100), least=20).value == "good"
    assert cache.get("a", Loader()).value == "good"


def test_flushing_forgets_one(cache):
    for key in "ab":
        cache.get(key, Loader())
    assert cache.flush("a")
    assert not cache.flush("a")
    assert cache.keys() == ("b",)


def test_clearing_forgets_all(cache):
    for key in "ab":
        cache.get(key, Loader())
    assert cache.clear() == 2
    assert cache.keys() == ()


@pytest.mark.parametrize("forget", [lambda cache: cache.flush("a"), lambda cache: cache.clear()])
def test_what_was_being_loaded_when_it_was_forgotten_is_not_held(cache, forget):
    def load(key, least):
        forget(cache)
        return Loaded("stale", 60.0)

    assert cache.get("a", load).value == "stale"
    assert cache.held("a") is None


def test_many_threads_load_once(clock):
    cache = Cache(10, clock=clock)
    begun, go_on = threading.Event(), threading.Event()
    calls = []

    def load(key, least):
        calls.append(key)
        begun.set()
        go_on.wait(10)
        return Loaded("value", 60.0)

    with ThreadPoolExecutor(20) as executor:
        first = executor.submit(cache.get, "a", load)
        begun.wait(10)
        others = [executor.submit(cache.get, "a", load) for _ in range(19)]
        until(lambda: cache.counters().joined == 19)
        go_on.set()
        assert {future.result(10).value for future in [first, *others]} == {"value"}
    assert calls == ["a"]
    assert cache.counters() == Counters(1, 0, 1, 19, 0, 0, 0)


def test_loads_of_different_keys_do_not_wait_for_each_other(clock):
    cache = Cache(10, clock=clock)
    both = threading.Barrier(2, timeout=10)

    def load(key, least):
        both.wait()
        return Loaded(key, 60.0)

    with ThreadPoolExecutor(2) as executor:
        futures = [executor.submit(cache.get, key, load) for key in "ab"]
        assert [future.result(10).value for future in futures] == ["a", "b"]


def test_what_a_load_raises_everybody_gets_and_the_next_one_tries_again(clock):
    cache = Cache(10, clock=clock)
    begun, go_on = threading.Event(), threading.Event()

    def broken(key, least):
        begun.set()
        go_on.wait(10)
        raise ZeroDivisionError("on purpose")

    with ThreadPoolExecutor(2) as executor:
        first = executor.submit(cache.get, "a", broken)
        begun.wait(10)
        second = executor.submit(cache.get, "a", broken)
        until(lambda: cache.counters().joined == 1)
        go_on.set()
        for future in (first, second):
            with pytest.raises(ZeroDivisionError):
                future.result(10)
    assert cache.get("a", Loader()).value == "value"


class AgainstAModel(RuleBasedStateMachine):
    """The cache and a plain dict see the same; the dict knows what may be given."""

    CAPACITY = 4

    @initialize()
    def begin(self):
        self.clock = Clock()
        self.later = []
        self.cache = Cache(self.CAPACITY, clock=self.clock, background=self.later.append)
        self.alive = {}
        self.serial = 0

    def load(self, key, ttl, failed):
        self.serial += 1
        value = self.serial
        if not (failed and self.cache.held(key)):
            self.alive[key] = (value, self.clock.now + ttl)
        return Loaded(value, ttl, failed)

    @rule(key=st.integers(0, 7), ttl=st.integers(0, 30), failed=st.booleans())
    def get(self, key, ttl, failed):
        held = self.cache.get(key, lambda key, least: self.load(key, float(ttl), failed))
        value, expires = self.alive[key]
        assert held.value == value
        assert expires > self.clock.now or ttl == 0

    @rule(seconds=st.integers(0, 20))
    def pass_by(self, seconds):
        self.clock.pass_by(seconds)

    @rule()
    def run_later(self):
        run(self.later)

    @rule(key=st.integers(0, 7))
    def flush(self, key):
        self.cache.flush(key)
        self.alive.pop(key, None)

    @invariant()
    def never_more_than_its_capacity(self):
        if hasattr(self, "cache"):
            assert self.cache.counters().entries <= self.CAPACITY


TestAgainstAModel = AgainstAModel.TestCase


@given(st.lists(st.integers(0, 20), max_size=60))
def test_what_is_held_is_what_was_used_last(keys):
    cache = Cache(5, clock=Clock())
    for key in keys:
        cache.get(key, Loader())
    used_last = list(dict.fromkeys(reversed(keys)))[:5]
    assert list(cache.keys()) == used_last[::-1]
