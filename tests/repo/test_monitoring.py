"""What the documents say of log and metrics, against the code."""

import ast
import re

import pytest

from nta_milter.audit.events import Event
from nta_milter.audit.tell import EVENTS
from nta_milter.cli.status import CATALOGUE
from nta_milter.milter.metrics import REASONS
from nta_milter.monitor.registry import OTHER
from tests.repo.tree import ROOT, parsed, python

LOG = (ROOT / "packaging" / "doc" / "log.md").read_text(encoding="utf-8")
METRICS = (ROOT / "packaging" / "doc" / "metrics.md").read_text(encoding="utf-8")
RULES = (ROOT / "packaging" / "prometheus" / "nta-milter.rules.yml").read_text(encoding="utf-8")
TELLING = {"tell", "tell_crash", "_tell", "log"}


def told(tree):
    """The names of events in the calls that write log lines."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        handed_on = called == "submit" and bool(node.args) and ast.unparse(node.args[0]) == "tell"
        if called in TELLING or handed_on:
            yield from (
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant)
                and isinstance(argument.value, str)
                and re.fullmatch(r"[a-z]+(-[a-z]+)*", argument.value)
            )
        elif called in ("info", "warning", "error", "exception"):
            yield from re.findall(r"event=([a-z-]+)", ast.unparse(node))


def rows(text, heading):
    section = re.split(rf"^## {heading}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    return re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)


def test_every_event_of_the_log_is_explained_once_and_the_other_way_round():
    existing = {name for path in python("nta_milter") for name in told(parsed(path))}
    documented = rows(LOG, "Events of the services")
    assert len(existing) > 30
    assert sorted(documented) == sorted(existing)


def test_every_event_of_the_audit_is_explained_in_its_order():
    assert rows(LOG, "Events of the audit") == [event.value for event in Event]


def test_every_event_of_the_audit_happens_somewhere():
    used = {
        node.attr
        for path in python("nta_milter")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Event"
    }
    # the norm names it; nobody can forward from the page of a message yet (norm.md, 6.1.15)
    assert {event.name for event in Event} - used == {"FORWARDED"}


def test_no_line_is_logged_in_another_form():
    raw = {
        str(path): [
            ast.unparse(node)
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Call)
            and re.fullmatch(r"_?log\.(debug|info|warning|error|exception)", ast.unparse(node.func))
        ]
        for path in python("nta_milter")
        if str(path) != "nta_milter/monitor/log.py"
    }
    assert {path: lines for path, lines in raw.items() if lines} == {
        # config comes before the room of log lines
        "nta_milter/config/notify.py": [
            "log.warning('-: event=notify-failed state=%s error=%s', state, error)"
        ]
    }


def row(metric):
    labels = "; ".join(
        f"{name}: "
        + ("every event of the audit, as in log.md" if metric is EVENTS else ", ".join(sorted(values)))
        for name, values in metric.labels.items()
    )
    return f"| `{metric.name}` | {metric.kind}, {metric.combine} | {labels} | {metric.text} |"


def test_every_metric_is_explained_as_the_code_has_it():
    assert re.findall(r"^\| `nta_.*$", METRICS, re.MULTILINE) == [row(metric) for metric in CATALOGUE]


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_wants_it_and_its_labels_are_few(metric):
    assert re.fullmatch(r"nta_milter_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.combinations <= 200
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert all(re.fullmatch(r"[a-z0-9-]+", value) for values in metric.labels.values() for value in values)


def test_alerts_ask_for_metrics_and_labels_that_there_are():
    by_name = {metric.name: metric for metric in CATALOGUE}
    asked = re.findall(r"(nta_milter_[a-z_]+)(?:\{([^}]*)\})?", "\n".join(re.findall(r"expr: (.*)", RULES)))
    assert len(asked) >= 5
    for name, labels in asked:
        for label, values in re.findall(r'([a-z]+)=~?"([^"]*)"', labels):
            assert set(values.split("|")) <= by_name[name].labels[label], (name, label)
        assert name in by_name
    assert RULES.count("- alert: ") == RULES.count("expr: ") == RULES.count("severity: ") >= 4


def reasons(tree):
    """The codes that route.py gives its reasons."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "Reason",
            "_decision",
            "_with_report",
        ):
            code = {"Reason": 0, "_decision": 2, "_with_report": 3}[node.func.id]
            if isinstance(node.args[code], ast.Constant):
                yield node.args[code].value
        elif (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "(route, code, text)"
            and isinstance(node.value, ast.Tuple)
        ):
            yield node.value.elts[1].value


def test_every_reason_for_a_route_is_counted_by_its_name():
    (path,) = [path for path in python("nta_milter") if str(path) == "nta_milter/policy/route.py"]
    found = set(reasons(parsed(path))) - {""}
    # remarks beside the deciding reason, and the answer for a message as a whole
    beside = {"certificate-unusable", "separate-copies"}
    assert found - beside == REASONS - {OTHER}
