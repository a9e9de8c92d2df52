"""Marks that only we may set: a copy that arrives with a message is forged and dies."""

from __future__ import annotations

import re

from nta_milter.message.address import comment_end
from nta_milter.message.charset import decode_words
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.postfix.route import RESERVED_PREFIX

_NOT_PRINTABLE = bytes(byte for byte in range(256) if not 0x20 < byte < 0x7F)
_RESULTS = b"authentication-results"
_WATCHED = (RESERVED_PREFIX, _RESULTS)
_BLANKS = re.compile(rb"\s*")
_SERVICE_ID = re.compile(rb'(?:"((?:[^"\\]|\\.)*)"|([^\s;()"]+))')


def authserv_id(value: bytes) -> bytes:
    """The authserv-id of an Authentication-Results value, lower case (RFC 8601 section 2.2).

    Comments may stand before it (CFWS), nested too, and it may be quoted; what cannot be read gives ``b""``.
    """
    position = _past_blanks(value, 0)
    while value[position : position + 1] == b"(":
        position = _past_blanks(value, comment_end(value, position + 1))
    found = _SERVICE_ID.match(value, position)
    if found is None:
        return b""
    quoted, plain = found.groups()
    identifier: bytes = re.sub(rb"\\(.)", rb"\1", quoted) if quoted is not None else plain
    return identifier.strip().lower()


def _past_blanks(value: bytes, position: int) -> int:
    blanks = _BLANKS.match(value, position)
    return blanks.end() if blanks else position


def without_reserved(headers: Headers, own_id: str, others: frozenset[bytes] = frozenset()) -> Headers:
    """The fields without our reserved ones, our own results, and ``others`` (names in lower case).

    Returns the very same object when there is nothing to remove, so that untouched stays untouched.
    """
    for name in headers.by_name():
        name = name.strip()
        if name in others or name.startswith(_WATCHED):
            break
    else:
        return headers
    kept = tuple(field for field in headers if not _is_reserved(field, own_id.encode(), others))
    return headers if len(kept) == len(headers) else Headers(kept)


def _poses_as(value: bytes, own_id: bytes) -> bool:
    """Whether a value has our own results somewhere, for a reader who looks for them with less care.

    Filters look for a text within the field, and skip what is not printable. Our name as the value of a
    property of others (``smtp.helo=nta.care.test``) is none.
    """
    if own_id not in value.lower() and b"=?" not in value and own_id not in _printable(value):
        return False
    text = decode_words(value).lower().encode("ascii", "ignore")
    pose = re.compile(rb"(?<![=@\w.-])" + re.escape(own_id) + rb"[./\s]*[0-9]*\s*(?:;|$)")
    return any(pose.search(form) is not None for form in (b" ".join(text.split()), _printable(text)))


def _printable(value: bytes) -> bytes:
    return value.translate(None, _NOT_PRINTABLE).lower()


def _is_reserved(field: HeaderField, own_id: bytes, others: frozenset[bytes]) -> bool:
    name = field.name.strip().lower()
    if name.startswith(RESERVED_PREFIX) or name in others:
        return True
    if name != _RESULTS:
        return False
    return authserv_id(field.value) == own_id.lower() or _poses_as(field.value, own_id.lower())
