"""The access code that sender and recipient agreed on, kept as a scrypt hash (RFC 7914)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import threading
import unicodedata
from itertools import pairwise

from nta_milter.errors import ConfigurationError

KIND = "code"
"""Kind of this second factor in the store."""

SHORTEST = 8
"""Fewest characters of a code, hyphens and blanks not counted."""

FEWEST_DIFFERENT = 4

_READ_OUT = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

_COST, _BLOCK, _PARALLEL = 15, 8, 1
_MEMORY = 64 * 1024 * 1024
_HASH = 32

# Each check takes 32 MiB and a tenth of a second of a core: strangers must not start hundreds at once.
_room = threading.BoundedSemaphore(2)


def normal(code: str) -> str:
    """The code as it is compared: case, blanks and all kinds of hyphens make no difference."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", code).casefold())
    return "".join(
        character
        for character in folded
        if not character.isspace() and unicodedata.category(character) != "Pd"
    )


def suggestion() -> str:
    """A random code (40 bits) that can be read out by telephone: no letter looks or sounds like a digit."""
    letters = "".join(secrets.choice(_READ_OUT) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def is_weak(code: str) -> bool:
    """Whether a code is too short, or one character or run over and over."""
    bare = normal(code)
    steps = {ord(second) - ord(first) for first, second in pairwise(bare)}
    return len(bare) < SHORTEST or len(set(bare)) < FEWEST_DIFFERENT or steps in ({1}, {-1})


def hashed(code: str) -> str:
    """What the store keeps of a code.

    Raises:
        ConfigurationError: the code is too easy to guess.
    """
    if is_weak(code):
        raise ConfigurationError(
            f"is too easy to guess: at least {SHORTEST} characters, {FEWEST_DIFFERENT} of them different, "
            "and no mere run",
            where="access code",
        )
    salt = os.urandom(16)
    digest = _scrypt(normal(code), salt, _COST, _BLOCK, _PARALLEL)
    encoded = (base64.b64encode(value).decode("ascii") for value in (salt, digest))
    return "$".join(("scrypt", str(_COST), str(_BLOCK), str(_PARALLEL), *encoded))


def matches(code: str, kept: str | None) -> bool:
    """Whether this is the code. Without one that is kept it is not, and costs the same."""
    cost, block, parallel, salt, digest = _COST, _BLOCK, _PARALLEL, bytes(16), b""
    if kept is not None:
        cost, block, parallel, salt, digest = _parsed(kept)
    found = _scrypt(normal(code), salt, cost, block, parallel)
    return hmac.compare_digest(found, digest) and kept is not None


def _parsed(kept: str) -> tuple[int, int, int, bytes, bytes]:
    try:
        name, cost, block, parallel, salt, digest = kept.split("$")
        numbers = int(cost), int(block), int(parallel)
        values = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    except (ValueError, binascii.Error):
        name, numbers, values = "", (0, 0, 0), (b"", b"")
    if name != "scrypt" or len(values[1]) != _HASH:
        raise ConfigurationError("the store holds an access code that is no scrypt hash", where="store")
    return *numbers, *values


def _scrypt(code: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    with _room:
        return hashlib.scrypt(
            code.encode(), salt=salt, n=1 << cost, r=block, p=parallel, maxmem=_MEMORY, dklen=_HASH
        )
