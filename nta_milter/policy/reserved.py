"""Marks that only we may set: a copy that arrives with a message is forged and dies."""

from __future__ import annotations

import re

from nta_milter.message.headers import HeaderField, Headers
from nta_milter.postfix.route import RESERVED_PREFIX

_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*\)")
_SERVICE_ID = re.compile(rb'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;()"]+))')


def authserv_id(value: bytes) -> bytes:
    """The authserv-id of an Authentication-Results value, lower case (RFC 8601 section 2.2).

    Comments may stand anywhere (CFWS) and the id may be quoted; what cannot be read gives ``b""``.
    """
    before = None
    while before != value:
        before, value = value, _COMMENT.sub(b" ", value)
    found = _SERVICE_ID.match(value)
    if found is None:
        return b""
    quoted, plain = found.groups()
    identifier: bytes = re.sub(rb"\\(.)", rb"\1", quoted) if quoted is not None else plain
    return identifier.strip().lower()


def without_reserved(headers: Headers, own_id: str, others: frozenset[bytes] = frozenset()) -> Headers:
    """The fields without our reserved ones, our own results, and ``others`` (names in lower case).

    Returns the very same object when there is nothing to remove, so that untouched stays untouched.
    """
    kept = tuple(field for field in headers if not _is_reserved(field, own_id.encode(), others))
    return headers if len(kept) == len(headers) else Headers(kept)


def _is_reserved(field: HeaderField, own_id: bytes, others: frozenset[bytes]) -> bool:
    name = field.name.strip().lower()
    if name.startswith(RESERVED_PREFIX) or name in others:
        return True
    return name == b"authentication-results" and authserv_id(field.value) == own_id.lower()
