"""Encryption of stored content: C2SP chunked-encryption, instantiated as Cobblestone-256.

A salt and a key commitment, then chunks of 16 KiB under AES-256-GCM, the last one always shorter, so that a
cut, a swap or an addition is seen and any place can be read by itself (https://c2sp.org/chunked-encryption;
HKDF-Expand with SHA-512).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from nta_milter.errors import SealError

KEY_SIZE = 32
CHUNK = 16_384
"""Bytes of content in every chunk but the last, which has fewer."""
TAG = 16
SALT = 24
HEADER = SALT + 32
"""Bytes before the first chunk: salt and commitment."""
_CHUNK_LIMIT = 2**38
_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"


class Source(Protocol):
    """Where sealed bytes are read from, at any place."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end."""


def sealed_size(size: int) -> int:
    """How many bytes ``size`` bytes of content take when sealed."""
    return HEADER + size + (size // CHUNK + 1) * TAG


def seal(
    content: Iterable[bytes | memoryview], key: bytes, context: bytes, salt: bytes = b""
) -> Iterator[bytes]:
    """Sealed pieces of the content, as it comes in; a piece of any size may be given.

    ``key`` has 32 random bytes and may seal many contents. ``context`` says what the content is and must be
    given again to open it. ``salt`` is given by tests alone.
    """
    salt = salt or os.urandom(SALT)
    chunks = _Chunks(key, context, salt)
    yield salt + chunks.commitment
    number = 0
    rest = b""
    for piece in content:
        view = memoryview(piece)
        if rest or len(view) < CHUNK:
            take = CHUNK - len(rest)
            rest += view[:take]
            view = view[take:]
            if len(rest) < CHUNK:
                continue
            yield chunks.encrypt(number, rest)
            number += 1
        whole = len(view) - len(view) % CHUNK
        for start in range(0, whole, CHUNK):
            yield chunks.encrypt(number, view[start : start + CHUNK])
            number += 1
        rest = bytes(view[whole:])
    yield chunks.encrypt(number, rest)


class SealedReader:
    """Reads sealed content at any place; every byte that it gives is authentic.

    The constructor checks key, context and length (the last chunk is opened), so that ``size`` can be
    trusted. Safe for several threads when the source is.

    Raises:
        SealError: the key or context is wrong, or the content was changed or cut off.
    """

    def __init__(self, source: Source, key: bytes, context: bytes) -> None:
        self._source = source
        header = source.read_at(0, HEADER)
        if len(header) < HEADER or len(key) != KEY_SIZE:
            raise SealError("is no sealed content, or the key has the wrong size")
        self._chunks = _Chunks(key, context, header[:SALT])
        if not hmac.compare_digest(header[SALT:], self._chunks.commitment):
            raise SealError("is sealed under another key or for another purpose")
        self._last, final = divmod(source.size - HEADER, CHUNK + TAG)
        if final < TAG:
            raise SealError("is cut off")
        self.size = self._last * CHUNK + final - TAG
        self._run(self._last, self._last)

    def read(self, offset: int, length: int) -> bytes:
        """The content from ``offset``, at most ``length`` bytes; empty behind the end.

        Raises:
            SealError: these bytes were changed.
        """
        stop = min(offset + length, self.size)
        if offset < 0 or offset >= stop:
            return b""
        first = offset // CHUNK
        joined = self._run(first, (stop - 1) // CHUNK)
        start = offset - first * CHUNK
        return joined[start : start + stop - offset]

    def pieces(self, offset: int = 0, length: int | None = None, step: int = 16 * CHUNK) -> Iterator[bytes]:
        """The content in order, ``step`` bytes at a time, which is fastest as a multiple of CHUNK."""
        stop = self.size if length is None else min(self.size, offset + length)
        while offset < stop:
            piece = self.read(offset, min(step - offset % step, stop - offset))
            offset += len(piece)
            yield piece

    def _run(self, first: int, last: int) -> bytes:
        """The content of all chunks from the first to the last."""
        width = CHUNK + TAG
        sealed = self._source.read_at(HEADER + first * width, (last - first + 1) * width)
        if len(sealed) < (last - first) * width + (TAG if last == self._last else width):
            raise SealError("is cut off")
        return self._chunks.decrypt(first, [sealed[at : at + width] for at in range(0, len(sealed), width)])


class _Chunks:
    """One content's keys, derived from key, context and salt."""

    def __init__(self, key: bytes, context: bytes, salt: bytes) -> None:
        derived = HKDFExpand(SHA512(), KEY_SIZE + 12 + 32, _INFO + salt + context).derive(key)
        self._cipher = AESGCM(derived[:KEY_SIZE])
        self._nonce = int.from_bytes(derived[KEY_SIZE : KEY_SIZE + 12], "big")
        self.commitment = derived[KEY_SIZE + 12 :]

    def encrypt(self, number: int, content: bytes | memoryview) -> bytes:
        return self._cipher.encrypt(self._nonce_of(number), bytes(content), None)  # old ones take bytes alone

    def decrypt(self, first: int, sealed: Sequence[bytes]) -> bytes:
        decrypt, nonce_of = self._cipher.decrypt, self._nonce_of
        try:
            return b"".join([decrypt(nonce_of(first + at), each, None) for at, each in enumerate(sealed)])
        except InvalidTag:
            raise SealError("was changed or cut off") from None

    def _nonce_of(self, number: int) -> bytes:
        if number >= _CHUNK_LIMIT:
            raise SealError("is longer than 4 PiB")
        return (self._nonce ^ number).to_bytes(12, "big")
