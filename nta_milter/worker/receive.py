"""What Postfix delivers to us by LMTP (RFC 2033): commits, bounces, and answers to notifications.

A commit's body is thrown away unlogged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from aiosmtpd.lmtp import LMTP

from nta_milter.errors import ConfigurationError, NtaMilterError
from nta_milter.monitor.log import tell, tell_crash
from nta_milter.outbox.addresses import bounced_id, commit_id, replied_id

Receive = Callable[[str, str, bytes], None]
"""Takes kind (``commit``, ``bounce`` or ``answer``), id and content; raises NtaMilterError."""

_KINDS = (("commit", commit_id), ("bounce", bounced_id), ("answer", replied_id))
_FIRST_INHERITED = 3  # sd_listen_fds(3)

log = logging.getLogger(__name__)


class _Lmtp(LMTP):
    line_length_limit = 65_536  # a dot may be doubled in a line that is as long as may be


class Handler:
    """aiosmtpd's handler; the work is done on threads of the executor."""

    def __init__(self, receive: Receive, threads: Executor) -> None:
        self._receive = receive
        self._threads = threads

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Take our own addresses alone."""
        if kind_of(address) is None:
            return "550 5.1.1 no such address here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Answer for each recipient (RFC 2033 section 4.2), 250 only when it is done and on disk."""
        loop = asyncio.get_running_loop()
        content = envelope.original_content
        replies = [
            await loop.run_in_executor(self._threads, self._answer, address, content)
            for address in envelope.rcpt_tos
        ]
        return "\r\n".join(replies)

    def _answer(self, address: str, content: bytes) -> str:
        found = kind_of(address)
        assert found is not None
        try:
            self._receive(*found, content)
        except NtaMilterError as error:
            tell(log, logging.ERROR, "receive-failed", kind=found[0], id=found[1], error=error)
            return "451 4.3.0 cannot be taken now"
        except Exception:  # noqa: BLE001 - the edge to LMTP: whatever it is, the mail waits
            tell_crash(log, "internal-error", kind=found[0], id=found[1])
            return "451 4.3.0 cannot be taken now"
        return "250 2.0.0 ok"


def kind_of(address: str) -> tuple[str, str] | None:
    """What an address of ours is for, and its id; None for any other."""
    for kind, identify in _KINDS:
        identifier = identify(address)
        if identifier is not None:
            return kind, identifier
    return None


def listening(path: Path) -> socket.socket:
    """The listening socket: the one that systemd hands over, which survives a restart, or a new one.

    Raises:
        ConfigurationError: it cannot be opened, or another process listens there.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_FIRST_INHERITED)
    listener = socket.socket(socket.AF_UNIX)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            _demand_unused(path)
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot be opened: {error.strerror}", where=str(path)) from error
    except ConfigurationError:
        listener.close()
        raise
    return listener


def _demand_unused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise ConfigurationError("is in use by another process", where=str(path))


async def serve(listener: socket.socket, handler: Handler, hostname: str) -> asyncio.AbstractServer:
    """Begin to serve on the socket."""
    # aiosmtpd logs each line of the data when asked for debug
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    loop = asyncio.get_running_loop()
    factory = partial(
        _Lmtp,
        handler,
        hostname=hostname,
        ident="nta-milter",
        data_size_limit=None,
        enable_SMTPUTF8=True,
        loop=loop,
    )
    # Newer Python would remove the socket file at the end, which is systemd's where it has handed it over.
    options: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    return await loop.create_unix_server(factory, sock=listener, **options)
