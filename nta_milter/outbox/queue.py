"""What is stored while a message comes in, so that it may go when Postfix has queued it.

libmilter never says whether Postfix queued a message. So copies that cannot be made in place are stored,
and the message is given one recipient more, the commit address. Postfix delivers to it, by LMTP to the
worker, if and only if it has the message; only then do the copies go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nta_milter.config.model import Settings
from nta_milter.message.address import addresses
from nta_milter.message.buffer import Buffer
from nta_milter.message.headers import Headers
from nta_milter.message.model import Entity, Message, Recipient
from nta_milter.outbox.addresses import bounce_address, commit_address
from nta_milter.outbox.addresses import message_id as message_id_of
from nta_milter.outbox.compose import Composer, Identity
from nta_milter.policy.route import Route
from nta_milter.store.keys import Token, new_id, new_message_key
from nta_milter.store.rows import (
    Attempt,
    Delivery,
    DeliveryState,
    NewBlob,
    NewDelivery,
    NewLink,
    NewMessage,
)
from nta_milter.store.store import Store

STUB_BODY = b"The message is stored and is sent to each recipient apart.\r\n"
"""What waits in Postfix's queue in place of the body where no recipient gets it as it is."""

HIDDEN_FIELDS = ("Bcc", "Resent-Bcc", "Return-Path")
"""Header fields that no copy may have."""

_RECOGNISED = ("From", "To", "Cc", "Subject")
_SUPPLIED = ("Message-ID", "Date")


OPENED = "opened"
"""The route of mail that was opened on arrival and is delivered inside."""


@dataclass(frozen=True, slots=True)
class Copy:
    """What one recipient gets, and how.

    ``content`` is the mail itself for SMIME, DANE and PASS, and what can be read in the portal for the other
    routes; recipients may share one object, which is then stored once. ``next_hop`` is the value of
    X-Nta-Route for SMIME, DANE and PASS. ``reasons`` are words for the audit, and for the sender of a REJECT.
    """

    recipient: Recipient
    route: Route
    content: Entity
    next_hop: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deposit:
    """A message that was stored for the portal, and the notification that goes in its place.

    ``sender`` and ``sender_arguments`` are those of the envelope: a bounce must not quote the link to the
    sender. ``commit`` is a further recipient, by whom the worker learns that Postfix has the notification.
    """

    delivery_id: str
    notification: Entity
    sender: str
    sender_arguments: str
    commit: str


class Outbox:
    """The milter's side of the store; safe for many threads. Needs public keys only."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._composer = Composer(settings)

    def prepare(self, message: Message, copies: Sequence[Copy], queue_id: str, at: datetime) -> str:
        """Store the copies durably and give the commit address that releases them.

        A second attempt at the same message, whose first was not committed yet, stores nothing again. Each
        attempt has an address of its own: of two equal messages that were both queued, both go.

        Raises:
            StoreUnavailable: nothing was stored; the message must be answered with 4xx.
        """
        attempt_id = new_id()
        digest = digest_of(message, copies, queue_id)
        if self._store.outgoing.attach(digest, attempt_id, queue_id, at) is None:
            new, _ = self._stored(message, copies, digest, queue_id, at)
            self._store.outgoing.prepare(new, Attempt(attempt_id, new.id, queue_id, at))
        return commit_address(attempt_id)

    def deposit(
        self,
        message: Message,
        copy: Copy,
        queue_id: str,
        at: datetime,
        announce: Callable[[Deposit], object] = lambda deposit: None,
    ) -> Deposit:
        """Store a message for one recipient of the portal durably, and write the notification for its place.

        If the transaction fails after this, nobody ever had the link: without its commit it is shredded, and
        nobody is told. ``announce`` is given the deposit before it is durable.

        Raises:
            StoreUnavailable: nothing was stored; the message must be answered with 4xx.
        """
        new, key = self._stored(message, [copy], "", queue_id, at, for_worker=self._settings.portal.resend)
        token = Token.new()
        delivery_id = new.deliveries[0].id
        sealed = self._store.public.for_link(token, key, new.id)
        link = NewLink(token.lookup, delivery_id, "open", sealed)
        attempt = Attempt(new_id(), new.id, queue_id, at)
        notification = self._composer.notification(_delivery(new), token, Identity(delivery_id, at))
        sender = bounce_address(delivery_id, self._settings)
        made = Deposit(delivery_id, notification, sender, "RET=HDRS", commit_address(attempt.id))
        announce(made)
        self._store.outgoing.prepare(new, attempt, link)
        return made

    def opened(self, message: Message, queue_id: str, at: datetime) -> str:
        """An envelope sender for mail that was opened on arrival.

        A report about it would quote what was encrypted; so it comes to us, and its sender gets one without
        content.

        Raises:
            StoreUnavailable: nothing was stored.
        """
        deliveries = tuple(
            NewDelivery(new_id(), "", recipient.address, OPENED, recipient.arguments)
            for recipient in message.recipients
        )
        self._store.outgoing.remember(
            NewMessage(
                id=new_id(),
                digest="",
                sender=message.sender,
                author=_author(message),
                language=self._settings.notification.language,
                created_at=at,
                expires_at=at,
                worker_wrap=None,
                blobs=(),
                deliveries=deliveries,
                arguments=message.sender_arguments,
                queue_id=queue_id,
            )
        )
        return bounce_address(deliveries[0].id, self._settings)

    def _stored(
        self,
        message: Message,
        copies: Sequence[Copy],
        digest: str,
        queue_id: str,
        at: datetime,
        *,
        for_worker: bool = True,
    ) -> tuple[NewMessage, bytes]:
        """The message's rows, whose long contents are on disk, and its key."""
        message_id, key = new_id(), new_message_key()
        blobs: dict[int, NewBlob] = {}
        deliveries = []
        for copy in copies:
            identity = id(copy.content)
            if identity not in blobs:
                pieces = _pieces(copy.content, message_id_of(message_id, self._settings))
                blobs[identity] = self._store.put(message_id, new_id(), key, pieces)
            deliveries.append(
                NewDelivery(
                    id=new_id(),
                    blob_id=blobs[identity].id,
                    recipient=copy.recipient.address,
                    route=copy.route.value,
                    arguments=copy.recipient.arguments,
                    next_hop=copy.next_hop,
                    reasons=copy.reasons,
                )
            )
        recipients = (each.recipient for each in deliveries)
        new = NewMessage(
            id=message_id,
            digest=digest,
            sender=message.sender,
            author=_author(message),
            language=self._settings.notification.language,
            created_at=at,
            expires_at=at + timedelta(days=self._settings.portal.lifetime),
            worker_wrap=self._store.public.for_worker(key, message_id, recipients) if for_worker else None,
            blobs=tuple(blobs.values()),
            deliveries=tuple(deliveries),
            arguments=message.sender_arguments,
            queue_id=queue_id,
        )
        return new, key


def digest_of(message: Message, copies: Iterable[Copy], queue_id: str) -> str:
    """What recognises a second attempt at the same message with the same outcome, in hex.

    It covers the envelope, each recipient's route, what a reader sees of the header, and the body; Message-ID
    and Date only where the client supplied them: Postfix puts the queue id in the Message-ID that it makes,
    and both are others at each attempt.
    """
    made_by_postfix = f".{queue_id}@".encode() in (message.headers.first("Message-ID") or b"")
    names = _RECOGNISED if queue_id and made_by_postfix else (*_RECOGNISED, *_SUPPLIED)
    pieces: list[bytes | memoryview] = [message.sender.encode("utf-8", "surrogateescape")]
    for text in sorted(
        repr((copy.recipient.address, copy.recipient.arguments, copy.route.value, copy.next_hop))
        for copy in copies
    ):
        pieces.append(text.encode("utf-8", "backslashreplace"))
    for name in names:
        pieces += [name.encode(), *(field.value for field in message.headers.all(name))]
    pieces.append(message.body)
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "big"))
        digest.update(piece)
    return digest.hexdigest()


def _pieces(content: Entity, message_id: str) -> tuple[Buffer, ...]:
    """What is stored of a copy. Where there is no Message-ID it gets ours: Postfix adds new ones."""
    headers: Headers = content.headers.without(HIDDEN_FIELDS)
    if headers.first("Message-ID") is None:
        headers = headers.add("Message-ID", message_id)
    return bytes(headers) + b"\r\n", content.body


def _author(message: Message) -> str:
    """The address in From, which a client check has shown to be one; else the envelope's."""
    found = addresses(message.headers, "From")
    return (found[0] if found else "") or message.sender


def _delivery(new: NewMessage) -> Delivery:
    """The only delivery of a message that was just stored, as a notification is written from it."""
    made = new.deliveries[0]
    return Delivery(
        id=made.id,
        message_id=new.id,
        blob_id=made.blob_id,
        size=new.blobs[0].size,
        recipient=made.recipient,
        arguments=made.arguments,
        route=made.route,
        next_hop=made.next_hop,
        reasons=made.reasons,
        state=DeliveryState.SENT,
        created_at=new.created_at,
        expires_at=new.expires_at,
        opened_at=None,
        read_at=None,
        downloads=0,
        sender=new.sender,
        author=new.author,
        message_arguments=new.arguments,
        language=new.language,
        reply_to=new.reply_to,
    )
