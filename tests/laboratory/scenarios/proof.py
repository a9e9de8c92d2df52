"""What scenarios are made of: who writes to whom, and how a promise is shown to be kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.laboratory.certificates import Pair, openssl
from tests.laboratory.client import Reply
from tests.laboratory.laboratory import Laboratory
from tests.laboratory.messages import Mail, sightings
from tests.laboratory.store import Delivered

DOCTOR = "doctor@care.test"
COLLEAGUE = "colleague@care.test"
SECRETARY = "secretary@care.test"
NURSE = "nurse@hospital.test"
JAN = "jan@citizen.test"
PIET = "piet@citizen.test"
CLINIC = "dietician@clinic.test"
BROKEN = "someone@broken.test"


class ScenarioFailed(Exception):
    """A promise that was not kept; the text says what was seen."""


@dataclass(frozen=True)
class Scenario:
    """One promise: its number in the manual, what is done, and the function that shows it."""

    number: str
    title: str
    show: Callable[[Laboratory], str]


def require(condition: object, seen: str) -> None:
    """Raise ScenarioFailed with what was seen unless the condition holds."""
    if not condition:
        raise ScenarioFailed(seen)


def submit(laboratory: Laboratory, mail: Mail, *recipients: str) -> Reply:
    """Send as the doctor, from a mail program with a login."""
    return laboratory.send(DOCTOR, DOCTOR, recipients, mail.raw)


def accepted(reply: Reply) -> str:
    """The queue id of a message that was taken."""
    require(reply.accepted, f"not taken: {reply.code} {reply.text}")
    return reply.queue_id


def arrived(laboratory: Laboratory, store: str, address: str) -> Delivered:
    """The one mail that arrives at a store for an address."""
    mails = laboratory.wait_for(
        lambda: laboratory.mailbox(store, address), f"a mail for {address} at {store}"
    )
    require(len(mails) == 1, f"{len(mails)} mails for {address} at {store}")
    return mails[0]


def nothing_in_clear(laboratory: Laboratory, canaries: Iterable[str]) -> int:
    """Look for canaries in every mail that has left care.test; how many such mails there are."""
    wanted = tuple(canaries)
    outside = [(store, mail) for store, mail in laboratory.everything() if store != "care"]
    for store, mail in outside:
        seen = sightings(mail.raw, wanted)
        require(not seen, f"{mail.recipient} at {store} can read {', '.join(seen)}")
    return len(outside)


def opened(raw: bytes, receiver: Pair, authority: Path) -> tuple[bytes, str]:
    """What the receiver's openssl makes of an encrypted and signed mail: the content and the signer."""
    decrypted = openssl("cms", "-decrypt", "-recip", receiver.certificate, "-inkey", receiver.key, stdin=raw)
    with tempfile.TemporaryDirectory() as folder:
        signer = Path(folder) / "signer.pem"
        content = openssl(
            *("cms", "-verify", "-CAfile", authority, "-purpose", "smimesign", "-signer", signer),
            stdin=decrypted,
        )
        return content, openssl("x509", "-in", signer, "-noout", "-email").decode().strip()
