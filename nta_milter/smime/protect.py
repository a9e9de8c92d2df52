"""Header protection (RFC 9788): header fields inside the encryption, and their way back out.

Written: every field of the message inside, ``hp="cipher"``, and HP-Outer with what stands outside.
Restored: only from the payload of the message's own encryption, only the fields of ``RESTORED``, and none
that says how the message travelled or who is answerable for it. The From field keeps its address: a
gateway must not change whom DMARC has spoken of.
"""

from __future__ import annotations

import re

from nta_milter.message import headers as fields
from nta_milter.message.address import address_list
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.message.model import Entity
from nta_milter.message.parameters import structured

HIDDEN_SUBJECT = "[...]"
"""What stands outside instead of the Subject (RFC 9788 section 3.2.1, hcp_baseline)."""

RESTORED = ("Subject", "To", "Cc", "Date", "Comments", "Keywords", "In-Reply-To", "References")
"""Fields that are taken from inside; From is taken too where its addresses are the same."""

RECEIPT_REQUEST = "Disposition-Notification-To"
"""Taken only when it is signed for and leads to the sender's own domain.

A receipt (RFC 8098) tells whoever asks that the mail was opened: who changes ciphertext would learn that way
what can be decrypted, and who sends another's ciphertext that it was read.
"""

_CONCEALED = (b"comments", b"keywords")
_NOT_PROTECTED = (
    b"content-", b"mime-version", b"hp-outer", b"bcc", b"resent-", b"received", b"return-path",
    b"delivered-to", b"dkim-", b"arc-", b"authentication-results", b"x-nta-",
)  # fmt: skip
"""How the names of fields begin that say nothing of what the author meant."""
_HP_CIPHER = b';\r\n hp="cipher"'
_VALUE_LIMIT = 65_536
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_PARAMETERS = re.compile(rb';\s*(?:hp|protected-headers)\s*=\s*(?:"[^"\\]*"|[^\s;"]*)', re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_WRAPPERS = ("message/rfc822", "message/global")


def protect(
    headers: Headers, entity: Entity, *, hide_subject: bool, outside: Headers | None = None
) -> tuple[Entity, str]:
    """The entity with the message's fields inside, and the Subject to write outside.

    ``headers`` are the fields of the message as they are meant; those of the body (Content-*) and of its
    way here are left aside. ``outside`` are the fields as they will stand outside, besides the Subject;
    None = all but Comments and Keywords, unchanged.
    """
    subject = next((field.value for field in headers if field.name.lower() == b"subject"), None)
    outer_subject = HIDDEN_SUBJECT if hide_subject or subject is None else subject.decode("utf-8", "replace")
    inner: list[HeaderField] = []
    outer: list[HeaderField] = []
    for field in headers:
        name = field.name.lower()
        if name.startswith(_NOT_PROTECTED):
            continue
        inner.append(field)
        if name == b"subject" and hide_subject:
            outer.append(_outer(field.name, b" " + HIDDEN_SUBJECT.encode("ascii")))
        elif name == b"subject" or (outside is None and name not in _CONCEALED):
            outer.append(_outer(field.name, field.raw))
    outer.extend(_outer(field.name, field.raw) for field in outside or () if field.name.lower() != b"subject")
    body = [
        HeaderField(field.name, field.raw.rstrip().removesuffix(b";") + _HP_CIPHER)
        if field.name.lower() == b"content-type"
        else field
        for field in entity.headers
    ]
    if body == list(entity.headers):
        body.append(HeaderField(b"Content-Type", b" text/plain" + _HP_CIPHER))
    return Entity(Headers((*inner, *outer, *body)), entity.body), outer_subject


def _outer(name: bytes, raw: bytes) -> HeaderField:
    return HeaderField(b"HP-Outer", b" %b:%b" % (name, raw))


def restore(outer: Headers, inner: Entity, *, signed: bool = False) -> Headers:
    """The outer fields with those from inside in their place, where that is safe.

    ``inner`` is the payload of the message's own encryption, ``signed`` whether a good signature is on it.
    Read are RFC 9788 (``hp="cipher"``), the earlier draft (``protected-headers="v1"``) and message/rfc822 as
    a wrapper (RFC 8551 section 3.1).
    """
    protected = _protected(outer, inner)
    restored = outer
    for name in RESTORED:
        found = protected.all(name)
        if len(found) == 1 and _harmless(found[0]):
            restored = _replace(restored, name, found[0])
    sender = protected.all("From")
    if len(sender) == 1 and _harmless(sender[0]) and _same_addresses(outer, sender[0]):
        restored = _replace(restored, "From", sender[0])
    request = protected.all(RECEIPT_REQUEST)
    if signed and len(request) == 1 and _harmless(request[0]) and _same_domain(outer, request[0]):
        restored = _replace(restored, RECEIPT_REQUEST, request[0])
    return restored


def content(outer: Headers, inner: Entity) -> Entity:
    """The payload as the body of the message: wrapper, protected fields and HP parameters taken off."""
    kind = structured(inner.headers.first("Content-Type") or b"")
    if _is_wrapper(outer, inner):
        headers, start = fields.split(inner.body)
        inner = Entity(headers, memoryview(inner.body)[start:])
    elif "hp" not in kind.parameters and "protected-headers" not in kind.parameters:
        return inner
    kept = (_unprotected(field) for field in inner.headers if field.name[:8].lower() == b"content-")
    return Entity(Headers(tuple(kept)), inner.body)


def _unprotected(field: HeaderField) -> HeaderField:
    """A field of the body without the parameters that say that header fields are protected."""
    if field.name.lower() != b"content-type":
        return field
    return HeaderField(field.name, _PARAMETERS.sub(b"", field.raw))


def _protected(outer: Headers, inner: Entity) -> Headers:
    kind = structured(inner.headers.first("Content-Type") or b"")
    if kind.parameters.get("hp") == "cipher" or kind.parameters.get("protected-headers") == "v1":
        return inner.headers
    if _is_wrapper(outer, inner):
        return fields.split(inner.body)[0]
    return Headers()


def _is_wrapper(outer: Headers, inner: Entity) -> bool:
    """Whether the payload is the message as a whole (RFC 8551 section 3.1) and not one that is forwarded.

    A forwarded message looks the same; it is by somebody else, so that its From differs.
    """
    kind = structured(inner.headers.first("Content-Type") or b"")
    if kind.value not in _WRAPPERS or kind.parameters.get("forwarded", "no").lower() != "no":
        return False
    senders = fields.split(inner.body)[0].all("From")
    return len(senders) == 1 and _same_addresses(outer, senders[0])


def _harmless(field: HeaderField) -> bool:
    """Whether a value can stand outside: not too long, and no control characters but those of folds."""
    return len(field.raw) <= _VALUE_LIMIT and not _CONTROL.search(_FOLD.sub(b"", field.raw))


def _replace(headers: Headers, name: str, field: HeaderField) -> Headers:
    """The fields with this one where the first of its name was, or at the end."""
    old = headers.all(name)
    clean = HeaderField(name.encode("ascii"), field.raw)
    if not old:
        return Headers((*headers.fields, clean))
    kept: list[HeaderField] = []
    for item in headers:
        if item is old[0]:
            kept.append(clean)
        elif item.name.lower() != clean.name.lower():
            kept.append(item)
    return Headers(tuple(kept))


def _same_addresses(outer: Headers, sender: HeaderField) -> bool:
    outside = address_list(field.value for field in outer.all("From"))
    inside = address_list([sender.value])
    return (
        not outside.malformed
        and not inside.malformed
        and [mailbox.address for mailbox in outside.mailboxes]
        == [mailbox.address for mailbox in inside.mailboxes]
    )


def _same_domain(outer: Headers, request: HeaderField) -> bool:
    """Whether every address of a request for a receipt is at the one domain of From."""
    author = address_list(field.value for field in outer.all("From"))
    asked = address_list([request.value])
    domains = {
        mailbox.address.rpartition("@")[2].lower() for mailbox in (*author.mailboxes, *asked.mailboxes)
    }
    return not author.malformed and not asked.malformed and bool(asked.mailboxes) and len(domains) == 1
