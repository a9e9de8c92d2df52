"""``nta-milter status``: whether the services run, what is in force, and what needs an administrator."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nta_milter import __version__
from nta_milter.audit.tell import EVENTS
from nta_milter.cli.health import UNITS, Answers, Concern, judge
from nta_milter.cli.options import EXIT_NO, EXIT_TEMPORARY, add_config, add_json, loaded
from nta_milter.config.model import Settings
from nta_milter.errors import TemporaryError
from nta_milter.milter.metrics import METRICS as MILTER
from nta_milter.monitor.control import ask
from nta_milter.monitor.exposition import series, text
from nta_milter.monitor.process import STARTED, STATUS, files_fingerprint, samples_of
from nta_milter.monitor.registry import Sample, join
from nta_milter.portal.metrics import METRICS as PORTAL
from nta_milter.worker.metrics import METRICS as WORKER

CATALOGUE = (STARTED, EVENTS, *MILTER, *WORKER, *PORTAL)
"""Every metric of all services, in the order of packaging/doc/metrics.md."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``status``."""
    parser = commands.add_parser(
        "status",
        help="show whether the services run, what they do, and what needs an administrator",
        description="Ask each running service, over its control socket, how it is. Exit status 0 if nothing "
        "needs an administrator, 1 if something does (each is named, with its mend), 75 if the milter does "
        "not answer.",
    )
    add_config(parser)
    form = parser.add_mutually_exclusive_group()
    add_json(form)
    form.add_argument(
        "--metrics",
        action="store_true",
        help="print the numbers of all services in the text format of Prometheus, and judge nothing",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was told; 0, 1 or 75."""
    settings = loaded(arguments).settings
    services = _ask(settings)
    if arguments.metrics:
        print(text(_samples(services), CATALOGUE), end="")
        return 0 if services["milter"] else EXIT_TEMPORARY
    at = datetime.now(UTC)
    concerns = tuple(dict.fromkeys(judge(settings, files_fingerprint(settings), services, at)))
    if arguments.json:
        print(json.dumps(_as_json(services, concerns), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_as_text(settings, services, concerns, at)))
    if not services["milter"]:
        return EXIT_TEMPORARY
    return EXIT_NO if concerns else 0


def _folders(settings: Settings) -> dict[str, Path]:
    return {
        "milter": settings.milter.control,
        "worker": settings.worker.control,
        "portal": settings.portal.control,
    }


def _ask(settings: Settings) -> dict[str, Answers]:
    """What each service's processes say; a service that does not answer says nothing.

    Raises:
        TemporaryError: this user may not ask.
    """
    found: dict[str, Answers] = {}
    for name, folder in _folders(settings).items():
        try:
            found[name] = ask(folder, STATUS)
        except TemporaryError as error:
            if isinstance(error.__cause__, PermissionError):
                raise
            found[name] = {}
    return found


def _samples(services: Mapping[str, Answers]) -> list[Sample]:
    processes = [samples_of(answer) for answers in services.values() for answer in answers.values()]
    return join(processes, {metric.name: metric for metric in CATALOGUE})


def _as_json(services: Mapping[str, Answers], concerns: tuple[Concern, ...]) -> dict[str, object]:
    samples = _samples(services)
    return {
        "fine": not concerns,
        "version": __version__,
        "concerns": [asdict(concern) for concern in concerns],
        "services": {
            name: {
                process: {key: value for key, value in answer.items() if key != "metrics"}
                for process, answer in answers.items()
            }
            for name, answers in services.items()
        },
        "metrics": {name: value for metric in CATALOGUE for name, value in series(metric, samples)},
    }


def _as_text(
    settings: Settings, services: Mapping[str, Answers], concerns: tuple[Concern, ...], at: datetime
) -> Iterator[str]:
    numbers = _Numbers(_samples(services))
    for name, answers in services.items():
        if answers:
            yield from _service(UNITS[name], answers, at)
            yield from {"milter": _milter, "worker": _worker, "portal": _portal}[name](answers, numbers, at)
    for concern in concerns:
        yield f"! {concern.text}  [{concern.code}]"
        yield f"  mend: {concern.mend}"
    if not concerns:
        mode = ", in shadow mode: nothing is changed or refused" if settings.mode == "shadow" else ""
        yield f"nothing needs you{mode}"


def _service(unit: str, answers: Answers, at: datetime) -> Iterator[str]:
    began = min(datetime.fromisoformat(answer["started_at"]) for answer in answers.values())
    versions = " and ".join(sorted({answer["version"] for answer in answers.values()}))
    several = f", {len(answers)} processes" if len(answers) > 1 else ""
    yield f"{unit} {versions}: up for {_span(at - began)}{several}"


def _milter(answers: Answers, numbers: _Numbers, at: datetime) -> Iterator[str]:
    answer = next(iter(answers.values()))
    proven = answer["proven"]
    if proven is None:
        yield "  routing and resolver: not looked at yet"
    else:
        yield f"  routing: {'not proven' if proven['routing'] else 'proven'}"
        yield f"  resolver: {'not proven' if proven['resolver'] else 'proven'}"
    yield f"  mode: {answer['mode']}"
    yield f"  messages: {numbers.by('nta_milter_messages_total', 1)}"
    yield f"  recipients by route: {numbers.by('nta_milter_routes_total', 0)}"
    yield f"  domains asked for: {numbers.by('nta_milter_lookups_total', 0)}"
    entries = numbers.by("nta_milter_cache_entries", 0)
    yield f"  look-up cache: {entries}; asked: {numbers.by('nta_milter_cache_requests_total', 1)}"
    for key in answer["keys"]:
        yield f"  key of {key['address']}: {_days(datetime.fromisoformat(key['until']) - at)}"
    for domain, enddate in answer["records"].items():
        yield f"  record of {domain}: {f'until the end of {enddate}' if enddate else 'none'}"


def _worker(answers: Answers, numbers: _Numbers, at: datetime) -> Iterator[str]:
    answer = next(iter(answers.values()))
    rounds = (
        f"{duty} {'FAILED' if each['fault'] else _span(at - datetime.fromisoformat(each['at'])) + ' ago'}"
        for duty, each in answer["rounds"].items()
    )
    yield f"  duties: {', '.join(rounds) or 'none yet'}"
    yield f"  commits in Postfix's queue: {answer['commits']['queued']}"
    store = answer["store"]
    if store["fault"]:
        return
    yield f"  store: {_size(store['bytes'])}; messages: {_counted(store['messages'])}"
    yield f"  deliveries: {_counted(store['deliveries'])}"
    yield f"  outbox: {_counted(store['outbox'])}"
    waits = {
        what: _span(at - datetime.fromisoformat(since)) for what, since in store["oldest"].items() if since
    }
    if waits:
        yield f"  oldest that waits: {_counted(waits)}"


def _portal(answers: Answers, numbers: _Numbers, at: datetime) -> Iterator[str]:
    yield f"  requests: {numbers.by('nta_milter_portal_requests_total', 0)}"


class _Numbers:
    """Sums of samples by one of their labels."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def by(self, name: str, label: int) -> str:
        found: dict[str, float] = {}
        for sample in self._samples:
            if sample.name == name:
                found[sample.labels[label]] = found.get(sample.labels[label], 0) + sample.value
        return _counted({value: int(number) for value, number in found.items() if number})


def _counted(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(numbers.items())) or "none"


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _days(left: timedelta) -> str:
    return f"{left.days} days left" if left > timedelta(0) else "EXPIRED"


def _size(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 100_000 else f"{size} bytes"
