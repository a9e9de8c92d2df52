"""What is to happen with a message, as a value: the milter applies it, tests read it."""

from __future__ import annotations

from dataclasses import dataclass

from nta_milter.message.headers import Headers
from nta_milter.message.model import Buffer, LongBody


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP refusal: reply code, enhanced status (RFC 3463), one line of text."""

    code: str
    status: str
    text: str

    @classmethod
    def temporary(cls, text: str, status: str = "4.7.0") -> Reply:
        """Time may cure it: the client keeps the message and tries again."""
        return cls("451", status, text)

    @classmethod
    def permanent(cls, text: str, status: str = "5.7.1") -> Reply:
        """It cannot change: the sender is told."""
        return cls("550" if status.startswith("5.7") else "554", status, text)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A refusal, or new header fields, body and envelope; None means untouched.

    ``removed`` recipients leave the transaction, ``added`` is one recipient more (the commit address).
    """

    reply: Reply | None = None
    headers: Headers | None = None
    body: Buffer | LongBody | None = None
    sender: str | None = None
    sender_arguments: str = ""
    removed: tuple[str, ...] = ()
    added: str = ""


UNTOUCHED = Outcome()
