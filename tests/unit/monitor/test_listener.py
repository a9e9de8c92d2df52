import contextlib
import http.client
import socket
import threading
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.config.metrics import loopback
from nta_milter.errors import ConfigurationError
from nta_milter.monitor.listener import serve, start
from tests.laboratory.ports import free_port

TEXT = "# HELP a An a.\n# TYPE a gauge\na 1\n"


@pytest.fixture
def listener():
    running = serve(f"127.0.0.1:{free_port()}", lambda: TEXT)
    yield running
    running.shutdown()
    running.server_close()


def get(listener, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", listener.server_port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


def test_metrics_are_told_in_the_format_of_prometheus(listener):
    answer, body = get(listener, "/metrics")
    assert (answer.status, body) == (200, TEXT)
    assert answer.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert get(listener, "/metrics?a=b")[1] == TEXT


@pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", 404), ("/metrics", "POST", 501)])
def test_nothing_else_is_answered(listener, path, method, status):
    assert get(listener, path, method)[0].status == status


def test_who_never_ends_his_question_is_cut_off(listener, monkeypatch):
    monkeypatch.setattr("nta_milter.monitor.listener.PATIENCE", 2.0)
    ended = threading.Event()

    def drip(client):
        with contextlib.suppress(OSError):
            client.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
            while not ended.wait(0.05):
                client.sendall(b"x")

    with socket.create_connection(("127.0.0.1", listener.server_port)) as client:
        dripping = threading.Thread(target=drip, args=(client,), daemon=True)
        dripping.start()
        assert get(listener, "/metrics")[1] == TEXT
        ended.set()
        dripping.join()


@pytest.mark.parametrize(
    "said", [b"", b"\0\xff\n", b"GET /metrics\r\n", b"GET " + b"a" * 70_000 + b" HTTP/1.0\r\n\r\n"]
)
def test_what_is_no_http_harms_nobody(listener, said, capsys):
    with socket.create_connection(("127.0.0.1", listener.server_port), timeout=10) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            client.recv(1000)
    assert get(listener, "/metrics")[1] == TEXT
    assert capsys.readouterr().err == ""


def test_a_fault_is_logged_and_the_next_one_is_answered(caplog):
    answers = iter((ZeroDivisionError, None))

    def told():
        fault = next(answers)
        if fault:
            raise fault
        return TEXT

    running = serve(f"127.0.0.1:{free_port()}", told)
    try:
        assert get(running, "/metrics")[0].status == 503
        assert get(running, "/metrics")[1] == TEXT
    finally:
        running.shutdown()
        running.server_close()
    assert "event=metrics-failed" in caplog.text


def test_a_port_in_use_and_an_address_of_the_world_are_refused(listener):
    with pytest.raises(ConfigurationError, match="cannot be opened: Address already in use"):
        serve(f"127.0.0.1:{listener.server_port}", lambda: TEXT)
    with pytest.raises(ConfigurationError, match="on loopback"):
        serve("192.0.2.1:9716", lambda: TEXT)


def test_no_service_stops_for_want_of_a_port(listener, caplog):
    start(f"127.0.0.1:{listener.server_port}", lambda: TEXT)
    assert "-: event=metrics-off reason=" in caplog.text
    assert get(listener, "/metrics")[1] == TEXT


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("127.0.0.1:9716", ("127.0.0.1", 9716)),
        ("127.5.5.5:1", ("127.5.5.5", 1)),
        ("[::1]:9716", ("::1", 9716)),
        ("0.0.0.0:9716", None),
        ("192.0.2.1:9716", None),
        ("[::]:9716", None),
        ("127.0.0.1", None),
        ("127.0.0.1:0", None),
        ("127.0.0.1:65536", None),
        ("localhost:9716", None),
        ("::1:9716", None),
        ("", None),
    ],
)
def test_only_an_address_of_loopback_with_a_port_is_one(place, found):
    assert loopback(place) == found


@given(st.one_of(st.text(max_size=30), st.from_regex(r"\[?[0-9a-f.:]{1,20}\]?:[0-9]{1,6}", fullmatch=True)))
def test_whatever_is_written_nothing_but_loopback_is_listened_at(place):
    found = loopback(place)
    assert found is None or (ip_address(found[0]).is_loopback and 0 < found[1] < 65_536)
