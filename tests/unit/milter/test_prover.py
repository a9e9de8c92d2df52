"""The prover against a socket that answers as Postfix does, with Postfix's own commands behind the proof."""

from __future__ import annotations

import socketserver
import threading
from types import SimpleNamespace

import pytest

from nta_milter.config.model import RoutingSettings
from nta_milter.milter.prover import NOT_YET, Prover
from nta_milter.postfix.live import REFUSAL, Tickets
from nta_milter.postfix.proof import RoutingProver
from tests.unit.postfix.conftest import configuration

__all__ = ["configuration"]


class Listener(socketserver.ThreadingTCPServer):
    """Refuses each probe, and first does the last thing of ``meanwhile``."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.meanwhile = []


class Answers(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 listener")
        while (line := self.rfile.readline().strip()) and not line.upper().startswith(b"DATA"):
            self.say("250 ok")
        self.say("354 go on")
        while self.rfile.readline().strip() != b".":
            pass
        if self.server.meanwhile:
            self.server.meanwhile.pop()()
        self.say(f"550 5.7.1 {REFUSAL}")
        self.rfile.readline()
        self.say("221 bye")

    def say(self, line):
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def listener():
    with Listener() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def service(configuration, listener):
    routing = RoutingSettings(postfix=configuration, probe=f"127.0.0.1:{listener.server_address[1]}")
    return SimpleNamespace(
        snapshot=SimpleNamespace(
            settings=SimpleNamespace(routing=routing), routing=RoutingProver(configuration, 3600)
        )
    )


def reloaded(service, configuration):
    """As a worker does it: what was seen so far is taken along."""
    fresh = RoutingProver(configuration, 3600)
    fresh.follow(service.snapshot.routing)
    service.snapshot = SimpleNamespace(settings=service.snapshot.settings, routing=fresh)


def test_a_reload_during_a_probe_is_followed_by_a_probe_of_its_own(
    configuration, listener, service, monkeypatch
):
    # no cleanup(8) runs here, which is a fault of its own
    monkeypatch.setattr("nta_milter.postfix.proof.outdated", lambda files, queue, runs: "")
    prover = Prover(service, None, Tickets(), 0)

    def reload():
        reloaded(service, configuration)
        prover.now()

    listener.meanwhile = [lambda: None, reload]
    before = service.snapshot
    prover._look(before)
    assert service.snapshot is not before
    assert service.snapshot.routing.live == NOT_YET
    prover._look(service.snapshot)
    assert listener.meanwhile == []
    assert service.snapshot.routing.live == ""
    assert service.snapshot.routing.current().proven


class Ended(BaseException):
    """Ends the proving, which no fault does."""


def test_a_fault_of_our_own_does_not_end_the_proving(service):
    def resolver():
        raise faults.pop()

    faults = [Ended(), RuntimeError("twice"), RuntimeError("once")]
    service.snapshot.compliance = SimpleNamespace(proof=resolver)
    prover = Prover(service, None, Tickets(), 0)
    with pytest.raises(Ended):
        prover.run()
    assert faults == []
