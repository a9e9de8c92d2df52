"""Leads a port of this machine to the portal inside: unix sockets cross network namespaces, ports do not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.laboratory.client import unix_connection

_PIECE = 65_536


@contextlib.contextmanager
def relayed(address: str, port: int, target: Path) -> Iterator[None]:
    """Whatever connects to the port meanwhile talks to the unix socket; raises OSError if it is in use."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncio.start_server(lambda reader, writer: _lead(reader, writer, target), address, port)
    )
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Path) -> None:
    try:
        inside = await asyncio.open_unix_connection(sock=unix_connection(target))
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, inside[1]), _copy(inside[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()
