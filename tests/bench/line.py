"""The line: a real Postfix takes mail with no milter, with one that does nothing, and with ours.

Everything is one Postfix of the laboratory with three more listeners. What they take is put on hold and
deleted after each measurement, so that delivery costs nothing. The milters are reached by unix sockets.
smtp-source cannot log in, so the listeners say that it is the doctor, whose key then signs.
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.measure import Case, Comparison, Sample
from tests.laboratory import INSIDE, Laboratory, LaboratoryError
from tests.laboratory.certificates import openssl

CHECKOUT = Path(__file__).resolve().parents[2]
ADDRESS = "127.0.0.11"
OURS, NOOP, NONE = "ours", "no-op", "none"
PORTS = {NONE: 2501, NOOP: 2502, OURS: 2503}
MILTERS = {NONE: "", NOOP: "unix:nta-milter/noop.sock", OURS: "unix:nta-milter/milter.sock"}
PROCESSES = 2

SIZES = {"10 KB": (10_000, 4, 300), "1 MB": (1_000_000, 2, 20), "20 MB": (20_000_000, 1, 3)}
"""Bytes of a message, sessions at the same time, messages in one measurement of the short form."""

BARS = {"not sensitive": 0.85, "scenario 1": 0.6}
"""Least rate beside the milter that does nothing."""

WORDS = {"not sensitive": "de lunch van vrijdag", "scenario 1": "de diagnose van vrijdag"}

BOUNDARY = b"------------0pYq3lW9vT5bN8sKxJ2mR7cA"
"""As long as those of mail programs are: what it costs to look for one depends on it."""

_LISTENER = """
{address}:{port} inet n - y - 100 smtpd
  -o syslog_name=postfix/bench
  -o smtpd_milters={milter}
  -o milter_macro_defaults=nta_side=outbound,auth_authen=doctor
  -o receive_override_options=no_address_mappings
  -o mynetworks=127.0.0.0/8
  -o smtpd_client_restrictions=
  -o smtpd_relay_restrictions=permit_mynetworks,reject
  -o {{ smtpd_recipient_restrictions = check_client_access static:HOLD, permit_mynetworks, reject }}
"""


TIMED = 'begun=$EPOCHREALTIME; "$@" >&2 || exit; echo "$begun $EPOCHREALTIME"'
"""Runs a command and prints when it began and ended, so that entering the laboratory costs nothing."""

TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def cases(folder: Path, scale: int) -> Iterator[list[Case]]:
    """The cases, for as long as the context lasts; ``scale`` multiplies the messages of a measurement."""
    with listening(folder) as laboratory:
        yield [_case(laboratory, kind, size, scale) for kind in WORDS for size in SIZES]


@contextlib.contextmanager
def listening(folder: Path, *, download: bool = False) -> Iterator[Laboratory]:
    """A laboratory with a listener for each of PORTS."""
    spool = folder / "laboratory" / "spool"
    with Laboratory(folder / "laboratory", download=download) as laboratory:
        spool.mkdir()
        _start_noop(laboratory)
        listeners = "".join(
            _LISTENER.format(address=ADDRESS, port=port, milter=MILTERS[name]) for name, port in PORTS.items()
        )
        care = laboratory.postfix["care"]
        care.edit("master.cf", (care.home / "etc" / "master.cf").read_text() + listeners)
        for port in PORTS.values():
            laboratory.wait_for(lambda port=port: _listens(laboratory, port), f"port {port}")
        yield laboratory


def _listens(laboratory: Laboratory, port: int) -> bool:
    """Whether Postfix has read its new configuration: reload does not wait for that."""
    try:
        laboratory.namespace.connect(ADDRESS, port).close()
    except OSError:
        return False
    return True


def _case(laboratory: Laboratory, kind: str, size: str, scale: int) -> Case:
    file = _write(laboratory, kind, size)
    _, sessions, count = SIZES[size]
    _check(laboratory, kind, file)
    return Case(
        f"{kind}, {size}",
        {name: _party(laboratory, name, file, sessions, count * scale) for name in PORTS},
        (Comparison(OURS, NOOP, BARS[kind]), Comparison(OURS, NONE), Comparison(NOOP, NONE)),
    )


def _check(laboratory: Laboratory, kind: str, file: Path) -> None:
    """That ours does with this message what the case says, so that the right thing is measured."""
    laboratory.namespace.run(*_smtp_source(OURS, file, 1, 1))
    care = laboratory.postfix["care"]
    (queued,) = laboratory.queue()
    content = care.command("postcat", "-bh", "-q", queued["queue_id"])
    secured = "application/pkcs7-mime" in content and WORDS[kind] not in content
    if secured:
        to = laboratory.certificates.gateway("hospital.test")
        arguments = ("-decrypt", "-recip", to.certificate, "-inkey", to.key)
        secured = b"multipart/signed" in openssl("cms", *arguments, stdin=content.encode())
    if secured != (kind == "scenario 1"):
        raise LaboratoryError(f"{kind}: signed and encrypted is {secured}\n{laboratory.milter_log()}")
    care.command("postsuper", "-d", "ALL", "hold")


def _smtp_source(name: str, file: Path, sessions: int, count: int) -> tuple[str | Path, ...]:
    return (
        *("smtp-source", "-s", str(sessions), "-m", str(count), "-F", file),
        *("-f", "doctor@care.test", "-t", "nurse@hospital.test", f"inet:{ADDRESS}:{PORTS[name]}"),
    )


def _start_noop(laboratory: Laboratory) -> None:
    inside = laboratory.namespace
    socket = Path("/var/spool/postfix/nta-milter/noop.sock")
    inside.popen(
        *(sys.executable, "-m", "tests.bench.noop", f"unix:{socket}", str(PROCESSES), INSIDE / "spool"),
        log=laboratory.directory / "noop.log",
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(CHECKOUT)},
        umask=0o007,
    )
    laboratory.wait_for(
        (laboratory.directory / "care" / "queue" / "nta-milter" / socket.name).exists, "the no-op milter"
    )


def _write(laboratory: Laboratory, kind: str, size: str) -> Path:
    """A message of this size, with LF line ends as smtp-source wants it; its path inside."""
    name = f"message-{kind}-{size}.eml".replace(" ", "-")
    (laboratory.directory / name).write_bytes(message(WORDS[kind], SIZES[size][0]))
    return INSIDE / name


def message(words: str, size: int) -> bytes:
    """Text of 10 KB; what is larger is a picture, as the large mails of a practice are."""
    text = f"Beste collega,\n\nHierbij {words}.\n\nMet vriendelijke groet\n".encode()
    head = (
        b"From: Dokter <doctor@care.test>\nTo: nurse@hospital.test\nSubject: Bericht\n"
        b"Date: Mon, 06 May 2024 10:00:00 +0200\nMessage-ID: <1@care.test>\nMIME-Version: 1.0\n"
    )
    plain = b"Content-Type: text/plain; charset=utf-8\n\n" + text
    if size < 100_000:
        filler = b"Wij zien u graag terug op de afgesproken dag, om tien uur in de ochtend.\n"
        return head + plain + filler * ((size - len(head) - len(plain)) // len(filler))
    picture = b"\xff\xd8\xff\xe0\x00\x10JFIF" + random.Random(1).randbytes(size * 57 // 77)
    return b"".join(
        (
            head,
            b'Content-Type: multipart/mixed; boundary="%b"\n\n--%b\n' % (BOUNDARY, BOUNDARY),
            plain,
            b"\n--%b\nContent-Type: image/jpeg; name=foto.jpg\n" % BOUNDARY,
            b"Content-Transfer-Encoding: base64\n\n",
            base64.encodebytes(picture),
            b"--%b--\n" % BOUNDARY,
        )
    )


def _party(laboratory: Laboratory, name: str, file: Path, sessions: int, count: int) -> Callable[[], Sample]:
    source = _smtp_source(name, file, sessions, count)

    def take() -> Sample:
        processor = processor_seconds(laboratory)
        timed = laboratory.namespace.run("bash", "-c", TIMED, "timed", *source, limit=300)
        begun, ended = map(float, timed.stdout.split())
        processor = processor_seconds(laboratory) - processor
        laboratory.postfix["care"].command("postsuper", "-d", "ALL", "hold")
        return Sample(count, ended - begun, processor)

    return take


def processor_seconds(laboratory: Laboratory) -> float:
    """What every process of the laboratory has used so far, with the children that it has buried.

    Postfix is in it, and the milter; smtp-source, a child of ours, is not.
    """
    space = Path(f"/proc/{laboratory.namespace.process}/ns/pid").readlink()
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "ns" / "pid").readlink() == space:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS
