"""A message and a MIME entity, immutable, as every other room sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nta_milter.message.address import envelope_domain
from nta_milter.message.buffer import Buffer as Buffer
from nta_milter.message.headers import Headers


@dataclass(frozen=True, slots=True)
class Entity:
    """A MIME entity (RFC 2045): header fields and body, CRLF line ends."""

    headers: Headers
    body: Buffer

    def __bytes__(self) -> bytes:
        return b"".join((bytes(self.headers), b"\r\n", self.body))


@dataclass(frozen=True, slots=True)
class LongBody:
    """A body of ``size`` bytes that is not made yet.

    ``write`` makes it, once, and gives it piece by piece to a function; a piece is valid until that returns.
    """

    size: int
    write: Callable[[Callable[[Buffer], object]], None]

    def joined(self) -> memoryview:
        """All of it, read-only."""
        whole = bytearray(self.size)
        position = 0

        def take(piece: Buffer) -> None:
            nonlocal position
            whole[position : position + len(piece)] = piece
            position += len(piece)

        self.write(take)
        return memoryview(whole)[:position].toreadonly()


@dataclass(frozen=True, slots=True)
class Recipient:
    """An envelope recipient: the address without angle brackets and its ESMTP arguments (RFC 5321)."""

    address: str
    arguments: tuple[str, ...] = ()

    @property
    def domain(self) -> str:
        """What follows the last ``@`` as lower-case A-labels; empty when there is none."""
        return envelope_domain(self.address)


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came in: envelope, header fields and body."""

    sender: str
    sender_arguments: tuple[str, ...]
    recipients: tuple[Recipient, ...]
    headers: Headers
    body: Buffer

    @property
    def entity(self) -> Entity:
        """The message as a MIME entity, all its header fields included."""
        return Entity(self.headers, self.body)
