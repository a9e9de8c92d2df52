"""Fetching from a real HTTP server on loopback, well and badly behaved."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import FetchFailed
from nta_milter.worker import fetch as fetch_module
from nta_milter.worker.fetch import PORT, REDIRECTS, Fetched, allowed, fetch

from .site import Site

NETWORKS = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def site():
    with Site().running() as server:
        yield server


def get(site, path="/", **options):
    return fetch(site.url + path, **{"networks": NETWORKS, **options})


def test_what_is_there_comes_with_its_moment(site):
    site.answers["/ca.crl?x=1"] = lambda handler: handler.reply(200, b"list", Last_Modified="yesterday")
    assert get(site, "/ca.crl?x=1") == Fetched(b"list", "yesterday")
    [(_, fields)] = site.asked
    assert fields["Host"] == f"127.0.0.1:{site.server_port}"
    assert fields["Accept-Encoding"] == "identity"
    assert "If-Modified-Since" not in fields


def test_what_has_not_changed_does_not_come_again(site):
    site.answers["/"] = lambda handler: handler.reply(304)
    assert get(site, modified="yesterday") == Fetched(None, "yesterday")
    assert site.asked[0][1]["If-Modified-Since"] == "yesterday"
    with pytest.raises(FetchFailed, match="status 304"):
        get(site)


@pytest.mark.parametrize("status", [204, 206, 404, 500])
def test_another_status_is_told(site, status):
    site.answers["/"] = lambda handler: handler.reply(status)
    with pytest.raises(FetchFailed, match=f"http://127.0.0.1.*status {status}"):
        get(site)


def test_redirects_are_followed_a_few_times(site):
    site.answers["/0"] = lambda handler: handler.reply(302, Location="/1")
    site.answers["/1"] = lambda handler: handler.reply(301, Location=f"{site.url}/2")
    site.answers["/2"] = lambda handler: handler.reply(200, b"list")
    site.answers["/loop"] = lambda handler: handler.reply(302, Location="/loop")
    assert get(site, "/0").data == b"list"
    site.asked.clear()
    with pytest.raises(FetchFailed, match=f"more than {REDIRECTS} redirects"):
        get(site, "/loop")
    assert len(site.asked) == REDIRECTS + 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("https://crl.care.test/", "no address for plain HTTP"),
        ("file:///etc/passwd", "no address for plain HTTP"),
        ("http://user@127.0.0.1/", "no address for plain HTTP"),
        ("http://[::1]:9/", "not public"),
        ("http://192.168.1.1/", "not public"),
        ("http://169.254.169.254/latest/", "not public"),
        ("http://[", "Invalid IPv6 URL"),
        ("http://crl.care.test:port/", "Port could not be cast"),
    ],
)
def test_a_redirect_leads_nowhere_else(site, target, reason):
    site.answers["/"] = lambda handler: handler.reply(302, Location=target)
    with pytest.raises(FetchFailed, match=reason):
        get(site)


def test_of_many_addresses_no_other_is_tried_when_the_time_is_over(site, monkeypatch):
    def known(host, port, *_, **__):
        hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.1") if host == "crl.care.test" else (host,)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    with fetch_module._Deadline(60) as deadline:
        fetch_module._connected("crl.care.test", site.server_port, NETWORKS, deadline).close()
        deadline._end()
        with pytest.raises(TimeoutError):
            fetch_module._connected("crl.care.test", site.server_port, NETWORKS, deadline)


def test_without_leave_nothing_on_this_host_is_asked(site):
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
        with pytest.raises(FetchFailed, match="not public"):
            fetch(f"http://{host}:{site.server_port}/")
    assert site.asked == []


@pytest.mark.parametrize(
    ("address", "port", "answer"),
    [
        ("93.184.216.34", 80, True),
        ("93.184.216.34", 8080, False),
        ("2606:2800:220:1::1", 80, True),
        ("127.0.0.1", 80, False),
        ("0.0.0.0", 80, False),
        ("10.1.2.3", 80, False),
        ("172.16.0.1", 80, False),
        ("100.64.0.1", 80, False),
        ("169.254.169.254", 80, False),
        ("224.0.0.1", 80, False),
        ("255.255.255.255", 80, False),
        ("::1", 80, False),
        ("::", 80, False),
        ("fe80::1%eth0", 80, False),
        ("fd00::1", 80, False),
        ("ff02::1", 80, False),
        ("::ffff:10.0.0.1", 80, False),
        ("::ffff:93.184.216.34", 80, True),
        ("64:ff9b::7f00:1", 80, False),
        ("2002:7f00:1::", 80, False),
        ("2001:0:0:1::", 80, False),
    ],
)
def test_only_public_addresses_are_connected_to(address, port, answer):
    assert allowed(address, port) is answer


@given(st.ip_addresses(network="10.1.2.0/24"), st.integers(1, 65535))
def test_a_listed_network_is_allowed_on_any_port(address, port):
    assert allowed(str(address), port, (ip_network("10.1.2.0/24"),))
    assert allowed(f"::ffff:{address}", port, (ip_network("10.1.2.0/24"),))
    assert not allowed(str(address), PORT, (ip_network("10.9.0.0/16"),))


def test_a_long_answer_is_left_at_the_limit(site):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65_536)
        except OSError:
            left.set()

    left = threading.Event()
    site.answers["/announced"] = lambda handler: handler.reply(200, b"x" * 1_001)
    site.answers["/endless"] = endless
    site.answers["/fits"] = lambda handler: handler.reply(200, b"x" * 1_000)
    assert len(get(site, "/fits", size_limit=1_000).data) == 1_000
    for path in ("/announced", "/endless"):
        with pytest.raises(FetchFailed, match="more than 1000 bytes"):
            get(site, path, size_limit=1_000)
    assert left.wait(30)


def test_an_answer_that_is_cut_off_is_not_taken(site):
    def cut(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nlist")

    site.answers["/"] = cut
    with pytest.raises(FetchFailed, match="cut off"):
        get(site)


def test_a_packed_answer_is_not_taken(site):
    site.answers["/"] = lambda handler: handler.reply(200, b"x", Content_Encoding="gzip")
    with pytest.raises(FetchFailed, match="packed"):
        get(site)


@pytest.mark.parametrize("in_fields", [True, False])
def test_a_server_that_drips_is_left_in_time(site, in_fields):
    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"X: " if in_fields else b"\r\n"))
        try:
            while not left.wait(0.05):
                handler.wfile.write(b"x")
        except OSError:
            left.set()

    left = threading.Event()
    site.answers["/"] = drip
    with pytest.raises(FetchFailed, match=r"takes more than 0\.5 s"):
        get(site, seconds=0.5)
    assert left.wait(30)


def test_a_server_that_is_not_there_or_speaks_otherwise():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"220 mail.care.test ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(FetchFailed, match="cannot be fetched"):
            fetch(f"http://127.0.0.1:{port}/", networks=NETWORKS)
        thread.join()
    with pytest.raises(FetchFailed, match="cannot be fetched"):
        fetch(f"http://127.0.0.1:{port}/", networks=NETWORKS)


@given(st.text(max_size=60))
def test_any_other_address_is_refused_in_words(text):
    with pytest.raises(FetchFailed):
        fetch(f"http://127.0.0.1:1{text}" if text else text)
