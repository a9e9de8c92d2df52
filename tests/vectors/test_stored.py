"""The store's cryptography against published vectors, and another implementation where there is one."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from nta_milter.errors import SealError
from nta_milter.store import hpke, sealed
from nta_milter.store.sealed import CHUNK, HEADER, SALT, SealedReader, seal

FOLDER = Path(__file__).parent
PUBLISHED: dict[str, Any] = json.loads((FOLDER / "chunked_encryption.json").read_text())
CHUNKED: list[dict[str, Any]] = PUBLISHED["vectors"]
COBBLESTONE: dict[str, Any] = PUBLISHED["cobblestone_256"]
HPKE: dict[str, Any] = json.loads((FOLDER / "hpke.json").read_text())
OTHER = importlib.util.find_spec("cryptography.cobblestone") is not None
"""Whether this cryptography (50 or newer) implements Cobblestone itself."""


class Memory:
    """Sealed bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def ciphertext(vector: dict[str, Any]) -> bytes:
    data = base64.b64decode(vector["ciphertext"] or "")
    return zlib.decompress(data) if vector.get("compressed") else data


def opened(vector: dict[str, Any]) -> bytes:
    key, context = bytes.fromhex(vector["key"]), vector["context"].encode()
    reader = SealedReader(Memory(ciphertext(vector)), key, context)
    content = b"".join(reader.pieces())
    assert len(content) == reader.size
    return content


@pytest.fixture
def _sha256(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of the vectors that were published before the instantiation had a name."""
    monkeypatch.setattr(sealed, "SHA512", SHA256)


@pytest.mark.parametrize("vector", COBBLESTONE["tests"], ids=lambda vector: f"tcId {vector['tcId']}")
def test_cobblestone_256(vector: dict[str, Any]) -> None:
    whole = zlib.decompress(bytes.fromhex(vector["ct"]))
    key = bytes.fromhex(COBBLESTONE["key"])
    content = b"".join(SealedReader(Memory(whole), key, b"").pieces())
    assert len(content) == vector["msgLength"]
    assert hashlib.sha512(content).hexdigest() == vector["msgSha512"]
    assert b"".join(seal([content], key, b"", whole[:SALT])) == whole


@pytest.mark.usefixtures("_sha256")
@pytest.mark.parametrize("vector", CHUNKED, ids=lambda vector: vector["name"])
def test_chunked_encryption(vector: dict[str, Any]) -> None:
    if vector["expect"] == "success":
        assert hashlib.sha256(opened(vector)).hexdigest() == vector["payload_sha256"]
    else:
        with pytest.raises(SealError):
            opened(vector)


@pytest.mark.usefixtures("_sha256")
@pytest.mark.parametrize(
    "vector", [v for v in CHUNKED if v["expect"] == "success"], ids=lambda vector: vector["name"]
)
@pytest.mark.parametrize("step", [1_000_000_000, CHUNK, CHUNK - 1, 5000])
def test_what_we_seal_is_the_published_ciphertext(vector: dict[str, Any], step: int) -> None:
    whole = ciphertext(vector)
    key, context = bytes.fromhex(vector["key"]), vector["context"].encode()
    content = opened(vector)
    pieces = [content[start : start + step] for start in range(0, len(content), step)]
    assert b"".join(seal(pieces, key, context, whole[:SALT])) == whole


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7])
def test_another_implementation_opens_what_we_seal_and_the_other_way_round(size: int) -> None:
    if not OTHER:
        assert len(b"".join(seal([bytes(size)], bytes(32), b""))) > HEADER  # Debian 12 has no other
        return
    from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

    key, context = bytes(range(32)), b"what it is"
    content = bytes(number % 251 for number in range(size))
    decryptor = Cobblestone256Decryptor(key, context)
    ours = b"".join(seal([content], key, context))
    assert decryptor.update(ours) + decryptor.finalize() == content
    encryptor = Cobblestone256Encryptor(key, context)
    theirs = encryptor.update(content) + encryptor.finalize()
    assert b"".join(SealedReader(Memory(theirs), key, context).pieces()) == content


def test_hpke_as_published() -> None:
    first = HPKE["encryptions"][0]
    assert first["aad"]  # ours is always empty, so that key and nonce are compared, not the ciphertext
    ephemeral = X25519PrivateKey.from_private_bytes(bytes.fromhex(HPKE["skEm"]))
    recipient = X25519PublicKey.from_public_bytes(bytes.fromhex(HPKE["pkRm"]))
    ours = hpke.seal(bytes.fromhex(first["pt"]), recipient, bytes.fromhex(HPKE["info"]), ephemeral)
    published = bytes.fromhex(HPKE["enc"]) + bytes.fromhex(first["ct"])
    # the tag covers the associated data, what stands before it does not
    assert ours[:-16] == published[:-16]
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(HPKE["skRm"]))
    assert hpke.unseal(ours, private, bytes.fromhex(HPKE["info"])) == bytes.fromhex(first["pt"])


def test_hpke_of_another_implementation() -> None:
    private = X25519PrivateKey.generate()
    ours = hpke.seal(b"content", private.public_key(), b"info")
    if importlib.util.find_spec("cryptography.hazmat.primitives.hpke") is None:
        assert hpke.unseal(ours, private, b"info") == b"content"  # Debian 12 has no other
        return
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    assert suite.decrypt(ours, private, b"info") == b"content"
    assert hpke.unseal(suite.encrypt(b"theirs", private.public_key(), b"info"), private, b"info") == b"theirs"
