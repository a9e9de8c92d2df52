"""PDF by pdftotext: a process with little time and memory, no files and, where possible, no network."""

from __future__ import annotations

import os
import re
import resource
import selectors
import subprocess
import time
from collections.abc import Iterator
from functools import lru_cache

from nta_milter.message.buffer import Buffer
from nta_milter.message.extract.content import Budget, Content, Item

PROGRAM = "/usr/bin/pdftotext"
"""Of poppler-utils."""

MEMORY = 1 << 29
"""Address space of the process, in bytes."""

CPU_SECONDS = 10
"""Processor time of the process."""

# Standard input and output only. -layout keeps a number on the line of the word before it.
_ARGUMENTS = ("-q", "-layout", "-nopgbrk", "-enc", "UTF-8", "-", "-")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
_BLANKS = re.compile(r"[ ]{3,}")


def extract(content: Content, budget: Budget) -> Iterator[Item]:
    """The text of a PDF file. One without any text is a scan: unreadable."""
    data = content.read()
    if not os.access(PROGRAM, os.X_OK):
        yield content.unreadable("pdftotext (poppler-utils) is not installed")
        return
    if budget.seconds() <= 0:
        yield content.unreadable("the time for reading attachments is over")
        return
    limit = budget.limits.text if content.limit is None else content.limit
    start = time.monotonic()
    try:
        output, status = _run(data, limit, min(budget.seconds(), 2 * CPU_SECONDS))
    except OSError as error:
        yield content.unreadable(f"pdftotext cannot be run: {error.strerror}")
        return
    finally:
        budget.spend_since(start)
    text = _BLANKS.sub("  ", output.decode("utf-8", "replace"))
    if text.strip():
        yield content.text(text)
    if status is None:
        yield content.unreadable("takes more time or holds more text than is read")
    elif status:
        yield content.unreadable("an encrypted, protected or damaged PDF")
    elif not text.strip():
        yield content.unreadable("a PDF without text, such as a scan")


def _run(data: Buffer, limit: int, seconds: float) -> tuple[bytes, int | None]:
    """Output and exit status; None when it was stopped. Raises OSError."""
    descriptor = os.memfd_create("attachment", os.MFD_CLOEXEC)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        process = subprocess.Popen(  # noqa: S603 - a fixed command, its input is a descriptor
            (*_without_network(), PROGRAM, *_ARGUMENTS),
            stdin=descriptor,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
        )
    finally:
        os.close(descriptor)
    with process:
        try:
            _confine(process.pid)
            output, complete = _read(process, limit, time.monotonic() + seconds)
        finally:
            process.kill()
    return output, process.returncode if complete else None


def _confine(pid: int) -> None:
    """Limits by prlimit(2), since code between fork and exec is not safe among threads."""
    for kind, value in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.prlimit(pid, kind, (value, value))
        except ProcessLookupError:
            return


def _read(process: subprocess.Popen[bytes], limit: int, deadline: float) -> tuple[bytes, bool]:
    """Up to ``limit`` bytes of output, and whether that is all of it."""
    assert process.stdout is not None
    pieces: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while size <= limit:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                break
            piece = os.read(process.stdout.fileno(), 65_536)
            if not piece:
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    break
                return b"".join(pieces), True
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)[:limit], False


@lru_cache(maxsize=1)
def _without_network() -> tuple[str, ...]:
    """The prefix that gives a process an empty network, where the kernel lets us."""
    command = ("/usr/bin/unshare", "--user", "--net", "--")
    try:
        allowed = subprocess.run((*command, "/bin/true"), capture_output=True, check=False)  # noqa: S603
    except OSError:
        return ()
    return command if allowed.returncode == 0 else ()
