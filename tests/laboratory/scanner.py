"""A virus scanner for tests: what holds VIRUS is refused, and what can be read of each mail is noted.

Run inside as ``python -m tests.laboratory.scanner LOG TAKES=HANDS…`` (ports on 127.0.0.1; mail taken at the
first is handed in at the second), or ``… LOG milter SOCKET`` (a milter). LOG gets a line of JSON a mail.
"""

from __future__ import annotations

import asyncio
import base64
import email
import json
import os
import smtplib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

VIRUS = "PROEF-VIRUS"


def found(raw: bytes, place: str) -> bool:
    """Whether a mail holds the virus; what can be read of it is noted."""
    texts = [raw.decode("utf-8", "replace")]
    for part in email.message_from_bytes(raw).walk():
        content = part.get_payload(decode=True)
        texts += [content.decode("utf-8", "replace")] if isinstance(content, bytes) else []
    with Path(sys.argv[1]).open("a") as log:
        log.write(json.dumps({"place": place, "text": base64.b64encode("\n".join(texts).encode()).decode()}))
        log.write("\n")
    return any(VIRUS in text for text in texts)


class Between:
    """Takes mail, scans it, and hands it in at another port, reports' wishes included."""

    def __init__(self, place: str, target: int) -> None:
        self.place = place
        self.target = target

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Scan and hand on; the answer is that of the next one."""
        if found(envelope.original_content, self.place):
            return "554 5.7.1 virus found"
        return await asyncio.get_running_loop().run_in_executor(None, self._hand, envelope)

    def _hand(self, envelope: Any) -> str:
        with smtplib.SMTP("127.0.0.1", self.target, "localhost") as client:
            try:
                client.sendmail(
                    envelope.mail_from or "",
                    envelope.rcpt_tos,
                    envelope.original_content,
                    [option for option in envelope.mail_options if not option.startswith("SIZE=")],
                )
            except smtplib.SMTPResponseException as refusal:
                return f"{refusal.smtp_code} {refusal.smtp_error!r}"
            except smtplib.SMTPRecipientsRefused as refusal:
                return "{} {!r}".format(*next(iter(refusal.recipients.values())))
        return "250 2.0.0 scanned"


async def serve(places: list[str]) -> None:
    """Listen at every port, say so, and stay."""
    loop = asyncio.get_running_loop()
    for place in places:
        takes, _, hands = place.partition("=")
        server = partial(
            SMTP, Between(takes, int(hands)), hostname="scanner", data_size_limit=None, loop=loop
        )
        await loop.create_server(server, "127.0.0.1", int(takes))
    print("ready", flush=True)
    await asyncio.Event().wait()


def run_milter(socket: str) -> None:
    """Serve as a milter until killed."""
    import Milter

    class Scanner(Milter.Base):  # type: ignore[misc]
        def envfrom(self, sender: str, *arguments: str) -> int:
            self.raw = b""
            return int(Milter.CONTINUE)

        @Milter.decode("bytes")  # type: ignore[untyped-decorator]
        def header(self, name: str, value: bytes) -> int:
            self.raw += name.encode() + b": " + value.replace(b"\n", b"\r\n") + b"\r\n"
            return int(Milter.CONTINUE)

        def body(self, piece: bytes) -> int:
            self.raw += (b"" if b"\r\n\r\n" in self.raw else b"\r\n") + piece
            return int(Milter.CONTINUE)

        def eom(self) -> int:
            return int(Milter.REJECT if found(self.raw, "milter") else Milter.ACCEPT)

    os.umask(0o007)  # Postfix, whose group the folder has, must be able to connect
    Milter.factory = Scanner
    print("ready", flush=True)
    Milter.runmilter("scanner", socket, 300)


if __name__ == "__main__":
    if sys.argv[2] == "milter":
        run_milter(sys.argv[3])
    else:
        asyncio.run(serve(sys.argv[2:]))
