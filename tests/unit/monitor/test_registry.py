import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.monitor.exposition import text
from nta_milter.monitor.process import Process, samples_of
from nta_milter.monitor.registry import OTHER, Metric, Registry, Sample, join

COUNTED = Metric("c_total", "counter", "Counted.", {"side": frozenset(("in", "out", OTHER))})
GAUGE = Metric("g", "gauge", "A gauge.", {}, combine="min")
LARGEST = Metric("largest", "gauge", "Another.", {}, combine="max")
SECONDS = Metric("s_seconds", "histogram", "Time.", {}, buckets=(0.1, 1.0))
CATALOGUE = (COUNTED, GAUGE, LARGEST, SECONDS)
NAMES = {metric.name: metric for metric in CATALOGUE}


def test_counting_from_many_threads_loses_nothing():
    registry = Registry()

    def count():
        for _ in range(1000):
            registry.add(COUNTED, "in")
            registry.observe(SECONDS, value=0.5)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {(each.name, each.suffix, each.bound): each.value for each in registry.samples()}
    assert found["c_total", "", ""] == 8000
    assert found["s_seconds", "_count", ""] == 8000
    assert found["s_seconds", "_bucket", "1.0"] == 8000
    assert found["s_seconds", "_bucket", "0.1"] == 0


@given(st.text(max_size=30))
def test_a_value_that_is_not_in_the_list_is_other(value):
    registry = Registry()
    registry.add(COUNTED, value)
    (sample,) = registry.samples()
    assert sample.labels == ((value,) if value in ("in", "out") else (OTHER,))


def test_small_counters_are_told_before_anything_was_counted_and_large_ones_are_not():
    large = Metric("l_total", "counter", "Large.", {"n": frozenset(map(str, range(65)))})
    registry = Registry((COUNTED, large, GAUGE))
    assert {(each.name, each.labels[0], each.value) for each in registry.samples()} == {
        ("c_total", "in", 0.0),
        ("c_total", "out", 0.0),
        ("c_total", OTHER, 0.0),
    }


def test_processes_are_summed_but_for_gauges_that_say_otherwise():
    processes = []
    for value in (3.0, 1.0, 2.0):
        registry = Registry()
        registry.add(COUNTED, "in", by=value)
        registry.set(GAUGE, value=value)
        registry.collect(lambda value=value: [(LARGEST, (), value)])
        registry.observe(SECONDS, value=value)
        processes.append(registry.samples())
    joined = {(each.name, each.suffix, each.bound): each.value for each in join(processes, NAMES)}
    assert joined["c_total", "", ""] == 6
    assert joined["g", "", ""] == 1
    assert joined["largest", "", ""] == 3
    assert joined["s_seconds", "_sum", ""] == 6
    assert joined["s_seconds", "_bucket", "1.0"] == 1
    assert joined["s_seconds", "_bucket", "+Inf"] == 3


def test_what_the_catalogue_does_not_know_is_left_out():
    assert join([[Sample("stranger", (), 1.0)]], NAMES) == []


def test_the_text_format():
    registry = Registry()
    registry.add(COUNTED, "in")
    registry.set(GAUGE, value=0.25)
    registry.observe(SECONDS, value=0.1)
    registry.observe(SECONDS, value=5)
    assert text(registry.samples(), CATALOGUE) == (
        "# HELP c_total Counted.\n"
        "# TYPE c_total counter\n"
        'c_total{side="in"} 1\n'
        "# HELP g A gauge.\n"
        "# TYPE g gauge\n"
        "g 0.25\n"
        "# HELP s_seconds Time.\n"
        "# TYPE s_seconds histogram\n"
        's_seconds_bucket{le="0.1"} 1\n'
        's_seconds_bucket{le="1.0"} 1\n'
        's_seconds_bucket{le="+Inf"} 2\n'
        "s_seconds_sum 5.1\n"
        "s_seconds_count 2\n"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [('a"b', 'a\\"b'), ("a\nb", "a\\nb"), ("a\\b", "a\\\\b")],
    ids=("quote", "line", "slash"),
)
def test_a_label_cannot_leave_its_quotes(value, shown):
    metric = Metric("m_total", "counter", "Of\nlines.", {"what": frozenset((value,))})
    registry = Registry()
    registry.add(metric, value)
    assert text(registry.samples(), (metric,)).splitlines()[-1] == f'm_total{{what="{shown}"}} 1'
    assert "# HELP m_total Of\\nlines." in text(registry.samples(), (metric,))


def test_a_process_tells_its_samples_through_json():
    registry = Registry((COUNTED,))
    registry.observe(SECONDS, value=0.5)
    process = Process("worker", registry, lambda: {"more": [1]})
    told = json.loads(json.dumps(process.answer("status", "")))
    assert (told["service"], told["more"]) == ("worker", [1])
    assert samples_of(told)[1:] == registry.samples()[1:]
    with pytest.raises(ValueError, match="flush"):
        process.answer("flush", "care.test")
