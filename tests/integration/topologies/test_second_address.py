"""Users submit on this host, and ntamx has an address of its own: strict there, open at the ordinary MX."""

import json

import pytest

from tests.laboratory import Laboratory
from tests.laboratory.messages import ordinary
from tests.laboratory.scenarios import line
from tests.laboratory.scenarios.proof import DOCTOR, NURSE, accepted, arrived

STRICT = {"tls": "enforce", "spf": "enforce", "dkim": "enforce", "inbound": "mark"}


@pytest.fixture(scope="module")
def _strict(tmp_path_factory):
    with Laboratory(tmp_path_factory.mktemp("strict"), peer=STRICT) as laboratory:
        yield laboratory


@pytest.fixture
def strict(_strict):
    _strict.reset()
    return _strict


def test_the_same_mail_is_refused_at_ntamx_and_marked_at_the_ordinary_mx(strict):
    mail = ordinary(NURSE, DOCTOR)
    with strict.session("ntamx") as client:
        reply = client.transmit(NURSE, [DOCTOR], mail.raw)
    assert (reply.code, "SPF of hospital.test is none" in reply.text) == (550, True), reply
    with strict.session("inbound", tls=False) as client:
        accepted(client.transmit(NURSE, [DOCTOR], mail.raw))
    (result,) = line.own_results(arrived(strict, "care", DOCTOR))
    assert "x-tls=fail (no TLS)" in result
    assert "spf=none" in result
    assert "dkim=none (not signed)" in result


def test_ntamx_takes_nothing_without_tls(strict):
    with strict.session("ntamx", tls=False) as client:
        assert client.transmit(NURSE, [DOCTOR], ordinary(NURSE, DOCTOR).raw).code == 530


def test_neither_listener_relays(strict):
    for listener in ("ntamx", "inbound"):
        with strict.session(listener) as client:
            assert client.transmit(DOCTOR, [NURSE], ordinary(DOCTOR, NURSE).raw).code == 554


def test_the_doctor_finds_no_fault(strict):
    status, said = strict.nta_milter("doctor", "--json", "--config", str(strict.configuration))
    codes = {each["code"] for each in json.loads(said)}
    assert (status, codes - {"clock-not-kept"}) == (0, set()), (
        said
    )  # the clock is the machine's, not the site's
