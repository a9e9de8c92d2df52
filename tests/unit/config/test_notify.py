import logging
import socket

import pytest

from nta_milter.config.notify import NOTIFY_SOCKET, READY, STOPPING, notify


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A socket as systemd has it."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(10)
        monkeypatch.setenv(NOTIFY_SOCKET, str(path))
        yield listener


def test_states_reach_the_manager_in_order(manager):
    notify(READY)
    notify(STOPPING)
    assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_an_abstract_name_is_understood(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("")  # the kernel chooses an abstract name
        listener.settimeout(10)
        monkeypatch.setenv(NOTIFY_SOCKET, "@" + listener.getsockname()[1:].decode())
        notify(READY)
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_manager_nothing_is_said(name, monkeypatch, caplog):
    if name is None:
        monkeypatch.delenv(NOTIFY_SOCKET, raising=False)
    else:
        monkeypatch.setenv(NOTIFY_SOCKET, name)
    notify(READY)
    assert caplog.records == []


@pytest.mark.parametrize("name", ["/nowhere/notify", "@nobody-listens-here", "/" + "x" * 200])
def test_a_manager_that_cannot_be_reached_is_logged(name, monkeypatch, caplog):
    monkeypatch.setenv(NOTIFY_SOCKET, name)
    with caplog.at_level(logging.WARNING):
        notify(READY)
    assert "event=notify-failed state=READY=1" in caplog.text
