"""Samples as Prometheus reads them: the text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nta_milter.monitor.registry import Metric, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(samples: Iterable[Sample], catalogue: Iterable[Metric]) -> str:
    """Each metric of the catalogue that has samples, with its meaning, in the order of the catalogue."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    return "".join(line for metric in catalogue for line in _lines(metric, by_name.get(metric.name, [])))


def _lines(metric: Metric, samples: list[Sample]) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP {metric.name} {_escaped(metric.text)}\n"
    yield f"# TYPE {metric.name} {metric.kind}\n"
    for name, value in series(metric, samples):
        yield f"{name} {_number(value)}\n"


def series(metric: Metric, samples: Iterable[Sample]) -> Iterator[tuple[str, float]]:
    """The samples of this metric, each under its name with its labels."""
    for sample in samples:
        if sample.name == metric.name:
            pairs = list(zip(metric.labels, sample.labels, strict=True))
            if sample.bound:
                pairs.append(("le", sample.bound))
            shown = ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in pairs)
            braced = f"{{{shown}}}" if shown else ""
            yield f"{metric.name}{sample.suffix}{braced}", sample.value


def _escaped(value: str, *, quoted: bool = False) -> str:
    value = value.replace("\\", "\\\\").replace("\n", "\\n")
    return value.replace('"', '\\"') if quoted else value


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
