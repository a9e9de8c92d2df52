"""Which organisation does a domain belong to? (RFC 7489 section 3.2)"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from nta_milter.config.libraries import PUBLIC_SUFFIX, installed

SYSTEM_LIST = Path("/usr/share/publicsuffix/public_suffix_list.dat")
"""Debian's list, which is newer than the one that comes with the library."""


def organisational_domain(domain: str) -> str:
    """One label below the public suffix; the domain itself where it is one, or without publicsuffix2."""
    suffixes = _suffixes()
    if suffixes is None:
        return domain
    suffix = suffixes.get_tld(domain) or ""
    if not suffix or suffix == domain:
        return domain
    return ".".join(domain.split(".")[-2 - suffix.count(".") :])


@cache
def _suffixes() -> Any | None:
    if not installed(PUBLIC_SUFFIX):
        return None
    from publicsuffix2 import PublicSuffixList

    return PublicSuffixList(str(SYSTEM_LIST) if SYSTEM_LIST.exists() else None)
