"""Hostile records and senders: SPF always answers, and never asks too much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.inbound.questions import Questions
from nta_milter.inbound.spf import sender_policy
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.policy.client import Client

VALUES = {"pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"}
CLIENT = Client("ntamx", "192.0.2.1", helo="mx.care.test")


class Everything:
    """A resolver that has the same records for every name."""

    def __init__(self, text=b"", addresses=(), hosts=()):
        self.records = {
            "TXT": (text,) if text else (),
            "A": tuple(addresses),
            "MX": tuple((10, host) for host in hosts),
            "PTR": tuple(f"{host}." for host in hosts),
        }
        self.asked = 0

    def query(self, name, rdtype):
        self.asked += 1
        records = self.records.get(rdtype, ())
        presence = Presence.PRESENT if records else Presence.ABSENT
        return Answer(presence, True, 60, records)


def value(resolver, sender="jan@care.test", client=CLIENT):
    return sender_policy(sender, client, Questions(resolver, 10)).value


TERMS = st.lists(
    st.sampled_from(
        [
            *(
                "a",
                "mx",
                "ptr",
                "all",
                "-all",
                "exists:%{i}.%{l1r-}.x.test",
                "include:b.test",
                "redirect=c.test",
            ),
            *("exp=%{s}", "ip4:1.2.3.4/0", "ip4:1.2.3.4.5", "ip6:::1/999", "a/33//129", "%", "%{", "%{zz9}"),
            *("=", "a=b=c", "ip4:", "include:", "exists:%{p}.y.test", "\x7f", "a:" + "x" * 400, "op=a.b"),
        ]
    ),
    max_size=12,
)


@given(TERMS, st.text(max_size=40))
def test_every_record_has_an_answer(terms, sender):
    resolver = Everything(("v=spf1 " + " ".join(terms)).encode(), ["192.0.2.9"], ["a.test", "b.test"])
    assert value(resolver, f"{sender}@care.test") in VALUES
    assert resolver.asked <= 150


@given(st.binary(max_size=400))
def test_every_byte_string_has_an_answer(text):
    assert value(Everything(b"v=spf1 " + text)) in VALUES


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=40))
def test_every_sender_name_and_address_has_an_answer(sender, helo, address):
    client = Client("ntamx", address, helo=helo)
    assert value(Everything(b"v=spf1 -all"), sender, client) in VALUES


@pytest.mark.parametrize(
    ("text", "addresses", "expected"),
    [
        (b"v=spf1 a -all", ["192.0.2.1"], "pass"),
        (b"v=spf1 a -all", ["192.0.2.2"], "fail"),
        (b"v=spf1 a -all", [f"10.0.{n // 250}.{n % 250}" for n in range(300)], "permerror"),
        (b"v=spf1 " + b"ip4:10.0.0.1 " * 500 + b"-all", [], "permerror"),
        (b"v=spf1 a." + b"x" * 600 + b" -all", [], "permerror"),
        (b"other " + b"x" * 9000, [], "none"),
    ],
)
def test_what_is_too_large_is_an_error_of_the_sender(text, addresses, expected):
    assert value(Everything(text, addresses)) == expected


def test_ten_mechanisms_with_ten_hosts_each_stay_within_the_questions():
    text = b"v=spf1 " + b" ".join(b"mx:m%d.test" % n for n in range(10)) + b" -all"
    resolver = Everything(text, ["192.0.2.9"], [f"h{n}.test" for n in range(10)])
    assert value(resolver) == "fail"
    assert resolver.asked < 150


def test_a_client_without_an_address_has_no_result():
    assert value(Everything(b"v=spf1 +all"), client=Client("ntamx", "")) == "none"
