"""Starts the peers once a run and prints what was exchanged with them."""

import pytest

from tests.integration.peers.matrix import MATRIX
from tests.integration.peers.peers import PEERS, People, missing


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    absent = missing()
    assert absent == [], f"run packaging/prepare --tests: {', '.join(absent)} missing"
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def peers(people, tmp_path_factory):
    started = {}
    try:
        for kind in PEERS:
            started[kind.name] = kind(people, tmp_path_factory.mktemp("peer"))
        yield started
    finally:
        for peer in started.values():
            peer.close()


def pytest_terminal_summary(terminalreporter):
    for line in MATRIX.lines():
        terminalreporter.write_line(line)
