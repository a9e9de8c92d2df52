"""Which domains vouch for the mail? DKIM (RFC 6376) by dkimpy, over the bytes as they arrived.

Every signature is a stranger's, so what dkimpy gets is bounded first: the field's length and blanks, the
names in h=, the key's length, and the body, whose digest is made here.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from nta_milter.inbound.canonical import body_digest
from nta_milter.inbound.questions import Questions
from nta_milter.inbound.result import Result
from nta_milter.lookup.answer import Answer, Presence
from nta_milter.lookup.name import domain_name
from nta_milter.message.headers import Headers
from nta_milter.message.model import Message

SIGNATURE_LIMIT = 8
"""Most signatures of one message that are verified; those of the sender's own domain come first."""
FIELD_LIMIT = 8_192
"""Longest signature field, in bytes."""
NAME_LIMIT = 256
"""Most names in h=."""
KEY_LIMIT = 1_024
"""Longest key record, in bytes: RSA of 4,096 bits needs some 760, and a long exponent costs much time."""

_LONG_BLANKS = re.compile(rb"\s{80}")
_SELECTOR = re.compile(rb"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,200}[A-Za-z0-9])?")

_silent = logging.Logger("dkim")
_silent.disabled = True


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature field. ``index`` counts the fields from the top; ``fault`` says what is wrong."""

    index: int
    domain: str = ""
    selector: str = ""
    fault: str = ""

    @property
    def key_name(self) -> str:
        """Where the public key is (section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


def signatures(headers: Headers, own: str) -> tuple[tuple[Signature, ...], int]:
    """The signatures that are verified, those of the domain ``own`` first, and how many are left out."""
    read = [_read(index, field.raw) for index, field in enumerate(headers.all("DKIM-Signature"))]
    read.sort(key=lambda signature: (bool(signature.fault), not _akin(signature.domain, own)))
    return tuple(read[:SIGNATURE_LIMIT]), len(read[SIGNATURE_LIMIT:])


def keys(found: Iterable[Signature], questions: Questions) -> dict[str, Answer]:
    """The key records of signatures, by their names."""
    return {
        signature.key_name: questions.ask(signature.key_name, "TXT")
        for signature in found
        if not signature.fault
    }


def verify(message: Message, found: Sequence[Signature], records: Mapping[str, Answer]) -> tuple[Result, ...]:
    """The result of each signature (RFC 8601 section 2.7.1), or ``none`` where there is none."""
    if not found:
        return (Result("dkim", "none", "not signed"),)
    fields = [[field.name, field.raw + b"\r\n"] for field in message.headers]
    return tuple(_verdict(message, fields, signature, records) for signature in found)


def _read(index: int, raw: bytes) -> Signature:
    if len(raw) > FIELD_LIMIT or _LONG_BLANKS.search(raw):
        return Signature(index, fault="too long")
    try:
        tags = parse_tag_value(raw)
    except InvalidTagValueList:
        return Signature(index, fault="cannot be read")
    selector = tags.get(b"s", b"")
    domain = domain_name(tags.get(b"d", b"").decode("utf-8", "replace"))
    if domain is None or not _SELECTOR.fullmatch(selector):
        return Signature(index, fault="names no domain or selector")
    return Signature(index, domain, selector.decode("ascii").lower())


def _akin(domain: str, own: str) -> bool:
    return bool(own) and (domain == own or own.endswith("." + domain) or domain.endswith("." + own))


def _verdict(
    message: Message, fields: list[list[bytes]], signature: Signature, records: Mapping[str, Answer]
) -> Result:
    properties = (("header.d", signature.domain), ("header.s", signature.selector))
    if signature.fault:
        return Result("dkim", "permerror", signature.fault)
    answer = records[signature.key_name]
    if answer.presence is Presence.UNKNOWN:
        value, comment = "temperror", answer.reason
    else:
        try:
            value, comment = _judge(message, fields, signature, _key(answer, signature.key_name))
        except _NotAcceptable as error:
            value, comment = error.value, error.comment
        except (dkim.DKIMException, InvalidTagValueList, binascii.Error) as error:
            value, comment = "permerror", str(error)
        except Exception as error:  # noqa: BLE001 - a stranger's field goes through a library: nothing may pass
            value, comment = "permerror", f"{type(error).__name__}: {error}"
    return Result("dkim", value, comment, properties, signature.domain)


class _NotAcceptable(Exception):
    """A signature that proves nothing to us, with its result."""

    def __init__(self, value: str, comment: str) -> None:
        super().__init__(comment)
        self.value = value
        self.comment = comment


def _key(answer: Answer, name: str) -> bytes:
    """The one key record at a name, which can be used (section 3.6.1)."""
    records = [record for record in answer.records if isinstance(record, bytes) and b"p=" in record]
    if len(records) != 1:
        raise _NotAcceptable("permerror", "several keys" if records else "no key in DNS")
    (record,) = records
    if len(record) > KEY_LIMIT:
        raise _NotAcceptable("permerror", f"the key record is longer than {KEY_LIMIT} bytes")
    tags = parse_tag_value(record)
    if not tags.get(b"p"):
        raise _NotAcceptable("permerror", "the key is revoked")
    if b"y" in tags.get(b"t", b"").replace(b" ", b"").split(b":"):
        raise _NotAcceptable("neutral", "the domain only tests its key")
    dkim.evaluate_pk(name, record)
    return record


def _judge(
    message: Message, fields: list[list[bytes]], signature: Signature, record: bytes
) -> tuple[str, str]:
    verifier: Any = dkim.DKIM(logger=_silent)
    verifier.headers = fields
    tags, names, all_signatures = verifier.verify_headerprep(signature.index)
    if tags[b"a"] == b"rsa-sha1":
        raise _NotAcceptable("policy", "SHA-1")  # RFC 8301 section 3.1
    if b"from" not in names:
        raise _NotAcceptable("permerror", "From is not signed")
    if len(names) > NAME_LIMIT:
        raise _NotAcceptable("permerror", f"more than {NAME_LIMIT} names in h=")
    header_form, _, body_form = tags.get(b"c", b"simple/simple").partition(b"/")
    if not {header_form, body_form or b"simple"} <= {b"simple", b"relaxed"}:
        raise _NotAcceptable("permerror", "unknown canonicalization")
    length = int(tags[b"l"]) if b"l" in tags else None
    digest, size = body_digest(message.body, "sha256", relaxed=body_form == b"relaxed", length=length)
    if base64.b64decode(b"".join(tags[b"bh"].split())) != digest:
        return "fail", "the body was changed"
    # Without bh= dkimpy leaves the body alone; the field itself, bh= included, is hashed all the same.
    without_body = {name: value for name, value in tags.items() if name != b"bh"}
    good = verifier.verify_sig(
        without_body, names, all_signatures[signature.index], lambda name, timeout=0: record
    )
    if not good:
        return "fail", "the header was changed or the key is another"
    if length is not None and length < size:
        raise _NotAcceptable("policy", "not the whole body is signed")
    return "pass", ""
