"""Personal certificates in the running milter: kept from signed mail, and published in DNS."""

from __future__ import annotations

import pytest

from nta_milter.smime.smimea import owner_name
from tests.laboratory.alone import Alone
from tests.laboratory.certificates import openssl

BODY = "Het BSN van de patiënt is 123456782.\r\n".encode()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("personal")
    smime: dict[str, object] = {
        name: str(folder / "milter" / name) for name in ("keys", "certificates", "trust", "harvested")
    }
    with Alone(
        folder, 15317, smime={**smime, "personal": "prefer", "harvest": True, "smimea": True}
    ) as running:
        yield running


def signed(alone, address: str, name: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """A mail that openssl signed with the key of this person."""
    person = alone.certificates.person(address, name)
    text = openssl(
        "cms", "-sign", "-signer", person.certificate, "-inkey", person.key, "-from", address,
        "-to", "doctor@care.test", stdin=b"Content-Type: text/plain\r\n\r\nHallo\r\n",
    )  # fmt: skip
    head, _, body = text.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = [line.split(b":", 1) for line in head.replace(b"\n ", b" ").replace(b"\n\t", b" ").split(b"\n")]
    return [(key, value) for key, value in fields], body.replace(b"\n", b"\r\n")


def receive(alone, address: str, name: str) -> str:
    fields, body = signed(alone, address, name)
    with alone.mta(side="inbound") as mta:
        actions = mta.send(address, ["doctor@care.test"], fields, body, queue_id="SIGNED")
    return b" ".join(value for key, value in actions.added if key == b"Authentication-Results").decode()


def send(alone, recipient: str):
    fields = [
        (b"From", b" doctor@care.test"),
        (b"To", b" " + recipient.encode()),
        (b"Subject", b" Overleg"),
        (b"MIME-Version", b" 1.0"),
        (b"Content-Type", b" text/plain; charset=utf-8"),
    ]
    with alone.mta(login="doctor@care.test") as mta:
        return fields, mta.send("doctor@care.test", [recipient], fields, BODY, queue_id="OUT")


def opened(alone, recipient: str, name: str, fields, actions) -> bytes:
    person = alone.certificates.person(recipient, name)
    mail = b"".join(b"%b:%b\r\n" % pair for pair in actions.headers(fields)) + b"\r\n" + actions.body
    return openssl("cms", "-decrypt", "-recip", person.certificate, "-inkey", person.key, stdin=mail)


def test_a_certificate_of_signed_mail_is_kept_and_used(alone):
    address = "nurse@clinic.test"
    fields, before = send(alone, address)
    assert before.body is None, "without a certificate nothing is encrypted"
    assert "smime=pass" in receive(alone, address, "Verpleegkundige Vos")
    alone.wait_for('certificate="kept: kept for nurse@clinic.test"')
    assert '"certificate-set"' in alone.audit
    fields, actions = send(alone, address)
    assert BODY not in actions.body
    assert b"BSN" in opened(alone, address, "Verpleegkundige Vos", fields, actions)


def test_a_certificate_in_dns_is_used(alone):
    address = "pharmacist@clinic.test"
    der = openssl(
        "x509", "-in", alone.certificates.person(address, "Apotheker").certificate, "-outform", "DER"
    )
    label = (owner_name(address) or "").removesuffix(".clinic.test")
    alone.dns.extend("clinic.test", [f"{label} SMIMEA 3 0 0 {der.hex()}"])
    fields, actions = send(alone, address)
    assert b"BSN" in opened(alone, address, "Apotheker", fields, actions)


def test_the_configured_gateway_goes_before_what_was_found(alone):
    receive(alone, "nurse@hospital.test", "Verpleegkundige Berg")
    fields, actions = send(alone, "nurse@hospital.test")
    gateway = alone.certificates.gateway("hospital.test")
    mail = b"".join(b"%b:%b\r\n" % pair for pair in actions.headers(fields)) + b"\r\n" + actions.body
    clear = openssl("cms", "-decrypt", "-recip", gateway.certificate, "-inkey", gateway.key, stdin=mail)
    assert b"BSN" in clear
