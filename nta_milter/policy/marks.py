"""Explicit marks: what a sender, a mail program or an earlier message of ours said about a message."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import Header

from nta_milter.compliance.report import Reason
from nta_milter.config.model import PolicySettings
from nta_milter.message.charset import decode_words
from nta_milter.message.headers import HeaderField, Headers

THREAD_PREFIX = "nta-secure."
"""What the local part of every message identifier that marks a secure thread begins with."""

_THREAD_FIELDS = ("References", "In-Reply-To", "Message-ID")
_THREAD_MARK = re.compile(rb"<nta-secure\.[^<>@\s]{1,128}@[^<>@\s]{1,255}>", re.IGNORECASE)

_SENSITIVITY = frozenset((b"private", b"company-confidential"))
"""Values of the field Sensitivity (RFC 2156 section 2.4) that mean it; Personal is about the mailbox."""

_NO = frozenset((b"", b"no", b"nee", b"false", b"0", b"off", b"none"))

_REPLIES = re.compile(r"(?:(?:re|fwd?|antw|betr|doorst|aw|wg|tr)[ ]{0,3}:\s{0,9}){0,20}", re.IGNORECASE)
_TAGS_REMOVED = 20
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one configuration, in the form in which they are compared."""

    header: str
    tags: tuple[str, ...]
    labels: tuple[re.Pattern[bytes], ...]
    folded_tags: tuple[str, ...]

    @classmethod
    def compile(cls, settings: PolicySettings) -> Marks:
        """From the settings; what cannot be a mark is left out."""
        tags = sorted((tag.strip() for tag in settings.subject_tags if tag.strip()), key=len, reverse=True)
        labels = tuple(
            re.compile(
                rb"\bMSIP_Label_" + re.escape(label.strip().encode()) + rb"_Enabled\s{0,9}=\s{0,9}true", re.I
            )
            for label in settings.msip_labels
            if label.strip()
        )
        return cls(settings.mark_header, tuple(tags), labels, tuple(tag.casefold() for tag in tags))

    def find(self, headers: Headers) -> Iterator[Reason]:
        """Every mark that these fields carry."""
        if self.header and any(field.value.lower() not in _NO for field in headers.all(self.header)):
            yield Reason("mark-header", f"marked by the header field {self.header}")
        for field in headers.all("Sensitivity"):
            if field.value.lower() in _SENSITIVITY:
                yield Reason("mark-sensitivity", f"marked by Sensitivity: {field.value.decode('ascii')}")
        if self.labels and any(
            label.search(field.value) for field in headers.all("msip_labels") for label in self.labels
        ):
            yield Reason("mark-label", "marked by a sensitivity label (msip_labels)")
        for field in headers.all("Subject"):
            if self.tags and self.untagged(decode_words(field.value)) is not None:
                yield Reason("mark-subject", "marked by a tag in Subject")
        if in_secure_thread(headers):
            yield Reason("mark-thread", "answers or forwards a secure message")

    def untagged(self, subject: str) -> str | None:
        """A subject without the tags it begins (behind Re: and the like) or ends with; None without any."""
        folded = subject.casefold()
        if not any(tag in folded for tag in self.folded_tags):
            return None
        text = subject.strip()
        found = False
        for _ in range(_TAGS_REMOVED):
            replies = _REPLIES.match(text)
            start = replies.end() if replies else 0
            tag = next((tag for tag in self.tags if _begins(text[start:], tag)), None)
            if tag is not None:
                text = (text[:start] + text[start + len(tag) :].lstrip()).strip()
            else:
                tag = next((tag for tag in self.tags if _begins(text[-len(tag) :], tag)), None)
                if tag is None:
                    break
                text = text[: -len(tag)].rstrip()
            found = True
        return text if found else None

    def without_tags(self, headers: Headers) -> Headers:
        """The fields with no tag in Subject and without the mark's own field; the same object if none is.

        A Subject that held more than ASCII is written as encoded words (RFC 2047).
        """
        if self.header and headers.all(self.header):
            headers = headers.without((self.header,))
        untagged = {
            field: HeaderField(field.name, b" " + encoded(text, field.name))
            for field in headers.all("Subject")
            if (text := self.untagged(decode_words(field.value))) is not None
        }
        return Headers(tuple(untagged.get(field, field) for field in headers)) if untagged else headers


def _begins(text: str, tag: str) -> bool:
    return text[: len(tag)].casefold() == tag.casefold()


def encoded(text: str, name: bytes) -> bytes:
    """A text as the value of an unstructured field: ASCII, folded, and never a line of its own."""
    clean = _UNPRINTABLE.sub(" ", text).strip()
    charset = "us-ascii" if clean.isascii() and "=?" not in clean else "utf-8"
    header = Header(clean, charset, header_name=name.decode("ascii"), maxlinelen=76)
    return header.encode(linesep="\r\n").encode("ascii")


def in_secure_thread(headers: Headers) -> bool:
    """Whether a message belongs to a thread in which a message was secure.

    Each secure message that we send or open carries, in References or as its own Message-ID, an identifier
    whose local part begins with THREAD_PREFIX. Mail programs copy References into replies and forwards, so
    the mark stays with the thread, whoever runs nta-milter. A forged one only makes a message more secure.
    """
    return any(_THREAD_MARK.search(field.value) for name in _THREAD_FIELDS for field in headers.all(name))


def thread_mark(message_id: bytes, domain: str) -> str:
    """The identifier to put into References of a secure message: always the same for the same message."""
    digest = hashlib.sha256(message_id).hexdigest()[:32]
    return f"<{THREAD_PREFIX}{digest}@{domain}>"


def with_thread_mark(headers: Headers, domain: str) -> Headers:
    """The fields with the thread mark at the end of References; the same object where it stands already.

    A message without Message-ID begins no thread that anybody could name and gets none.
    """
    message_id = headers.first("Message-ID")
    if not message_id or in_secure_thread(headers):
        return headers
    mark = thread_mark(message_id, domain).encode("ascii")
    if not headers.all("References"):
        return Headers((*headers.fields, HeaderField(b"References", b" " + mark)))
    return Headers(
        tuple(
            HeaderField(name, raw + b"\r\n " + mark)
            if name.lower() == b"references"
            else HeaderField(name, raw)
            for name, raw in headers
        )
    )
