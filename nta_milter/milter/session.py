"""One connection's state: what Postfix has shown so far, collected without a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nta_milter.errors import LimitExceeded, NtaMilterError
from nta_milter.message.address import envelope_address
from nta_milter.message.headers import FIELD_LIMIT, HEADER_LIMIT, HeaderField, Headers
from nta_milter.message.model import Message, Recipient
from nta_milter.message.spool import Spool
from nta_milter.policy.client import Client
from nta_milter.postfix.route import OUTGOING


@dataclass(frozen=True, slots=True)
class Submission:
    """A message with where it came from and Postfix's queue id, as the work threads see it."""

    client: Client
    queue_id: str
    message: Message


@dataclass(slots=True)
class Transaction:
    """One message while it comes in."""

    spool: Spool
    sender: str = ""
    sender_arguments: tuple[str, ...] = ()
    recipients: dict[str, Recipient] = field(default_factory=dict)
    fields: list[HeaderField] = field(default_factory=list)
    header_bytes: int = 0
    failure: NtaMilterError | None = None
    """A fault in a callback that cannot answer: told at end of message."""

    def add_recipient(self, address: bytes, arguments: tuple[bytes, ...]) -> Recipient:
        """Take RCPT TO: the address in brackets and its ESMTP arguments; said twice, it gets one mail."""
        recipient = Recipient(envelope_address(address), _texts(arguments))
        self.recipients.setdefault(recipient.address, recipient)
        return self.recipients[recipient.address]

    def add_header(self, name: bytes, value: bytes) -> None:
        """Take one header field; libmilter gives folds as bare LF and keeps the leading blank."""
        self.header_bytes += len(name) + len(value) + 3
        if self.header_bytes > HEADER_LIMIT or len(self.fields) >= FIELD_LIMIT:
            self.failure = LimitExceeded("more header fields than are worked on")
            return
        if b"\n" in value:
            value = value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self.fields.append(HeaderField(name, value))

    def message(self) -> Message:
        """The message, complete."""
        return Message(
            self.sender,
            self.sender_arguments,
            tuple(self.recipients.values()),
            Headers(tuple(self.fields)),
            self.spool.close_for_reading(),
        )


class Session:
    """What is known of one connection: its client, and the transaction under way."""

    def __init__(self, new_spool: Callable[[], Spool]) -> None:
        self._new_spool = new_spool
        self.side = ""
        self.listener = ""
        self.address = ""
        self.helo = ""
        self.transaction: Transaction | None = None

    @property
    def outgoing(self) -> bool:
        """Whether our own users' mail comes in here."""
        return self.side in OUTGOING

    def begin(self, sender: bytes, arguments: tuple[bytes, ...]) -> Transaction:
        """MAIL FROM: a new transaction; one that was left behind is discarded."""
        self.discard()
        self.transaction = Transaction(self._new_spool(), envelope_address(sender), _texts(arguments))
        return self.transaction

    def discard(self) -> None:
        """Forget the transaction and its spool file."""
        if self.transaction is not None:
            self.transaction.spool.discard()
            self.transaction = None


def listener(address: str | None, port: str | None) -> str:
    """Where a client has connected to, as ``ADDRESS:PORT``; empty where Postfix does not tell."""
    if not address or not port:
        return ""
    bare = address.removeprefix("IPv6:")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _texts(arguments: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(argument.decode("utf-8", "surrogateescape") for argument in arguments)
