"""Handing a mail to our own Postfix over a unix socket (RFC 5321)."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from nta_milter.errors import PermanentError, RecipientRefused, SubmissionInDoubt, TemporaryError

TIMEOUT = 600.0
"""Seconds of patience with one reply; milters may take their time at the end of the data."""

FAREWELL = 2.0
"""Seconds that we wait for the reply to QUIT."""

_QUEUED = re.compile(r"queued as ([0-9A-Za-z]+)")
_STATUS = re.compile(r"\b5\.[0-9]{1,3}\.[0-9]{1,3}\b")
_LINE_START_DOT = re.compile(rb"(?m)^\.")


class _UnixSmtp(smtplib.SMTP):
    """An SMTP client on a unix socket."""

    def open(self, path: Path) -> tuple[int, bytes]:
        """Connect; the greeting."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(path))
        return self.getreply()


def submit(
    path: Path,
    sender: str,
    sender_arguments: tuple[str, ...],
    recipient: str,
    recipient_arguments: tuple[str, ...],
    content: Iterable[bytes],
) -> str:
    """Hand one mail for one recipient to the listener at ``path``; Postfix's queue id.

    ``content`` is header fields, blank line and body with CRLF, in pieces of any size.

    Raises:
        TemporaryError: Postfix is not there or says 4xx.
        SubmissionInDoubt: it may have the mail.
        RecipientRefused: Postfix says 5xx to the recipient.
        PermanentError: Postfix says 5xx to anything else.
    """
    where = str(path)
    client = _UnixSmtp(local_hostname="localhost")
    try:
        _demand(where, client.open(path), 220)
        client.ehlo_or_helo_if_needed()
        options = list(sender_arguments)
        if client.has_extn("smtputf8") and not (sender.isascii() and recipient.isascii()):
            client.command_encoding = "utf-8"
            options.append("SMTPUTF8")
        if client.has_extn("8bitmime"):
            options.append("BODY=8BITMIME")
        if not client.has_extn("dsn"):
            options = [option for option in options if not option.startswith(("RET=", "ENVID="))]
            recipient_arguments = ()
        _demand(where, client.docmd("MAIL", " ".join((f"FROM:<{sender}>", *options))), 250)
        _demand_recipient(where, client.docmd("RCPT", " ".join((f"TO:<{recipient}>", *recipient_arguments))))
        _demand(where, client.docmd("DATA"), 354)
        return _send(where, client, content)
    except smtplib.SMTPServerDisconnected as error:
        raise TemporaryError("closed the connection", where=where) from error
    except smtplib.SMTPException as error:
        raise TemporaryError(f"does not answer as SMTP: {error}", where=where) from error
    except OSError as error:
        raise TemporaryError(f"cannot be reached: {error.strerror or error}", where=where) from error
    except UnicodeEncodeError as error:
        raise RecipientRefused("knows no address of other letters (SMTPUTF8)", where=where) from error
    finally:
        _leave(client)


def _demand_recipient(where: str, reply: tuple[int, bytes]) -> None:
    try:
        _demand(where, reply, 250)
    except PermanentError as error:
        refused = RecipientRefused(error.message, where=where)
        found = _STATUS.search(error.message)
        refused.status = found[0] if found else refused.status
        raise refused from error


def _leave(client: smtplib.SMTP) -> None:
    """What is said to QUIT changes nothing: Postfix has answered for the mail before."""
    with contextlib.suppress(OSError, smtplib.SMTPException):
        if client.sock is not None:
            client.sock.settimeout(FAREWELL)
            client.docmd("QUIT")
    client.close()


def _send(where: str, client: smtplib.SMTP, content: Iterable[bytes]) -> str:
    try:
        for piece in dot_stuffed(content):
            client.send(piece)
    except BaseException:
        client.close()  # a mail that is not whole must not be ended, and QUIT would be a line of it
        raise
    try:
        client.send(b".\r\n")
        reply = client.getreply()
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        raise SubmissionInDoubt("closed the connection at the end of the data", where=where) from error
    text = _demand(where, reply, 250)
    found = _QUEUED.search(text)
    return found[1] if found else ""


def dot_stuffed(content: Iterable[bytes]) -> Iterator[bytes]:
    """The content with each dot that begins a line doubled, ending in CRLF (RFC 5321 section 4.5.2)."""
    last = b"\n"
    tail = b"\r\n"
    for piece in content:
        if not piece:
            continue
        stuffed = _LINE_START_DOT.sub(b"..", piece)
        if last != b"\n" and piece.startswith(b"."):
            stuffed = stuffed[1:]
        yield stuffed
        last = piece[-1:]
        tail = (tail + piece[-2:])[-2:]
    if tail != b"\r\n":
        yield b"\r\n"


def _demand(where: str, reply: tuple[int, bytes], wanted: int) -> str:
    code, text = reply
    decoded = text.decode("utf-8", "replace")
    words = "".join(character if character.isprintable() else " " for character in decoded)
    if code == wanted:
        return words
    if 500 <= code <= 599:
        raise PermanentError(f"said {code} {words}", where=where)
    raise TemporaryError(f"said {code} {words}", where=where)
