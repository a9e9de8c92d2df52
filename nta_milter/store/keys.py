"""The keys of stored messages, and who can come by them.

Each message has a random key. It is wrapped under a secret that stands in the recipient's link alone and
then sealed to the portal's public key: the portal opens it with the link, neither opens it alone. Once more
it is sealed to the worker's public key. Whoever stores a message needs the public halves only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from nta_milter.errors import KeyStoreError, SealError
from nta_milter.store import hpke

MESSAGE_KEY = 32
"""Bytes of a message key."""
_END = b"-----END PRIVATE KEY-----"


def new_message_key() -> bytes:
    """A random key for one message and all its blobs."""
    return os.urandom(MESSAGE_KEY)


def new_id() -> str:
    """128 random bits as 32 hex digits: the form of every id."""
    return os.urandom(16).hex()


@dataclass(frozen=True, slots=True)
class Token:
    """32 random bytes that only their holder has: in a link, or in a session cookie.

    The database knows ``lookup`` alone, from which neither the token nor its wrapping key follows.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Token:
        """A new random one."""
        return cls(os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """From its text; None for what cannot be one."""
        try:
            secret = base64.b64decode(text.encode("ascii") + b"=", altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            return None
        token = cls(secret)
        return token if len(secret) == 32 and token.text == text else None

    @property
    def text(self) -> str:
        """43 letters that are safe in a URL and a cookie (RFC 4648 section 5)."""
        return base64.urlsafe_b64encode(self.secret).decode("ascii").removesuffix("=")

    @property
    def lookup(self) -> str:
        """What the database finds it by: the SHA-256 of a value derived from it, in hex."""
        return hashlib.sha256(self._derived(b"id")).hexdigest()

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """A message key, encrypted so that this token and this context open it."""
        nonce = os.urandom(12)
        return nonce + AESGCM(self._derived(b"wrap")).encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The message key; raises SealError when another token or context wrapped it."""
        try:
            return AESGCM(self._derived(b"wrap")).decrypt(wrapped[:12], wrapped[12:], context)
        except (InvalidTag, ValueError):
            raise SealError("the key is not wrapped for this link or session") from None

    @property
    def challenge(self) -> str:
        """The id of the one-time code that belongs to it (32 hex digits)."""
        return self._derived(b"challenge")[:16].hex()

    def answer(self, code: str) -> str:
        """What the database knows of a one-time code: a hex HMAC, whose key nobody has without this token."""
        return hmac.new(self._derived(b"answer"), code.encode(), hashlib.sha256).hexdigest()

    def _derived(self, purpose: bytes) -> bytes:
        return HKDFExpand(SHA256(), 32, b"nta-milter token " + purpose).derive(self.secret)


def key_id(public: X25519PublicKey) -> str:
    """The first 8 bytes of the SHA-256 of a public key, in hex."""
    return hashlib.sha256(hpke.raw(public)).hexdigest()[:16]


@dataclass(frozen=True)
class PublicKeys:
    """The public halves that messages are sealed to."""

    portal: X25519PublicKey
    worker: X25519PublicKey

    @classmethod
    def load(cls, folder: Path) -> PublicKeys:
        """``portal.pem`` and ``worker.pem`` of the folder; raises KeyStoreError."""
        return cls(_public(folder / "portal.pem"), _public(folder / "worker.pem"))

    def for_link(self, token: Token, message_key: bytes, message_id: str) -> bytes:
        """The message key for the holder of a link who comes to the portal with it."""
        return _sealed(token.wrap(message_key, _context(message_id)), self.portal, b"portal", message_id)

    def for_worker(self, message_key: bytes, message_id: str, recipients: Iterable[str]) -> bytes:
        """The message key for the worker, as long as the message is for these recipients and no others."""
        return _sealed(message_key, self.worker, _worker(recipients), message_id)


class PrivateKeys:
    """The private halves of one service by key id: the first is in use, others open what is older."""

    def __init__(self, keys: Iterable[X25519PrivateKey]) -> None:
        self._keys = {key_id(key.public_key()): key for key in keys}

    @classmethod
    def parse(cls, pem: bytes, where: str) -> PrivateKeys:
        """One or more PEM blocks (PKCS#8, X25519), the newest first; raises KeyStoreError."""
        keys = []
        for block in pem.split(_END)[:-1]:
            try:
                key = load_pem_private_key(block.strip() + b"\n" + _END + b"\n", None)
            except (ValueError, TypeError) as error:
                raise KeyStoreError("is not a private key in PEM form", where=where) from error
            if not isinstance(key, X25519PrivateKey):
                raise KeyStoreError("is not an X25519 key", where=where)
            keys.append(key)
        if not keys:
            raise KeyStoreError("holds no private key in PEM form", where=where)
        return cls(keys)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids, the one in use first."""
        return tuple(self._keys)

    def open_link(self, token: Token, sealed: bytes, message_id: str) -> bytes:
        """The portal: the message key from a link's token; raises SealError."""
        return token.unwrap(self._unsealed(sealed, b"portal", message_id), _context(message_id))

    def open_worker(self, sealed: bytes, message_id: str, recipients: Iterable[str]) -> bytes:
        """The worker: the message key; raises SealError, also when the recipients are not those of before.

        Whoever can write the database cannot have the worker send a message to somebody else.
        """
        return self._unsealed(sealed, _worker(recipients), message_id)

    def _unsealed(self, sealed: bytes, purpose: bytes, message_id: str) -> bytes:
        key = self._keys.get(sealed[:8].hex())
        if key is None:
            raise SealError(f"is sealed to the key {sealed[:8].hex()}, which we do not have")
        return hpke.unseal(sealed[8:], key, _info(purpose, message_id))


def _sealed(content: bytes, to: X25519PublicKey, purpose: bytes, message_id: str) -> bytes:
    return bytes.fromhex(key_id(to)) + hpke.seal(content, to, _info(purpose, message_id))


def _worker(recipients: Iterable[str]) -> bytes:
    """The worker's purpose, with a digest of the distinct recipients: NUL occurs in no address."""
    listed = "\0".join(sorted(set(recipients))).encode("utf-8", "surrogateescape")
    return b"worker " + hashlib.sha256(listed).hexdigest().encode("ascii")


def _context(message_id: str) -> bytes:
    return b"nta-milter message " + message_id.encode("ascii")


def _info(purpose: bytes, message_id: str) -> bytes:
    return b"nta-milter " + purpose + b" " + message_id.encode("ascii")


def blob_context(message_id: str, blob_id: str) -> bytes:
    """The context that a blob is sealed with, so that no blob stands for another."""
    return f"nta-milter blob {message_id} {blob_id}".encode("ascii")


def _public(path: Path) -> X25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise KeyStoreError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise KeyStoreError("is not a public key in PEM form", where=str(path)) from error
    if not isinstance(key, X25519PublicKey):
        raise KeyStoreError("is not an X25519 key", where=str(path))
    return key


def new_key_pair() -> tuple[bytes, bytes]:
    """A new private key (PKCS#8) and its public half, both in PEM form."""
    key = X25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, public
