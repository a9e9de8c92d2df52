"""Which mail through a provider's shared hosts is our users': every proof must hold."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.config.model import InternalSettings, ListenerSettings
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.policy.client import Client, connector_fault

PROVIDER = "mail.protection.outlook.com"
SECRET = b"geheim"
LISTENER = ListenerSettings(
    side="connector",
    tls_names=(PROVIDER,),
    organisations=("care.test", "care.onmicrosoft.test"),
    secret_header="X-Care-Connector",
)
INTERNAL = InternalSettings(domains=("care.test",), sender_domains=("care.test", "care.onmicrosoft.test"))
MARKS = [(b"X-OriginatorOrg", b"Care.test"), (b"X-Care-Connector", SECRET)]


def said(
    marks=MARKS,
    *,
    certificate="Mail.Protection.Outlook.com",
    sender="Doctor@CARE.test",
    senders=("doctor@care.test",),
    listener=LISTENER,
    secret=SECRET,
):
    headers = Headers(tuple(HeaderField(name, b" " + value) for name, value in marks))
    client = Client("connector", certificate=certificate)
    return connector_fault(client, listener, INTERNAL, headers, sender, senders, secret)


def test_a_mail_with_every_proof_is_ours():
    assert said() == ""
    assert said(sender="") == ""
    assert said(senders=("postmaster@care.onmicrosoft.test",)) == ""


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"certificate": ""}, "none that is verified"),
        ({"certificate": f"{PROVIDER}.other.test"}, "not the provider's"),
        ({"certificate": f"x.{PROVIDER}"}, "not the provider's"),
        ({"marks": MARKS[:1]}, "X-Care-Connector"),
        ({"marks": MARKS[1:]}, "X-OriginatorOrg"),
        ({"marks": [*MARKS, MARKS[0]]}, "X-OriginatorOrg"),
        ({"marks": [*MARKS, MARKS[1]]}, "X-Care-Connector"),
        ({"marks": [(b"X-OriginatorOrg", b"care.test, other.test"), MARKS[1]]}, "X-OriginatorOrg"),
        ({"marks": [(b"X-OriginatorOrg", b"\xff"), MARKS[1]]}, "X-OriginatorOrg"),
        ({"secret": None}, "X-Care-Connector"),
        ({"secret": b""}, "X-Care-Connector"),
        ({"senders": ()}, "From"),
        ({"senders": ("doctor@care.test", "x@care.test")}, "From"),
        ({"senders": ("nurse@hospital.test",)}, "From"),
        ({"sender": "nurse@hospital.test"}, "envelope"),
        ({"sender": "care.test"}, "envelope"),
    ],
)
def test_what_is_missing_is_named(changes, because):
    assert because in said(**changes)


def test_either_mark_can_stand_alone_where_the_settings_say_so():
    alone = dataclasses.replace(LISTENER, secret_header="")
    assert said(MARKS[:1], listener=alone) == ""
    alone = dataclasses.replace(LISTENER, organisations=())
    assert said(MARKS[1:], listener=alone) == ""


@given(st.binary(max_size=20), st.sampled_from(list(itertools.product((0, 1, 2), repeat=2))))
def test_nobody_gets_in_by_another_value(value, places):
    marks = [mark for mark, times in zip(MARKS, places, strict=True) for _ in range(times)]
    forged = [*marks, (b"X-Care-Connector", value)]
    assert said(forged) or (value.strip() == SECRET and places == (1, 0))
