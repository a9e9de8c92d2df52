"""Laboratories for tests: with nta-milter, with secure download, and with milters that only do as told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.laboratory import Laboratory


class Plumbing(Laboratory):
    """A laboratory with ``tests.laboratory.noop`` as its milter."""

    def order(self, **orders: Any) -> None:
        """What the milter does with the mails to come: ``route``, ``recipient``, ``reply``."""
        file = self.directory / "care" / "nta-milter" / "noop.json"
        whole = file.with_suffix(".new")
        whole.write_text(json.dumps(orders))
        whole.replace(file)

    def seen(self) -> list[dict[str, Any]]:
        """What the milter has seen, a dictionary for each mail."""
        file = self.directory / "care" / "nta-milter" / "noop.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="session")
def _laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with Laboratory(tmp_path_factory.mktemp("laboratory")) as laboratory:
        yield laboratory


@pytest.fixture(scope="session")
def _plumbing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plumbing]:
    noop = (sys.executable, "-m", "tests.laboratory.noop")
    with Plumbing(tmp_path_factory.mktemp("plumbing"), milter=noop) as laboratory:
        yield laboratory


@pytest.fixture(scope="session")
def _portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with Laboratory(tmp_path_factory.mktemp("portal"), download=True) as laboratory:
        yield laboratory


@pytest.fixture(scope="session")
def _idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    noop = (sys.executable, "-m", "tests.laboratory.noop")
    with Laboratory(tmp_path_factory.mktemp("idle"), milter=noop, download=True) as laboratory:
        yield laboratory


@pytest.fixture
def portal(_portal: Laboratory) -> Laboratory:
    """The laboratory with nta-milter, its store, worker and portal at care.test, as freshly built."""
    _portal.reset()
    return _portal


@pytest.fixture
def idle(_idle: Laboratory) -> Laboratory:
    """The same with a milter that does nothing."""
    _idle.reset()
    return _idle


@pytest.fixture
def laboratory(_laboratory: Laboratory) -> Laboratory:
    """The laboratory with nta-milter at care.test, as freshly built."""
    _laboratory.reset()
    return _laboratory


@pytest.fixture
def plumbing(_plumbing: Plumbing) -> Plumbing:
    """The laboratory with a milter that obeys, as freshly built."""
    _plumbing.reset()
    _plumbing.order()
    return _plumbing


@pytest.fixture
def care_etc(plumbing: Plumbing) -> Path:
    """The folder that Postfix at care.test knows as /etc/postfix."""
    return plumbing.postfix["care"].home / "etc"
