"""One message for several people, each of whom gets his own form, once, whatever dies in between."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from tests.laboratory.client import Reply
from tests.laboratory.laboratory import Laboratory, LaboratoryError
from tests.laboratory.later import Later
from tests.laboratory.messages import Mail, sensitive, sightings
from tests.laboratory.scenarios.download import CODE, link_in, notified, opened_by_code
from tests.laboratory.scenarios.proof import (
    COLLEAGUE,
    DOCTOR,
    JAN,
    NURSE,
    PIET,
    accepted,
    nothing_in_clear,
    opened,
    require,
    submit,
)

HIDDEN = "vertrouwensarts@hospital.test"
"""Who gets the message and stands in no header field but Bcc."""
EVERYBODY = (NURSE, JAN, PIET, COLLEAGUE, HIDDEN)
TRIES = 5
EXPECTED = {
    ("nta.hospital", NURSE),
    ("nta.hospital", HIDDEN),
    ("mx.citizen", JAN),
    ("care", COLLEAGUE),
    ("care", DOCTOR),
}
"""What arrives where: ciphertext twice, a notification, the message inside, and a question about piet."""


def letter() -> Mail:
    """A mail to four, and to one more in secret, as a mail program may write it."""
    mail = sensitive(DOCTOR, NURSE, JAN, PIET, COLLEAGUE)
    return Mail(
        mail.raw.replace(b"\r\nSubject:", f"\r\nBcc: {HIDDEN}\r\nSubject:".encode(), 1), mail.canaries
    )


def longer(mail: Mail) -> Mail:
    """The mail with an epilogue, so that what is stored of it is too long for a row."""
    return Mail(mail.raw + b"naschrift\r\n" * 10_000, mail.canaries)


def mixed(laboratory: Laboratory) -> str:
    """Scenario 6."""
    laboratory.agree(JAN, CODE)
    mail = letter()
    accepted(submit(laboratory, mail, *EVERYBODY))
    each_once(laboratory, mail)
    names = []
    for point in KILL_POINTS:
        if point.shown:
            killed(laboratory, point)
            names.append(point.name)
    return f"each his own form once, nobody sees the Bcc; the same after kill -9 of {'; of '.join(names)}"


def each_once(laboratory: Laboratory, mail: Mail, times: int = 1) -> None:
    """That everybody has got what is meant for him, so many times, and nobody anything else."""
    come_to_rest(laboratory)
    everything = laboratory.everything()
    found = sorted((store, received.recipient) for store, received in everything)
    require(found == sorted([*EXPECTED] * times), f"what arrived: {found}")
    hospital = laboratory.certificates.gateway("hospital.test")
    authority = laboratory.certificates.authority.certificate
    for store, received in everything:
        who = (store, received.recipient)
        if who[1] != HIDDEN:
            require(HIDDEN.encode() not in received.raw, f"{who} can read who stands in Bcc")
        require(b"\nBcc:" not in received.raw, f"{who} has got a field Bcc")
        if store == "nta.hospital":
            content, signer = opened(received.raw, hospital, authority)
            require(content.partition(b"\r\n\r\n")[2] == mail.body, f"{who} finds another body")
            require(signer == DOCTOR, f"{who} finds the signer {signer}")
            require(HIDDEN.encode() not in content, f"{who} can read who stands in Bcc")
        if who == ("care", COLLEAGUE):
            require(received.body == mail.body, "the colleague has got another body")
        if who == ("care", DOCTOR):
            require(not sightings(received.raw, mail.canaries.values()), "the question tells of the message")
            require(PIET in received.raw.decode(), "the question does not say for whom")
            link_in(received, "hold")
    inside = rf"postfix/nta-inside/lmtp\[\d+\]: \w+: to=<{COLLEAGUE}>.* status=sent"
    require(re.search(inside, laboratory.log()), "the colleague's copy did not go by nta-inside")
    nothing_in_clear(laboratory, mail.canaries.values())
    if times == 1:
        page = opened_by_code(laboratory.browser(), notified(laboratory, "mx.citizen", JAN, mail))
        require(mail.canaries["subject"] in page.text, f"jan cannot read the message: {page.text}")


def come_to_rest(laboratory: Laboratory) -> None:
    """Wait until nothing is on its way, and a little longer: for what should not come."""
    laboratory.wait_for(lambda: not _flushed(laboratory) and laboratory.stored.at_rest(), "rest", pause=0.1)
    time.sleep(0.3)
    laboratory.wait_for(lambda: not _flushed(laboratory) and laboratory.stored.at_rest(), "rest", pause=0.1)


def _flushed(laboratory: Laboratory) -> bool:
    """Have Postfix try now what waits, as it does by itself after minutes; whether there is anything."""
    waiting = laboratory.queue()
    if any(message["queue_name"] == "deferred" for message in waiting):
        laboratory.flush()
    return bool(waiting)


@contextmanager
def _sending(laboratory: Laboratory, mail: Mail) -> Iterator[Future[Reply]]:
    """Somebody sends the mail meanwhile; afterwards he tries again until it is taken, as mail programs do."""
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(submit, laboratory, mail, *EVERYBODY)
        yield first
        reply = first.result()
        for _ in range(TRIES):
            if reply.accepted:
                return
            require(400 <= reply.code < 500, f"the answer is {reply.code} {reply.text}")
            reply = submit(laboratory, mail, *EVERYBODY)
    require(reply.accepted, f"at last the answer is {reply.code} {reply.text}")


@dataclass(frozen=True)
class KillPoint:
    """A moment at which something is killed; ``shown`` by quickstart too. ``long``: with a long mail."""

    name: str
    kill: Callable[[Laboratory, Mail], None]
    shown: bool = False
    long: bool = False


def killed(laboratory: Laboratory, point: KillPoint) -> None:
    """Send the mail, kill at this moment, start again, and look what everybody has got."""
    for attempt in range(ATTEMPTS):
        laboratory.reset()
        laboratory.agree(JAN, CODE)
        mail = longer(letter()) if point.long else letter()
        try:
            point.kill(laboratory, mail)
        except (Missed, LaboratoryError):  # the moment did not come, and nothing is said of what follows
            if attempt == ATTEMPTS - 1:
                raise
        else:
            break
    each_once(laboratory, mail)


ATTEMPTS = 5
"""How often a moment that lasts a few milliseconds is waited for with a new mail."""


class Missed(Exception):
    """The moment was over before anything could be killed."""


def _soon(laboratory: Laboratory, condition: Callable[[], object], what: str) -> None:
    laboratory.wait_for(condition, what, pause=0.0005)


def _count(laboratory: Laboratory, statement: str) -> int:
    return int(laboratory.stored.rows(f"SELECT count(*) FROM {statement}")[0][0])


def _milter_stores(laboratory: Laboratory, mail: Mail) -> None:
    with _sending(laboratory, mail):
        _soon(laboratory, laboratory.stored.files, "a blob")
        laboratory.stop_milter(kill=True)
        laboratory.start_milter()


def _milter_has_stored(laboratory: Laboratory, mail: Mail) -> None:
    with _sending(laboratory, mail):
        _soon(laboratory, lambda: _count(laboratory, "messages"), "a row")
        laboratory.stop_milter(kill=True)
        laboratory.start_milter()
    give_up_what_has_no_end(laboratory)


def give_up_what_has_no_end(laboratory: Laboratory) -> None:
    """Let the time be over in which Postfix might still tell of a message, as after some minutes."""
    laboratory.stored.change("UPDATE attempts SET created_at = created_at - 3600000000 WHERE state = 'open'")
    laboratory.wait_for(
        lambda: not _count(laboratory, "attempts WHERE state = 'open'"), "the end of every attempt", pause=0.1
    )


def _milter_has_answered(laboratory: Laboratory, mail: Mail) -> None:
    with Later(laboratory, "wait") as later, _sending(laboratory, mail):
        _soon(laboratory, later.has, "the message at the milter behind ours")
        laboratory.stop_milter(kill=True)
        later.order("accept")
        proven = laboratory.milter_log().count("event=proven")
        laboratory.start_milter()
        laboratory.wait_for(lambda: laboratory.milter_log().count("event=proven") > proven, "the proof")


def _worker_before_the_dot(laboratory: Laboratory, mail: Mail) -> None:
    laboratory.stop_service("worker", kill=True)
    with _sending(laboratory, mail):
        pass
    laboratory.settle()
    require(not laboratory.everything(), "something has left though nobody heard that Postfix has it")
    laboratory.start_service("worker")


def _worker_hears(laboratory: Laboratory, mail: Mail) -> None:
    with Later(laboratory, "wait") as later, _sending(laboratory, mail):
        _soon(laboratory, later.has, "the message at the milter behind ours")
        with laboratory.stored.locked():
            later.order("accept")
            log = laboratory.log
            _soon(laboratory, lambda: re.search(r"qmgr\[\d+\]: \w+: from=<doctor@", log()), "the message")
            time.sleep(0.2)
            laboratory.stop_service("worker", kill=True)
        require(not _count(laboratory, "messages WHERE state = 'released'"), "it was written before")
        laboratory.start_service("worker")


def _worker_has_written(laboratory: Laboratory, mail: Mail) -> None:
    with _sending(laboratory, mail):
        _soon(laboratory, lambda: _count(laboratory, "messages WHERE state = 'released'"), "the commit")
        laboratory.stop_service("worker", kill=True)
        laboratory.start_service("worker")


def _worker_between_submissions(laboratory: Laboratory, mail: Mail) -> None:
    with _sending(laboratory, mail):
        _soon(laboratory, lambda: _count(laboratory, "submissions WHERE state = 'submitted'"), "a submission")
        laboratory.stop_service("worker", kill=True)
        laboratory.start_service("worker")


def _worker_in_doubt(laboratory: Laboratory, mail: Mail) -> None:
    """Postfix has a copy, and the row does not say so."""
    care = laboratory.postfix["care"]
    care.set(defer_transports="nta, nta-inside, smtp, local")
    with _sending(laboratory, mail):
        _soon(laboratory, lambda: _count(laboratory, "messages WHERE state = 'released'"), "the commit")
        caught = _killed_in_doubt(laboratory)
        if caught:
            laboratory.start_service("worker")
    laboratory.wait_for(laboratory.stored.at_rest, "rest", pause=0.1)
    care.set(defer_transports="")
    if not caught:
        raise Missed


def _killed_in_doubt(laboratory: Laboratory) -> bool:
    """Keep the worker from writing for a moment; kill it if it has handed over a copy meanwhile."""
    while _count(laboratory, "submissions WHERE state != 'submitted'"):
        with laboratory.stored.locked():
            if _caught(laboratory):
                return True
    return False


def _caught(laboratory: Laboratory) -> bool:
    """While nothing can be written: kill the worker if it hands over a copy within a moment."""
    noted = _count(laboratory, "submissions WHERE state = 'submitted'")
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        if sum("nta-bounce+" in each["sender"] for each in laboratory.queue()) > noted:
            laboratory.stop_service("worker", kill=True)
            return True
    return False


KILL_POINTS = (
    KillPoint("the milter while it stores", _milter_stores, shown=True, long=True),
    KillPoint("the milter when it has stored", _milter_has_stored),
    KillPoint("the milter when it has answered and Postfix has not", _milter_has_answered),
    KillPoint("the worker before the message comes", _worker_before_the_dot),
    KillPoint("the worker while Postfix tells it", _worker_hears),
    KillPoint("the worker when it has written that", _worker_has_written),
    KillPoint("the worker between two submissions", _worker_between_submissions, shown=True),
    KillPoint("the worker when Postfix has a copy and it has not noted it", _worker_in_doubt),
)
