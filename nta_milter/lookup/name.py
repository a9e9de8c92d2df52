"""Names: what may be a mail domain, and what may be a host that Postfix is told to connect to."""

from __future__ import annotations

import re
import unicodedata

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_LONGEST = 253


def is_host_name(text: str) -> bool:
    """Whether it is a host name of two labels or more, in lower case, that no table or client mistakes.

    Letters, digits and hyphens (RFC 1123 section 2.1), no trailing dot, the last label not numeric: a
    trailing dot or another character is a fatal error in Postfix's smtp(8) and stops its whole transport.
    """
    return len(text) <= _LONGEST and _HOST.fullmatch(text) is not None


def domain_name(text: str) -> str | None:
    """The mail domain in its A-label form, lower case, without a trailing dot; None if it is no domain.

    A name whose A-label form does not lead back to it is None too: IDNA 2003 and IDNA 2008 disagree
    about it, so Postfix could send to another domain than the one that was looked up.
    """
    if is_host_name(text):
        return text
    name = text.removesuffix(".").lower()
    if not name.isascii():
        if len(name) > _LONGEST:
            return None
        try:
            ascii_name = name.encode("idna").decode("ascii")
            if ascii_name.encode("ascii").decode("idna") != unicodedata.normalize("NFC", name):
                return None
        except UnicodeError:
            return None
        name = ascii_name
    return name if is_host_name(name) else None
