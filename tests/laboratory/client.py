"""SMTP as a test speaks it: connections made inside the laboratory, messages byte for byte."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.laboratory.certificates import Pair
from tests.laboratory.namespace import Namespace


@dataclass(frozen=True)
class Reply:
    """How an SMTP server answered a whole transaction.

    ``stage`` is what was answered: ``session`` (greeting, STARTTLS, AUTH), ``mail``, ``rcpt`` or ``end`` (of
    data). ``refused`` has the
    recipients that were refused one by one, with their replies.
    """

    code: int
    text: str
    stage: str = "end"
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether the server has taken the message."""
        return self.stage == "end" and self.code == 250

    @property
    def queue_id(self) -> str:
        """Postfix's name for the queued message."""
        return self.text.rpartition("queued as ")[2].strip()


class Session(smtplib.SMTP):
    """An SMTP client whose connection is made inside the laboratory, from ``source``."""

    def __init__(self, namespace: Namespace, address: str, port: int, source: str) -> None:
        self._namespace = namespace
        self._source = source
        super().__init__(address, port, local_hostname="client.test")

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:
        return self._namespace.connect(host, port, source=self._source, limit=120)

    def secure(self, certificate: Pair | None = None) -> None:
        """STARTTLS, whoever answers; ``certificate`` is what is shown to a server that asks."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if certificate is not None:
            context.load_cert_chain(certificate.certificate, certificate.key)
        self.starttls(context=context)
        self.ehlo()

    def transmit(
        self, sender: str, recipients: Sequence[str], message: bytes, options: Sequence[str] = ()
    ) -> Reply:
        """One transaction, the message byte for byte (CRLF line ends are the caller's)."""
        code, text = self.mail(sender, options)
        if code != 250:
            return Reply(code, text.decode("utf-8", "replace"), "mail")
        refused = {}
        for recipient in recipients:
            code, text = self.rcpt(recipient)
            if code not in (250, 251):
                refused[recipient] = (code, text.decode("utf-8", "replace"))
        if len(refused) == len(recipients):
            return Reply(code, text.decode("utf-8", "replace"), "rcpt", refused)
        code, text = self.data(message)
        return Reply(code, text.decode("utf-8", "replace"), "end", refused)


def unix_connection(path: Path) -> socket.socket:
    """A connection to a unix socket, however long its path is."""
    folder = os.open(path.parent, os.O_PATH)
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        client.close()
        raise
    finally:
        os.close(folder)
    return client
