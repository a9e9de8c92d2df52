"""What doctor looks at on this host besides Postfix and our own files: clock, queue listing, resolver."""

from __future__ import annotations

import ctypes
import shutil
import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from nta_milter.config.model import Settings
from nta_milter.errors import ConfigurationError, TemporaryError
from nta_milter.lookup.resolver import Server
from nta_milter.postfix.finding import Finding, Level
from nta_milter.worker.postqueue import Postqueue

UNSYNCHRONISED = 0x0040
"""STA_UNSYNC of adjtimex(2): nobody keeps the kernel's clock right."""

PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)), with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("largest_error", ctypes.c_long),
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def findings(settings: Settings) -> Iterator[Finding]:
    """Every fault of the host."""
    yield from clock(clock_status())
    yield from resolvers(settings)
    if settings.store.url:
        yield from queue(settings, shutil.which("postqueue", path=PROGRAMS))


def clock_status() -> int | None:
    """The status of the kernel's clock, which is only read; None where it is not told."""
    state = _Timex()
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None or adjtimex(ctypes.byref(state)) < 0:
        return None
    return int(state.status)


def clock(status: int | None) -> Iterator[Finding]:
    """Records, certificates and signatures are judged by the clock."""
    if status is not None and status & UNSYNCHRONISED:
        yield Finding(
            Level.WARNING,
            "clock-not-kept",
            "nobody keeps this host's clock right: records, certificates and DNSSEC are judged by it",
            "run chrony or systemd-timesyncd",
        )


def resolvers(settings: Settings) -> Iterator[Finding]:
    """Whoever sits between us and a resolver elsewhere can say what he wants."""
    for text in settings.dns.servers:
        try:
            address = ip_address(Server.parse(text).address)
        except ConfigurationError:
            continue  # said where the settings are loaded
        if not address.is_loopback:
            yield Finding(
                Level.WARNING,
                "resolver-remote",
                f"dns.servers {text} is not on this host: its answers are believed over the network",
                "run a validating resolver (unbound) on loopback",
            )


def queue(settings: Settings, program: str | None) -> Iterator[Finding]:
    """The worker lists Postfix's queue as a user of its own."""
    mend = "dpkg-reconfigure postfix, or postfix set-permissions; nta-worker.service needs the group postdrop"
    if program is None:
        yield Finding(Level.FAULT, "postqueue-unreadable", "postqueue is not installed", "install postfix")
        return
    if not Path(program).stat().st_mode & stat.S_ISGID:
        yield Finding(
            Level.FAULT,
            "postqueue-unreadable",
            f"{program} is not set-gid: nta-worker cannot list the queue, and gives nothing up or away",
            mend,
            "postfix set-permissions",
        )
    try:
        Postqueue(settings.routing.postfix).look()
    except TemporaryError as error:
        yield Finding(Level.FAULT, "postqueue-unreadable", str(error), mend)
