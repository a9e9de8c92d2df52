"""The header field that compliant parties may agree on ([nta_header]), on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.test_fragments import DOCTOR, JAN, NURSE, message
from tests.integration.test_traps import sensitive
from tests.laboratory import Laboratory

FORGED = b"X-Agreed: forged\r\nx-agreed : yes\r\n"


@pytest.fixture
def agreed(laboratory: Laboratory) -> Iterator[Laboratory]:
    """The laboratory whose milter has the field configured."""
    file = laboratory.directory / "care" / "nta-milter" / "nta-milter.toml"
    before = file.read_text()
    file.write_text(before + '[nta_header]\nname = "X-Agreed"\nvalue = "NTA 7516"\n')
    laboratory.restart_milter()
    yield laboratory
    file.write_text(before)
    laboratory.restart_milter()


def test_what_is_secured_carries_it_once_and_is_signed_with_it(agreed: Laboratory) -> None:
    reply = agreed.send(DOCTOR, DOCTOR, [NURSE], FORGED + sensitive())
    assert reply.accepted, reply
    (mail,) = agreed.wait_for(lambda: agreed.mailbox("nta.hospital", NURSE), "the mail")
    fields = [line for line in mail.headers.split(b"\r\n") if line.lower().startswith(b"x-agreed")]
    assert fields == [b"X-Agreed: NTA 7516"]
    assert b"dkim=pass" in mail.headers
    status, said = agreed.nta_milter(
        *("explain", "--from", DOCTOR, "--to", NURSE, JAN, "--json", "--config", str(agreed.configuration))
    )
    assert status == 1, said
    headers = [json.loads(line)["header"] for line in said.splitlines()]
    assert headers == [{"name": "X-Agreed", "value": "NTA 7516"}, None]


def test_other_mail_never_carries_it_out_or_in(agreed: Laboratory) -> None:
    assert agreed.send(DOCTOR, DOCTOR, [JAN], FORGED + message(JAN)).accepted
    (mail,) = agreed.wait_for(lambda: agreed.mailbox("mx.citizen", JAN), "the mail outside")
    assert b"agreed" not in mail.headers.lower()
    for number, listener in enumerate(("inbound", "ntamx"), 1):
        reply = agreed.send(None, NURSE, [DOCTOR], FORGED + message(DOCTOR), listener=listener)
        assert reply.accepted, reply
        mails = agreed.wait_for(
            lambda number=number: (
                len(agreed.mailbox("care", DOCTOR)) == number and agreed.mailbox("care", DOCTOR)
            ),
            "the mail inside",
        )
        assert b"agreed" not in mails[-1].headers.lower()


def test_without_a_setting_there_is_none(laboratory: Laboratory) -> None:
    assert laboratory.send(DOCTOR, DOCTOR, [NURSE], sensitive()).accepted
    (mail,) = laboratory.wait_for(lambda: laboratory.mailbox("nta.hospital", NURSE), "the mail")
    assert b"agreed" not in mail.headers.lower()
