"""What parsing and judging a message costs, beside copying it in memory. No bars."""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nta_milter.config.model import PolicySettings
from nta_milter.message.headers import split
from nta_milter.message.mime import attachment_size, parse
from nta_milter.message.model import Message
from nta_milter.policy.sensitivity import SensitivityRules, judge
from tests.bench.measure import Case, Comparison, Sample

MEGABYTE = 1_000_000
LINE = "Geachte collega, op 12 maart om 14.30 uur bespreken wij de planning van de poli.\r\n"
DUTCH = "Geachte collega, de patiënte – geen bezwaar – komt op 12 maart om 14.30 uur terug.\r\n"
HEADERS = (
    b"From: Doctor <doctor@care.test>\r\nTo: Jan <jan@citizen.test>\r\nSubject: Planning\r\n"
    b"Date: Mon, 1 Jan 2024 10:00:00 +0100\r\nMessage-ID: <1@care.test>\r\nMIME-Version: 1.0\r\n"
) + b"".join(b"X-Filler-%d: some value of ordinary length\r\n" % number for number in range(15))
TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"


def text_mail(size: int, line: str) -> bytes:
    encoded = line.encode()
    return HEADERS + TEXT + encoded * (size // len(encoded))


def html_mail(size: int) -> bytes:
    row = b'<tr style="margin:0"><td class="a">Geachte <b>collega</b>,</td><td>12&nbsp;maart</td></tr>\r\n'
    return HEADERS + b"Content-Type: text/html; charset=utf-8\r\n\r\n" + row * (size // len(row))


def attachment_mail(size: int, head: bytes, name: bytes) -> bytes:
    content = head + os.urandom(size - len(head))
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return b"".join(
        (
            HEADERS,
            b'Content-Type: multipart/mixed; boundary="=_bench"\r\n\r\n--=_bench\r\n',
            TEXT,
            LINE.encode() * 20,
            b"\r\n--=_bench\r\nContent-Type: application/octet-stream\r\n",
            b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="
            + name
            + b"\r\n\r\n",
            encoded,
            b"--=_bench--\r\n",
        )
    )


CASES: dict[str, Callable[[], bytes]] = {
    "10 KB text": lambda: text_mail(10_000, LINE),
    "10 KB text, not ASCII": lambda: text_mail(10_000, DUTCH),
    "100 KB HTML": lambda: html_mail(100_000),
    "20 MB text": lambda: text_mail(20 * MEGABYTE, LINE),
    "20 MB text, not ASCII": lambda: text_mail(20 * MEGABYTE, DUTCH),
    "20 MB picture": lambda: attachment_mail(20 * MEGABYTE, b"\xff\xd8\xff\xe0", b"photo.jpg"),
    "20 MB unknown": lambda: attachment_mail(20 * MEGABYTE, b"\x00\x01\x02", b"data.bin"),
}

RULES = {
    "BSN": SensitivityRules.compile(PolicySettings(mode="content")),
    "BSN, pattern, 500 words": SensitivityRules.compile(
        PolicySettings(
            mode="content",
            patient_number=r"\bPAT-?\d{7}\b",
            words=tuple(f"word{number}" for number in range(400)) + tuple(f"a{n} phrase" for n in range(100)),
        )
    ),
}


@contextlib.contextmanager
def cases(folder: Path, scale: int) -> Iterator[list[Case]]:
    """A case for each message and each set of rules; ``scale`` multiplies the work of a measurement."""
    found = []
    for name, make in CASES.items():
        data = make()
        count = max(1, MEGABYTE // len(data)) * scale
        for rules_name, rules in RULES.items():
            parties = {"judge": _judge(data, rules, count), "copy": _copy(data, count)}
            found.append(Case(f"{name}, {rules_name}", parties, (Comparison("judge", "copy"),)))
    yield found


def _copy(data: bytes, count: int) -> Callable[[], Sample]:
    """Copying the message in memory, the least that anybody can do with it."""

    def work() -> None:
        bytearray(data)

    return lambda: _timed(work, count)


def _judge(data: bytes, rules: SensitivityRules, count: int) -> Callable[[], Sample]:
    """Parsing and judging the message, whose body is mapped where the milter would map it."""
    headers, start = split(data)
    body = memoryview(data)[start:] if len(data) > MEGABYTE else data[start:]
    message = Message("doctor@care.test", (), (), headers, body)

    def work() -> None:
        part = parse(headers, body, part_limit=1_000, depth_limit=50)
        attachment_size(part, body)
        judge(message, part, rules, to_outside=True)

    return lambda: _timed(work, count)


def _timed(work: Callable[[], None], count: int) -> Sample:
    processor, begun = time.process_time(), time.perf_counter()
    for _ in range(count):
        work()
    return Sample(count, time.perf_counter() - begun, time.process_time() - processor)
