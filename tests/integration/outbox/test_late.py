"""A receiver that cannot prove its certificate: nothing leaves, and in time its sender hears of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.integration.test_traps import CANARY, DOCTOR, sensitive
from tests.laboratory import Laboratory
from tests.laboratory.store import Delivered

CLINIC = "dietician@clinic.test"
"""Gets readable mail over mandatory DANE: nobody has a certificate of the clinic."""
HOSPITAL = "nurse@hospital.test"
"""Gets ciphertext, made in place."""


@pytest.fixture
def rotated(portal: Laboratory) -> Iterator[Laboratory]:
    """The receiver's Postfix presents another certificate than its TLSA records name."""
    present(portal, "nta.rotated.test")
    yield portal
    if (portal.directory / "late.toml").exists():
        settle_for(portal, "")
    present(portal, "nta.hospital.test")


def present(laboratory: Laboratory, name: str) -> None:
    """Have the hospital's Postfix, which is the clinic's too, present the certificate of this name."""
    hospital = laboratory.postfix["hospital"]
    pair = laboratory.certificates.host(name)
    shutil.copy(pair.key, hospital.home / "tls.key")
    shutil.copy(pair.certificate, hospital.home / "tls.pem")
    hospital.reload()


def settle_for(laboratory: Laboratory, line: str) -> None:
    """Give the worker a setting more, or take it away with an empty line, and start it again."""
    file = laboratory.directory / "care" / "nta-milter" / "nta-milter.toml"
    kept = laboratory.directory / "late.toml"
    if kept.exists():
        shutil.move(kept, file)
    if line:
        shutil.copy(file, kept)
        file.write_text(file.read_text().replace("[worker]\n", f"[worker]\n{line}\n", 1))
    laboratory.stop_service("worker")
    laboratory.start_service("worker")


def send(laboratory: Laboratory, recipient: str) -> None:
    reply = laboratory.send(DOCTOR, DOCTOR, [recipient], sensitive(recipient))
    assert reply.accepted, reply
    laboratory.wait_for(
        lambda: [
            each
            for each in laboratory.queue()
            if each["queue_name"] == "deferred" and each["recipients"][0]["address"] == recipient
        ],
        "Postfix puts it off",
    )


def reports(laboratory: Laboratory) -> list[Delivered]:
    return laboratory.mailbox("care", DOCTOR)


@pytest.mark.parametrize("recipient", [CLINIC, HOSPITAL])
def test_the_sender_of_late_mail_is_told_once_and_it_arrives_when_it_can(
    rotated: Laboratory, recipient: str
) -> None:
    settle_for(rotated, "late_after = 1")
    send(rotated, recipient)
    (report,) = rotated.wait_for(lambda: reports(rotated), "the report")
    assert b"Action: delayed" in report.raw
    assert b"Status: 4.7.5" in report.raw
    assert f"Final-Recipient: rfc822; {recipient}".encode() in report.raw
    assert b"nog niet bezorgd" in report.raw
    assert CANARY.encode() not in report.raw
    assert [store for store, _ in rotated.everything()] == ["care"]
    looks = rotated.stored.rows("SELECT count(*) FROM submissions WHERE form = 'report'")
    present(rotated, "nta.hospital.test")
    store = f"nta.{recipient.partition('@')[2].removesuffix('.test')}"
    rotated.wait_for(lambda: rotated.flush() or rotated.mailbox(store, recipient), "the mail", pause=0.5)
    assert rotated.stored.rows("SELECT count(*) FROM submissions WHERE form = 'report'") == looks
    assert len(reports(rotated)) == 1


@pytest.mark.parametrize("known", [True, False])
def test_what_is_kept_sealed_moves_to_the_portal(rotated: Laboratory, known: bool) -> None:
    if known:
        rotated.agree(CLINIC, "appelboom-4821-fiets")
    settle_for(rotated, 'late_after = 1\nlate = "portal"')
    send(rotated, CLINIC)
    store, address = ("mx.clinic", CLINIC) if known else ("care", DOCTOR)
    (told,) = rotated.wait_for(lambda: rotated.mailbox(store, address), "the notification or the question")
    assert (b"/m/" if known else b"/hold/") in told.raw
    (row,) = rotated.stored.rows("SELECT route, state FROM deliveries")
    assert row == (("portal", "sent") if known else ("hold", "held"))
    assert rotated.stored.contents()
    assert all(CANARY.encode() not in mail.raw for _, mail in rotated.everything())
    rotated.postfix["care"].set(maximal_queue_lifetime="0", bounce_queue_lifetime="0")
    rotated.wait_for(
        lambda: (
            rotated.flush()
            or CLINIC not in {to["address"] for each in rotated.queue() for to in each["recipients"]}
        ),
        "Postfix gives its copy up",
        pause=0.5,
    )
    rotated.wait_for(lambda: "event=bounce" in rotated.service_log("worker"), "the bounce of it")
    assert rotated.stored.rows("SELECT route, state FROM deliveries") == [row]


def test_ciphertext_is_not_moved_and_its_sender_is_told(rotated: Laboratory) -> None:
    settle_for(rotated, 'late_after = 1\nlate = "portal"')
    send(rotated, HOSPITAL)
    (report,) = rotated.wait_for(lambda: reports(rotated), "the report")
    assert b"Status: 4.7.5" in report.raw
    assert [store for store, _ in rotated.everything()] == ["care"]
