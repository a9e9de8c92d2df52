"""The outcome S/MIME: the message becomes one ciphertext in place, routed over mandatory DANE (RFC 8551)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain

from nta_milter.errors import CertificateError
from nta_milter.message.address import address_list
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Buffer, Entity, LongBody, Message
from nta_milter.outbound.plan import Destination, Plan, route_value
from nta_milter.policy.marks import with_thread_mark
from nta_milter.policy.outcome import Outcome
from nta_milter.policy.reserved import without_reserved
from nta_milter.policy.sensitivity import without_tags
from nta_milter.policy.snapshot import Snapshot
from nta_milter.postfix.route import ROUTE_HEADER
from nta_milter.smime.encrypt import agreed_cipher, envelope
from nta_milter.smime.keystore import PrivateKey
from nta_milter.smime.protect import protect
from nta_milter.smime.sign import sign_in_passing, sign_pieces

AUTOMATIC_FIELDS = ("Auto-Submitted", "Precedence")
"""What keeps a program from answering a program (RFC 3834); their keyword alone stands outside."""

OUTER_FIELDS = (
    *("From", "To", "Cc", "Date", "Message-ID", "References", "In-Reply-To"),
    *AUTOMATIC_FIELDS,
)
"""What may be seen from outside besides Subject and the MIME fields; of people the addresses alone."""

INNER_FIELDS = (
    *OUTER_FIELDS,
    *("Subject", "Reply-To", "Sender", "Importance", "Keywords", "Comments"),
    *("Disposition-Notification-To", "List-Id", "List-Post", "List-Unsubscribe"),
)
"""What travels inside; any other field, trace and signatures of before us included, ends here."""

AT_ONCE = 200_000
"""Longest body, in bytes, that is made before the first of it is sent."""

_AUTOMATIC = frozenset(name.lower().encode() for name in AUTOMATIC_FIELDS)
_KEYWORD = re.compile(
    rb"(?:no|auto-generated|auto-replied|auto-notified|bulk|list|junk)(?![\w-])", re.IGNORECASE
)


def rewrite(plan: Plan, snapshot: Snapshot, at: datetime) -> Outcome:
    """The message itself becomes the ciphertext; raises CertificateError as ``seal`` does."""
    message = plan.inspection.message
    headers, body = _seal(message, plan.destinations, plan.signer, snapshot, at)
    return Outcome(
        headers=headers.add(ROUTE_HEADER, route_value(plan.destinations[0])),
        body=body if body.size > AT_ONCE else body.joined(),
        sender=message.sender,
        sender_arguments=headers_only(message),
    )


def seal(
    message: Message,
    destinations: Sequence[Destination],
    signer: PrivateKey | None,
    snapshot: Snapshot,
    at: datetime,
) -> Entity:
    """Sign and encrypt for recipients of one group, whose settings are the first one's.

    Raises:
        CertificateError: a certificate can no longer be used.
    """
    headers, body = _seal(message, destinations, signer, snapshot, at)
    return Entity(headers, body.joined())


def _seal(
    message: Message,
    destinations: Sequence[Destination],
    signer: PrivateKey | None,
    snapshot: Snapshot,
    at: datetime,
) -> tuple[Headers, LongBody]:
    certificates = []
    for destination in destinations:
        found = destination.found
        if found is None or found.certificate is None:
            raise CertificateError("has no certificate", where=destination.decision.recipient)
        found.certificate.usable_at(at)
        if found.certificate not in certificates:
            certificates.append(found.certificate)
    rule = destinations[0].addressee.rule
    headers = secured(message, snapshot)
    visible = outer_fields(headers)
    inner, subject = protect(
        headers.only(INNER_FIELDS),
        Entity(_mime_fields(headers), message.body),
        hide_subject=rule is None or rule.subject == "hide",
        outside=visible,
    )
    inner_headers, length, pieces = _signed(inner, signer, at)
    head = b"%b\r\n" % bytes(inner_headers)
    sealed_headers, body = envelope(
        chain((head,), pieces),
        len(head) + length,
        certificates,
        cipher=(rule.cipher if rule else "") or agreed_cipher(certificates, snapshot.settings.smime.cipher),
        bind_key=all(certificate.bound_keys for certificate in certificates),
    )
    outer = Headers(
        (
            *visible,
            HeaderField(b"Subject", b" " + subject.encode("utf-8")),
            HeaderField(b"MIME-Version", b" 1.0"),
            *sealed_headers,
        )
    )
    return agreed(outer, snapshot), body


def _signed(entity: Entity, signer: PrivateKey | None, at: datetime) -> tuple[Headers, int, Iterable[Buffer]]:
    """The header fields, the length and the pieces of what is encrypted."""
    if signer is None:
        return entity.headers, len(entity.body), (entity.body,)
    if (passing := sign_in_passing(entity, signer, at=at)) is not None:
        return passing
    headers, pieces = sign_pieces(entity, signer, at=at, enclosed=True)
    return headers, sum(map(len, pieces)), pieces


def agreed(headers: Headers, snapshot: Snapshot) -> Headers:
    """The fields with the mark that compliant parties have agreed on, where one is configured."""
    mark = snapshot.settings.nta_header
    return headers.add(mark.name, mark.value) if mark.name else headers


def outer_fields(headers: Headers) -> Headers:
    """The fields that stand outside, besides Subject: a display name can tell who is treated and where."""
    fields = []
    for field in headers.only(OUTER_FIELDS):
        if field.name.lower() in (b"from", b"to", b"cc"):
            mailboxes = address_list([field.value]).mailboxes
            addresses = ",\r\n ".join(mailbox.address for mailbox in mailboxes)
            fields.append(HeaderField(field.name, f" {addresses or 'undisclosed-recipients:;'}".encode()))
        elif field.name.lower() in _AUTOMATIC:
            keyword = _KEYWORD.match(field.value)
            fields.extend([HeaderField(field.name, b" " + keyword[0])] if keyword else [])
        else:
            fields.append(field)
    return Headers(tuple(fields))


def secured(message: Message, snapshot: Snapshot) -> Headers:
    """The fields of a secure message: no forged marks, no sender's tags, and the mark of its thread."""
    headers = without_reserved(message.headers, snapshot.authserv_id, snapshot.reserved)
    return with_thread_mark(
        without_tags(headers, snapshot.sensitivity), snapshot.settings.internal.domains[0]
    )


def headers_only(message: Message) -> str:
    """DSN arguments under which a report quotes no body (RFC 3461): RET=HDRS, the client's ENVID kept."""
    kept = [item for item in message.sender_arguments if item.upper().startswith("ENVID=")]
    return " ".join(("RET=HDRS", *kept))


def _mime_fields(headers: Headers) -> Headers:
    return Headers(
        tuple(
            [
                field
                for field in headers
                if (name := field.name.lower()).startswith(b"content-") or name == b"mime-version"
            ]
        )
    )
