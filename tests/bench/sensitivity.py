"""What parsing and judging a message costs, as a ratio to copying it in memory.

    .venv/bin/python -m tests.bench.sensitivity [--json]

Each figure is the median of interleaved rounds: a copy, then the judgement of the same message.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

from nta_milter.config.model import PolicySettings
from nta_milter.message.headers import split
from nta_milter.message.mime import attachment_size, parse
from nta_milter.message.model import Message
from nta_milter.policy.sensitivity import SensitivityRules, judge

ROUNDS = 15
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


def measure(data: bytes, rules: SensitivityRules, mapped: bool) -> tuple[float, float]:
    """Median seconds of a copy and of parsing and judging."""
    headers, start = split(data)
    body = memoryview(data)[start:] if mapped else data[start:]
    message = Message("doctor@care.test", (), (), headers, body)
    copies, judgements = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        copy = bytearray(body)
        middle = time.perf_counter()
        part = parse(headers, body, part_limit=1_000, depth_limit=50)
        attachment_size(part, body)
        judge(message, part, rules, to_outside=True)
        judgements.append(time.perf_counter() - middle)
        copies.append(middle - begin)
        del copy
    return statistics.median(copies), statistics.median(judgements)


def main() -> None:
    results = []
    for case, make in CASES.items():
        data = make()
        for name, rules in RULES.items():
            copy, judgement = measure(data, rules, mapped=len(data) > MEGABYTE)
            results.append(
                {
                    "case": case,
                    "rules": name,
                    "milliseconds": round(judgement * 1e3, 3),
                    "ratio_to_copy": round(judgement / copy, 1),
                    "megabytes_per_second": round(len(data) / MEGABYTE / judgement),
                }
            )
    if "--json" in sys.argv[1:]:
        print(json.dumps(results, indent=2))
        return
    print(f"{'message':24}{'looks for':26}{'ms':>10}{'x copy':>10}{'MB/s':>8}")
    for row in results:
        print(
            f"{row['case']:24}{row['rules']:26}{row['milliseconds']:>10}{row['ratio_to_copy']:>10}"
            f"{row['megabytes_per_second']:>8}"
        )


if __name__ == "__main__":
    main()
