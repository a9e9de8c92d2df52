"""Who may have mail secured: invariant 5, no oracle."""

from ipaddress import ip_network

import pytest

from nta_milter.config.model import InternalSettings, ListenerSettings
from nta_milter.policy.client import Client, fault, may_sign_as_person

OUTBOUND = ListenerSettings(side="outbound")
INTERNAL = InternalSettings(domains=("care.test",), delegates={"Assistant@care.test": ("doctor@care.test",)})
DOCTOR = ("doctor@care.test",)


@pytest.mark.parametrize(
    ("client", "senders", "allowed"),
    [
        (Client("outbound", "192.0.2.1", "doctor@care.test"), DOCTOR, True),
        (Client("outbound", "192.0.2.1", "DOCTOR@care.test"), DOCTOR, True),
        (Client("outbound", "192.0.2.1", "doctor"), DOCTOR, True),
        (Client("outbound", "192.0.2.1", "assistant@care.test"), DOCTOR, True),
        (Client("outbound", "192.0.2.1", "colleague@care.test"), DOCTOR, False),
        (Client("outbound", "192.0.2.1", "doctor@citizen.test"), ("doctor@citizen.test",), False),
        (Client("outbound", "127.0.0.1"), DOCTOR, True),
        (Client("outbound", "IPv6:::1"), DOCTOR, True),
        (Client("outbound", "192.0.2.1"), DOCTOR, False),
        (Client("outbound", ""), DOCTOR, False),
        (Client("outbound", "unknown"), DOCTOR, False),
        (Client("outbound", "127.0.0.1"), (), False),
        (Client("outbound", "127.0.0.1"), ("doctor@care.test", "colleague@care.test"), False),
        (Client("outbound", "127.0.0.1"), ("jan@citizen.test",), False),
    ],
)
def test_invariant_5_only_proven_clients_get_mail_secured(client, senders, allowed):
    assert (fault(client, OUTBOUND, INTERNAL, senders) == "") is allowed


@pytest.mark.parametrize("side", ["inbound", "ntamx"])
def test_invariant_5_a_listener_for_strangers_secures_nothing(side):
    client = Client(side, "127.0.0.1", "doctor@care.test")
    assert fault(client, ListenerSettings(side=side), INTERNAL, DOCTOR)


def test_a_listed_network_may_be_another_than_loopback():
    listener = ListenerSettings(side="outbound", clients=(ip_network("192.0.2.0/24"),))
    assert fault(Client("outbound", "192.0.2.7"), listener, INTERNAL, DOCTOR) == ""
    assert fault(Client("outbound", "127.0.0.1"), listener, INTERNAL, DOCTOR)


def test_login_any_trusts_the_check_that_postfix_made():
    listener = ListenerSettings(side="outbound", login="any")
    client = Client("outbound", "192.0.2.1", "colleague@care.test")
    assert fault(client, listener, INTERNAL, DOCTOR) == ""


def test_invariant_5_a_person_signs_by_login_and_never_by_network():
    assert may_sign_as_person(Client("outbound", "x", "doctor@care.test"), INTERNAL, "doctor@care.test")
    assert may_sign_as_person(Client("outbound", "x", "assistant@care.test"), INTERNAL, "doctor@care.test")
    assert not may_sign_as_person(Client("outbound", "127.0.0.1"), INTERNAL, "doctor@care.test")
    assert not may_sign_as_person(Client("outbound", "x", "root"), INTERNAL, "doctor@care.test")
