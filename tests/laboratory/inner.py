"""A mail server behind Postfix (Exchange, Microsoft 365) as Postfix sees it: an SMTP server with STARTTLS.

Run inside as ``python -m tests.laboratory.inner FOLDER ADDRESS:PORT [CERTIFICATE KEY [AUTHORITY]]``. Without
a certificate it offers no TLS, with an authority it takes mail from clients alone that it has certified. What
it takes is written as ``lmtp.py`` does, and its TLS in ``FOLDER/../../sessions``, a line a mail.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from functools import partial
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

from tests.laboratory.lmtp import Handler

FIRST = 10_000
"""The number of its first mail, so that none has the name of another store's."""


class Inner(Handler):
    """Writes each mail, and over what it came."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ("care.test",))
        self._count = FIRST

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Note the connection, then write one copy per recipient."""
        tls = session.ssl["cipher"][1] if session.ssl else ""
        with (self.folder.parent.parent / "sessions").open("a") as log:
            log.write(json.dumps({"recipients": envelope.rcpt_tos, "tls": tls}) + "\n")
        return await super().handle_DATA(server, session, envelope)


async def serve(folder: Path, place: str, certificate: list[str]) -> None:
    """Listen, say so, and stay."""
    loop = asyncio.get_running_loop()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate[:2])
        if certificate[2:]:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificate[2])
    server = partial(
        SMTP,
        Inner(folder),
        hostname="inner.test",
        data_size_limit=None,
        enable_SMTPUTF8=True,
        loop=loop,
        tls_context=context,
    )
    address, _, port = place.rpartition(":")
    await loop.create_server(server, address, int(port))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
