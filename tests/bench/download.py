"""Secure download: messages that the milter stores, against a milter that does nothing.

What Postfix takes is put on hold, as in the family ``line``: measured is what the sender waits for, which is
the message on disk, sealed, and its rows. And a message of 20 MB on its way to the store, against dd writing
and syncing the same bytes.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from nta_milter.config.model import InternalSettings, PolicySettings, PortalSettings, Settings
from nta_milter.message.headers import Headers
from nta_milter.message.model import Entity, Message, Recipient
from nta_milter.outbox.queue import Copy, Outbox
from nta_milter.policy.route import Route
from nta_milter.store.blobs import FileBlobs
from nta_milter.store.database import Database
from nta_milter.store.keys import PublicKeys, new_key_pair
from nta_milter.store.migrations import migrate
from nta_milter.store.store import Store
from tests.bench.line import (
    ADDRESS,
    CHECKOUT,
    NOOP,
    OURS,
    PORTS,
    TICKS,
    listening,
    message,
    processor_seconds,
)
from tests.bench.measure import Case, Comparison, Sample
from tests.laboratory import INSIDE, Laboratory, LaboratoryError

RECIPIENTS = {
    "scenario 2": ("jan@citizen.test",),
    "scenario 6": (
        *("nurse@hospital.test", "jan@citizen.test", "piet@citizen.test", "colleague@care.test"),
        "hidden@hospital.test",
    ),
}
BARS = {"scenario 2": 0.35, "scenario 6": None}
SIZE, SESSIONS, COUNT = 10_000, 4, 60
"""Bytes of a message, sessions at the same time, messages in one measurement of the short form."""
COUNTED = 10
"""Messages whose calls of fsync(2) are counted."""
DEPOSIT, DEPOSITS = 20_000_000, 3
CODE = "tulp-fiets-58"

_CALL = re.compile(rb"\b(?:fsync|fdatasync)\(")


@contextlib.contextmanager
def cases(folder: Path, scale: int) -> Iterator[list[Case]]:
    """The cases, for as long as the context lasts; ``scale`` multiplies the messages of a measurement."""
    with listening(folder, download=True) as laboratory:
        laboratory.agree("jan@citizen.test", CODE)
        for service in ("worker", "portal"):
            laboratory.stop_service(service)
        yield [*(_case(laboratory, kind, scale) for kind in RECIPIENTS), _deposit(folder, scale)]


def _case(laboratory: Laboratory, kind: str, scale: int) -> Case:
    name = f"message-{kind.replace(' ', '-')}.eml"
    content = message("de diagnose van vrijdag", SIZE).replace(
        b"Subject: Bericht", b"Subject: Bericht NUMBER"
    )
    to = ", ".join(RECIPIENTS[kind][:4]).encode()
    content = content.replace(b"<1@care.test>", b"<NUMBER@care.test>").replace(b"nurse@hospital.test", to, 1)
    (laboratory.directory / name).write_bytes(content)

    def party(milter: str) -> Callable[[], Sample]:
        command = _command(PORTS[milter], INSIDE / name, SESSIONS, COUNT * scale, RECIPIENTS[kind])
        return lambda: _take(laboratory, command, COUNT * scale)

    _check(laboratory, kind, INSIDE / name)
    counted = {milter: _syncs(laboratory, kind, INSIDE / name, milter) for milter in (OURS, NOOP)}
    note = ", ".join(f"{milter} {count:.1f}" for milter, count in counted.items())
    return Case(
        f"{kind}, 10 KB",
        {OURS: party(OURS), NOOP: party(NOOP)},
        (Comparison(OURS, NOOP, BARS[kind]),),
        f"fsyncs per message, Postfix's own in it: {note}",
    )


def _command(
    port: int, file: Path, sessions: int, count: int, recipients: tuple[str, ...]
) -> tuple[str | Path, ...]:
    inside = ("env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "tests.bench.client")
    return (*inside, ADDRESS, str(port), file, str(sessions), str(count), *recipients)


def _take(laboratory: Laboratory, command: tuple[str | Path, ...], count: int) -> Sample:
    processor = processor_seconds(laboratory)
    begun, ended = map(float, laboratory.namespace.run(*command, limit=300).stdout.split())
    processor = processor_seconds(laboratory) - processor
    _forget(laboratory)
    return Sample(count, ended - begun, processor)


def _forget(laboratory: Laboratory) -> None:
    laboratory.postfix["care"].command("postsuper", "-d", "ALL", "hold")
    stored = laboratory.stored
    stored.change("DELETE FROM messages")
    for table in ("attempts", "deliveries", "blobs", "links"):
        stored.change(f"DELETE FROM {table}")
    for file in stored.files():
        file.unlink()


def _check(laboratory: Laboratory, kind: str, file: Path) -> None:
    """That ours stores what the case says, so that the right thing is measured."""
    laboratory.namespace.run(*_command(PORTS[OURS], file, 1, 1, RECIPIENTS[kind]))
    routes = sorted(route for (route,) in laboratory.stored.rows("SELECT route FROM deliveries"))
    wanted = {"scenario 2": ["portal"], "scenario 6": ["hold", "pass", "portal", "smime", "smime"]}
    if routes != wanted[kind]:
        raise LaboratoryError(f"{kind}: stored are {routes}\n{laboratory.milter_log()}")
    _forget(laboratory)


def _syncs(laboratory: Laboratory, kind: str, file: Path, milter: str) -> float:
    """How often anything in the laboratory syncs a file for one message."""
    trace = laboratory.directory / "strace"
    arguments = [word for process in _processes(laboratory) for word in ("-p", process)]
    strace = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", trace, *arguments],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(2)  # until it is attached to all
    laboratory.namespace.run(*_command(PORTS[milter], file, 1, COUNTED, RECIPIENTS[kind]))
    strace.terminate()
    strace.wait()
    _forget(laboratory)
    return len(_CALL.findall(trace.read_bytes())) / COUNTED


def _processes(laboratory: Laboratory) -> list[str]:
    space = Path(f"/proc/{laboratory.namespace.process}/ns/pid").readlink()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "ns" / "pid").readlink() == space:
                found.append(process.name)
    return found


def _deposit(folder: Path, scale: int) -> Case:
    """One message of 20 MB, sealed and stored with its rows, beside dd with conv=fsync."""
    place = folder / "deposit"
    (place / "blobs").mkdir(parents=True)
    for service in ("portal", "worker"):
        (place / f"{service}.pem").write_bytes(new_key_pair()[1])
    database = Database(f"sqlite:///{place}/store.sqlite")
    migrate(database)
    store = Store.of(database, FileBlobs(place / "blobs"), PublicKeys.load(place))
    settings = Settings(
        policy=PolicySettings(mode="always"),
        internal=InternalSettings(domains=("care.test",)),
        portal=PortalSettings(url="https://veilig.care.test"),
    )
    headers = Headers().add("From", "doctor@care.test").add("To", "jan@citizen.test")
    body = memoryview(message("de diagnose van vrijdag", DEPOSIT))
    (place / "plain").write_bytes(body)
    jan = Recipient("jan@citizen.test", ())
    whole = Message("doctor@care.test", (), (jan,), headers, body)
    outbox = Outbox(store, settings)

    def ours() -> Sample:
        copy = Copy(jan, Route.PORTAL, Entity(headers, body))
        processor, begun = time.process_time(), time.perf_counter()
        for _ in range(DEPOSITS * scale):
            outbox.deposit(whole, copy, "4X1", datetime.now(UTC))
        sample = Sample(DEPOSITS * scale, time.perf_counter() - begun, time.process_time() - processor)
        for name, _ in list(store.blobs.listed()):
            store.blobs.delete(name)
        return sample

    def dd() -> Sample:
        processor, begun = _children_seconds(), time.perf_counter()
        for number in range(DEPOSITS * scale):
            names = (f"if={place}/plain", f"of={place}/copy-{number}")
            subprocess.run(["dd", *names, "bs=1M", "conv=fsync", "status=none"], check=True)
        sample = Sample(DEPOSITS * scale, time.perf_counter() - begun, _children_seconds() - processor)
        for copy in place.glob("copy-*"):
            copy.unlink()
        return sample

    return Case("deposit of 20 MB", {OURS: ours, "dd": dd}, (Comparison(OURS, "dd"),))


def _children_seconds() -> float:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15])) / TICKS
