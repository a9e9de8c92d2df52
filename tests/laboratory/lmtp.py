"""The mail store of every host: LMTP on unix sockets, each mail a file, byte for byte.

Run inside the laboratory as ``python -m tests.laboratory.lmtp FOLDER HOST=SOCKET[,DOMAIN…]…``; a host with
domains refuses other recipients. A delivery is two files in ``FOLDER/HOST/ADDRESS/``: ``N.eml`` as it came
over the wire, and ``N.json``, its envelope, written last. While the folder has a file ``refused``, the
address is refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from aiosmtpd.lmtp import LMTP


class Handler:
    """Writes each delivery of one host to its folder."""

    def __init__(self, folder: Path, domains: tuple[str, ...]) -> None:
        self.folder = folder
        self.domains = domains
        self._count = 0

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Accept our own domains."""
        refused = self._mailbox(address) / "refused"
        if refused.exists() or (self.domains and address.rpartition("@")[2].lower() not in self.domains):
            return "550 5.1.1 no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Write one copy per recipient."""
        for recipient in envelope.rcpt_tos:
            self._write(envelope, recipient)
        return "250 2.0.0 OK"

    def _mailbox(self, address: str) -> Path:
        return self.folder / address.lower().replace("/", "_")

    def _write(self, envelope: Any, recipient: str) -> None:
        mailbox = self._mailbox(recipient)
        mailbox.mkdir(parents=True, exist_ok=True)
        self._count += 1
        (mailbox / f"{self._count}.eml").write_bytes(envelope.original_content)
        fields = {
            "sender": envelope.mail_from or "",
            "recipient": recipient,
            "sender_options": envelope.mail_options,
            "received_at": time.time(),
        }
        unfinished = mailbox / f"{self._count}.unfinished"
        unfinished.write_text(json.dumps(fields))
        unfinished.rename(mailbox / f"{self._count}.json")


async def serve(folder: Path, hosts: list[str]) -> None:
    """Listen for every HOST=SOCKET[,DOMAIN…], say so, and stay."""
    loop = asyncio.get_running_loop()
    for each in hosts:
        host, _, rest = each.partition("=")
        path, *domains = rest.split(",")
        handler = Handler(folder / host, tuple(domains))
        server = partial(
            LMTP, handler, hostname=host, data_size_limit=None, enable_SMTPUTF8=True, loop=loop, ident="store"
        )
        await loop.create_unix_server(server, path=path)
        Path(path).chmod(0o666)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2:]))
