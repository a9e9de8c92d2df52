"""What the store's operations take and give: frozen values, named as the field names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class MessageState(Enum):
    """How far a stored message is."""

    PREPARED = "prepared"
    """Stored; whether Postfix has queued the message that it came with is not known yet."""
    RELEASED = "released"
    """Postfix has it: what belongs to it may go."""
    SHREDDED = "shredded"
    """Its key and content are gone; the rows tell that it was there."""


class DeliveryState(Enum):
    """How far one recipient's delivery is."""

    PREPARED = "prepared"
    """Not to go before the message is released."""
    WAITING = "waiting"
    """A copy or notification is to be handed to Postfix."""
    SENT = "sent"
    """Postfix has the copy or notification; a message in the portal can be opened."""
    HELD = "held"
    """The sender is asked for a second factor of the recipient."""
    UNDECIDED = "undecided"
    """The recipient's domain could not be looked up; it is decided again."""
    REFUSED = "refused"
    """Not sent; the sender is told."""
    UNDELIVERABLE = "undeliverable"
    """The copy or notification came back; the sender is told."""
    RECALLED = "recalled"
    """Taken back by the sender or an administrator."""
    DELETED = "deleted"
    """Deleted by the recipient."""
    EXPIRED = "expired"
    """Its time is over."""
    ABANDONED = "abandoned"
    """Postfix never queued the message that it came with."""


READABLE = (DeliveryState.WAITING, DeliveryState.SENT)
"""The states in which a link opens a message of the portal."""


class Form(Enum):
    """What is handed to Postfix for a delivery."""

    COPY = "copy"
    """The message itself, routed: ciphertext, or readable over mandatory DANE or inside."""
    NOTIFICATION = "notification"
    """The recipient is told that a message is in the portal."""
    REMINDER = "reminder"
    """The recipient is told again, before it expires."""
    HOLD = "hold"
    """The sender is asked for a second factor."""
    LOCKED = "locked"
    """The sender is told that too many codes were wrong, and can unlock."""
    ANSWER = "answer"
    """The recipient answered a notification in clear and is asked to answer in the portal."""
    REPORT = "report"
    """The sender is told what became of it (RFC 3464), without content."""


RELEASE: dict[str, tuple[DeliveryState, Form | None]] = {
    "pass": (DeliveryState.WAITING, Form.COPY),
    "smime": (DeliveryState.WAITING, Form.COPY),
    "dane": (DeliveryState.WAITING, Form.COPY),
    "portal": (DeliveryState.WAITING, Form.NOTIFICATION),
    "hold": (DeliveryState.HELD, Form.HOLD),
    "tempfail": (DeliveryState.UNDECIDED, None),
    "reject": (DeliveryState.REFUSED, Form.REPORT),
}
"""What a route becomes when its message is released; a recipient that stays ``pass`` is kept inside."""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """One recipient of a new message. ``blob_id`` is the content that this recipient gets.

    ``arguments`` are those of RCPT TO; ``next_hop`` is the value of X-Nta-Route for copies.
    """

    id: str
    blob_id: str
    recipient: str
    route: str
    arguments: tuple[str, ...] = ()
    next_hop: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewBlob:
    """Sealed content as ``Store.put`` gives it; ``size`` is that of the content, in bytes.

    ``sealed`` is to be stored with the rows; None where it is on disk already.
    """

    id: str
    size: int
    sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be stored.

    ``digest`` recognises a second attempt at the same message. ``author`` is the address in From.
    ``queue_id`` is Postfix's, by which the message is followed; a reply of the portal has its own id there.
    ``worker_wrap`` is sealed for exactly the recipients of ``deliveries``; None where the worker shall not
    open it.
    """

    id: str
    digest: str
    sender: str
    author: str
    language: str
    created_at: datetime
    expires_at: datetime
    worker_wrap: bytes | None
    blobs: tuple[NewBlob, ...]
    deliveries: tuple[NewDelivery, ...]
    arguments: tuple[str, ...] = ()
    reply_to: str | None = None
    queue_id: str = ""


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link for one delivery: what finds it, and the message key that it opens with the portal's key.

    ``purpose`` is ``open`` for a recipient's link; ``hold`` and ``unlock`` are pages of the sender, which
    open no message.
    """

    lookup: str
    delivery_id: str
    purpose: str
    sealed: bytes = b""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One recipient's delivery, with what it needs of its message."""

    id: str
    message_id: str
    blob_id: str
    size: int
    """Size of the content in bytes."""
    recipient: str
    arguments: tuple[str, ...]
    route: str
    next_hop: str
    reasons: tuple[str, ...]
    state: DeliveryState
    created_at: datetime
    expires_at: datetime
    opened_at: datetime | None
    read_at: datetime | None
    downloads: int
    sender: str
    author: str
    message_arguments: tuple[str, ...]
    language: str
    reply_to: str | None
    queue_id: str = ""
    """Postfix's, of the message that it came with; of several tries, the committed one's."""


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link leads to; ``sealed`` is opened by ``PrivateKeys.open_link`` with the link's token."""

    delivery: Delivery
    purpose: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """A visitor who has shown the second factor; ``wrapped`` is opened by the cookie's token."""

    lookup: str
    delivery: Delivery
    purpose: str
    wrapped: bytes
    created_at: datetime
    expires_at: datetime


class Answer(Enum):
    """What an answer to a one-time code was."""

    RIGHT = "right"
    WRONG = "wrong"
    SPENT = "spent"
    """The code is expired, used, or was tried too often: a new one is needed."""


ASKED = frozenset(("code",))
"""The kinds of second factor that every portal can ask for; one that can send SMS asks for ``phone`` too."""


@dataclass(frozen=True, slots=True)
class Factor:
    """How a recipient proves who he is: ``code`` (a scrypt hash of an agreed code) or ``phone``."""

    address: str
    kind: str
    value: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Submission:
    """Something to hand to Postfix, claimed by one worker until its lease ends.

    ``worker_wrap`` is opened by ``PrivateKeys.open_worker``; None where the content is gone. ``retried`` says
    that it was claimed before, so that Postfix may have it already.
    """

    id: str
    claim: str
    form: Form
    status: str
    detail: str
    tries: int
    retried: bool
    created_at: datetime
    delivery: Delivery
    worker_wrap: bytes | None


@dataclass(frozen=True, slots=True)
class Pending:
    """Something that Postfix does not have yet, as an administrator sees it.

    ``state`` is waiting, claimed, or shunted (set aside until somebody has looked). ``fault`` is what was
    said at the last try.
    """

    id: str
    form: Form
    state: str
    tries: int
    due_at: datetime
    fault: str
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a client to hand in a message, with Postfix's queue id; ``id`` is in the commit address."""

    id: str
    message_id: str
    queue_id: str
    created_at: datetime


class Commit(Enum):
    """What a commit by LMTP meant."""

    RELEASED = "released"
    AGAIN = "again"
    """It was committed before; nothing happens."""
    UNKNOWN = "unknown"
    """No attempt has this id."""
    ABANDONED = "abandoned"
    """The attempt was given up and its content is gone: this must never be, and is an alarm."""
