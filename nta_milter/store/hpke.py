"""Sealing to a public key: HPKE, base mode (RFC 9180).

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; one message per encapsulation. The sealed form is the
encapsulated key (32 bytes), then the ciphertext. Debian 12's cryptography has no HPKE of its own.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nta_milter.errors import SealError

OVERHEAD = 32 + 16
"""Bytes that the sealed form is longer than the content."""

_KEM_SUITE = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0002))


def raw(key: X25519PublicKey) -> bytes:
    """The 32 bytes of a public key (RFC 7748)."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def seal(
    content: bytes, recipient: X25519PublicKey, info: bytes, ephemeral: X25519PrivateKey | None = None
) -> bytes:
    """Seal for the holder of the private half; ``info`` must be given again to open.

    ``ephemeral`` is given by tests alone.
    """
    ephemeral = ephemeral or X25519PrivateKey.generate()
    encapsulated = raw(ephemeral.public_key())
    key, nonce = _schedule(_shared(ephemeral.exchange(recipient), encapsulated, raw(recipient)), info)
    return encapsulated + AESGCM(key).encrypt(nonce, content, b"")


def unseal(sealed: bytes, recipient: X25519PrivateKey, info: bytes) -> bytes:
    """Open what was sealed to us.

    Raises:
        SealError: it was sealed to another key or with another info, or was changed.
    """
    encapsulated = sealed[:32]
    try:
        secret = recipient.exchange(X25519PublicKey.from_public_bytes(encapsulated))
        key, nonce = _schedule(_shared(secret, encapsulated, raw(recipient.public_key())), info)
        return AESGCM(key).decrypt(nonce, sealed[32:], b"")
    except (InvalidTag, ValueError):  # ValueError: a key of small order, or too few bytes
        raise SealError("is not sealed to this key") from None


def _shared(secret: bytes, encapsulated: bytes, recipient: bytes) -> bytes:
    """ExtractAndExpand of section 4.1."""
    early = _extract(_KEM_SUITE, b"", b"eae_prk", secret)
    return _expand(_KEM_SUITE, early, b"shared_secret", encapsulated + recipient, 32)


def _schedule(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and nonce of the first message (section 5.1, mode_base)."""
    context = b"\0" + _extract(_SUITE, b"", b"psk_id_hash", b"") + _extract(_SUITE, b"", b"info_hash", info)
    secret = _extract(_SUITE, shared, b"secret", b"")
    return _expand(_SUITE, secret, b"key", context, 32), _expand(_SUITE, secret, b"base_nonce", context, 12)


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    code = HMAC(salt or bytes(32), SHA256())  # RFC 5869: no salt is a hash's length of zeros
    code.update(b"HPKE-v1" + suite + label + material)
    return code.finalize()


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(SHA256(), length, labelled).derive(secret)
