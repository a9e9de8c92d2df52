from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.portal.asgi import client_address, client_network

PROXIES = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def address(peer, *forwarded: str, proxies=PROXIES) -> str:
    headers = [(b"x-forwarded-for", each.encode("latin-1")) for each in forwarded]
    return client_address({"client": peer, "headers": headers}, proxies)


@pytest.mark.parametrize("peer", [None, ("", 0), ("127.0.0.1", 5)])
def test_our_own_web_server_says_who_asks(peer):
    assert address(peer, "192.0.2.1") == "192.0.2.1"
    assert address(peer, "203.0.113.9, 192.0.2.1") == "192.0.2.1"
    assert address(peer, "203.0.113.9", "192.0.2.1") == "192.0.2.1"
    assert address(peer, "2001:db8::1") == "2001:db8::1"


def test_nobody_else_says_who_asks():
    assert address(("198.51.100.1", 5), "192.0.2.1") == "198.51.100.1"
    assert address(("127.0.0.1", 5), "192.0.2.1", proxies=()) == "127.0.0.1"


@pytest.mark.parametrize("forwarded", ["", "unknown", "192.0.2.1:80", "é", "192.0.2.1,"])
def test_what_is_no_address_is_not_believed(forwarded):
    assert address(("127.0.0.1", 5), forwarded) == "127.0.0.1"
    assert address(None, forwarded) == ""


@pytest.mark.parametrize(
    ("given", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("0.0.0.1", "0.0.0.0/24"),
        ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("::1", "::/56"),
        ("", "local"),
        ("testclient", "local"),
    ],
)
def test_limits_count_for_networks(given, network):
    assert client_network(given) == network


@given(st.text())
def test_any_text_counts_somewhere(text):
    assert client_network(text)


@given(st.ip_addresses())
def test_an_address_is_in_its_network(given):
    counted = ip_network(client_network(str(given)))
    mapped = getattr(given, "ipv4_mapped", None)
    assert (mapped or given) in counted
