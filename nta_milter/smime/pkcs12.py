"""PKCS#12 files (RFC 7292) and encrypted private keys (RFC 5958, RFC 8018), with every key that is in them.

cryptography's own reader returns one key and refuses X25519, so the structure is read here; it helps with
the ciphers that only old files have (RC2, RC4).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asn1crypto import algos, keys
from asn1crypto import pkcs12 as asn1
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from nta_milter.errors import KeyStoreError
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.compatibility import PARSE_ERRORS, load_pkcs12, triple_des

SIZE_LIMIT = 1_048_576
"""Largest file that is read, in bytes."""

PBKDF2_LIMIT, PKCS12_KDF_LIMIT = 10_000_000, 1_000_000
"""Most iterations that we work through: seconds, not hours."""

BAG_LIMIT, NESTING_LIMIT = 1000, 4

_ENCRYPTION_KEY, _IV, _MAC_KEY = 1, 2, 3
_DIGESTS = {"sha1": 64, "sha224": 64, "sha256": 64, "sha384": 128, "sha512": 128}
_TRIPLE_DES_LENGTHS = {"pkcs12_sha1_tripledes_3key": 24, "pkcs12_sha1_tripledes_2key": 16}

_WRITE_ANEW = "write it anew: openssl pkcs12 -legacy -in OLD -nodes | openssl pkcs12 -export -out NEW"


class WrongPassword(KeyStoreError):
    """The password does not fit the file."""


class _OldCipher(Exception):
    """A cipher that only cryptography's reader knows."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds: private keys in PKCS#8 DER, certificates, both in the file's order."""

    keys: tuple[bytes, ...]
    certificates: tuple[Certificate, ...]

    def __repr__(self) -> str:
        return f"Contents({len(self.keys)} keys, {len(self.certificates)} certificates)"


def read_pkcs12(data: bytes, password: bytes) -> Contents:
    """Read a whole PKCS#12 file; ``password`` is UTF-8.

    Raises WrongPassword, KeyStoreError for a file that is damaged or uses what we do not know, and
    CertificateError for a bad certificate in it.
    """
    if len(data) > SIZE_LIMIT:
        raise KeyStoreError(f"the file has {len(data)} bytes; at most {SIZE_LIMIT} are read")
    try:
        return _read(data, password)
    except PARSE_ERRORS as error:
        raise KeyStoreError(f"not a PKCS#12 file that we can read ({type(error).__name__})") from error


def decrypt_private_key(data: bytes, password: bytes) -> bytes:
    """Decrypt an EncryptedPrivateKeyInfo to PKCS#8 DER; raises WrongPassword or KeyStoreError."""
    try:
        return _decrypt_key(keys.EncryptedPrivateKeyInfo.load(data, strict=True), password)
    except _OldCipher:
        raise KeyStoreError("the private key is encrypted with a cipher that we do not read") from None
    except PARSE_ERRORS as error:
        raise KeyStoreError(
            f"not an encrypted private key that we can read ({type(error).__name__})"
        ) from error


def _read(data: bytes, password: bytes) -> Contents:
    pfx = asn1.Pfx.load(data, strict=True)
    if pfx["auth_safe"]["content_type"].native != "data":
        raise KeyStoreError("a PKCS#12 file in public-key integrity mode is not supported")
    safe = bytes(pfx["auth_safe"]["content"])
    spelling = _check_mac(pfx["mac_data"], safe, password)
    found_keys: list[bytes] = []
    certificates: list[Certificate] = []
    old_keys = old_certificates = 0
    for index, info in enumerate(asn1.AuthenticatedSafe.load(safe)):
        if index >= BAG_LIMIT:
            raise KeyStoreError("the file has too many parts")
        try:
            bags = list(_bags(_safe_contents(info, password, spelling)))
        except _OldCipher:
            old_certificates += 1
            continue
        for bag in bags:
            kind, value = bag["bag_id"].native, bag["bag_value"]
            if kind == "key_bag":
                found_keys.append(value.untag().dump())
            elif kind == "pkcs8_shrouded_key_bag":
                try:
                    found_keys.append(_decrypt_key(value, password, spelling))
                except _OldCipher:
                    old_keys += 1
            elif kind == "cert_bag" and value["cert_id"].native == "x509":
                certificates.append(Certificate.from_der(bytes(value["cert_value"])))
    if old_keys or old_certificates:
        more = _read_old(data, password)
        certificates += more.certificates
        # Keys in an unreadable part are counted with its certificates: cryptography gives one at most.
        if old_keys or not found_keys:
            found_keys += more.keys
        if old_keys > 1:
            raise KeyStoreError(f"several private keys are encrypted with RC2 or RC4; {_WRITE_ANEW}")
    return Contents(tuple(dict.fromkeys(found_keys)), tuple(dict.fromkeys(certificates)))


def _bags(contents: bytes, depth: int = 0) -> Iterator[Any]:
    if depth > NESTING_LIMIT:
        raise KeyStoreError("the file nests its contents too deeply")
    for index, bag in enumerate(asn1.SafeContents.load(contents)):
        if index >= BAG_LIMIT:
            raise KeyStoreError("the file has too many parts")
        if bag["bag_id"].native == "safe_contents":
            yield from _bags(bag["bag_value"].untag().dump(), depth + 1)
        else:
            yield bag


def _safe_contents(info: Any, password: bytes, spelling: bytes) -> bytes:
    kind = info["content_type"].native
    if kind == "data":
        return bytes(info["content"])
    if kind != "encrypted_data":
        raise KeyStoreError(f"a PKCS#12 file with {kind} is not supported")
    encrypted = info["content"]["encrypted_content_info"]
    algorithm = encrypted["content_encryption_algorithm"]
    return _decrypt(algorithm, bytes(encrypted["encrypted_content"]), password, spelling)


def _decrypt_key(info: Any, password: bytes, spelling: bytes | None = None) -> bytes:
    clear = _decrypt(
        info["encryption_algorithm"],
        bytes(info["encrypted_data"]),
        password,
        _bmp(password) if spelling is None else spelling,
    )
    try:
        # Padding can come out right by chance (1 in 256): what is inside must be a key.
        keys.PrivateKeyInfo.load(clear, strict=True)["private_key_algorithm"]["algorithm"].native  # noqa: B018
    except PARSE_ERRORS as error:
        raise WrongPassword("the password does not open the private key") from error
    return clear


def _decrypt(algorithm: Any, data: bytes, password: bytes, spelling: bytes) -> bytes:
    """Password-based decryption: PBES2 (RFC 8018) and the Triple-DES schemes of RFC 7292 appendix C."""
    name = algorithm["algorithm"].native
    cipher: CipherAlgorithm
    if name == "pbes2":
        cipher, iv = _pbes2(algorithm["parameters"], password)
    elif name in _TRIPLE_DES_LENGTHS:
        salt = bytes(algorithm["parameters"]["salt"])
        iterations = algorithm["parameters"]["iterations"].native
        key = pkcs12_kdf("sha1", spelling, salt, iterations, _ENCRYPTION_KEY, _TRIPLE_DES_LENGTHS[name])
        cipher = triple_des((key + key)[:24])
        iv = pkcs12_kdf("sha1", spelling, salt, iterations, _IV, 8)
    elif name.startswith("pkcs12_sha1_"):
        raise _OldCipher
    else:
        raise KeyStoreError(f"encrypted with {name}, which we do not read")
    decryptor = Cipher(cipher, CBC(iv)).decryptor()
    unpadder = padding.PKCS7(len(iv) * 8).unpadder()
    try:
        padded = decryptor.update(data) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise WrongPassword("the password does not open the file") from error


def _pbes2(parameters: Any, password: bytes) -> tuple[CipherAlgorithm, bytes]:
    scheme = parameters["encryption_scheme"]
    name = scheme["algorithm"].native
    if name not in {"aes128_cbc", "aes192_cbc", "aes256_cbc", "tripledes_3key"}:
        raise KeyStoreError(f"encrypted with {name}, which we do not read")
    length = 24 if name == "tripledes_3key" else int(name[3:6]) // 8
    key = _derive(parameters["key_derivation_func"], password, length)
    return (triple_des(key) if name == "tripledes_3key" else AES(key)), bytes(scheme["parameters"])


def _derive(function: Any, password: bytes, length: int) -> bytes:
    """PBKDF2 with any HMAC (RFC 8018 section 5.2), scrypt (RFC 7914 section 7)."""
    name, parameters = function["algorithm"].native, function["parameters"]
    if name == "pbkdf2":
        iterations = parameters["iteration_count"].native
        digest = parameters["prf"]["algorithm"].native
        if not 0 < iterations <= PBKDF2_LIMIT or digest not in _DIGESTS:
            raise KeyStoreError(f"PBKDF2 with {iterations} iterations of {digest} is not accepted")
        return hashlib.pbkdf2_hmac(digest, password, bytes(parameters["salt"].chosen), iterations, length)
    raise KeyStoreError(f"the key derivation {name} is not supported")


def _check_mac(mac_data: Any, safe: bytes, password: bytes) -> bytes:
    """Return the spelling of the password that the file uses; raises WrongPassword."""
    if mac_data.native is None:
        return _bmp(password)
    algorithm = mac_data["mac"]["digest_algorithm"]["algorithm"]
    expected = bytes(mac_data["mac"]["digest"])
    # An empty password is spelled as an empty string by some writers and as two zero octets by others.
    for spelling in [_bmp(password)] if password else [_bmp(b""), b""]:
        if algorithm.dotted == "1.2.840.113549.1.5.14":
            actual = _pbmac1(mac_data["mac"]["digest_algorithm"], safe, password)
        elif algorithm.native in _DIGESTS:
            digest = algorithm.native
            key = pkcs12_kdf(
                digest,
                spelling,
                bytes(mac_data["mac_salt"]),
                mac_data["iterations"].native,
                _MAC_KEY,
                hashlib.new(digest).digest_size,
            )
            actual = hmac.digest(key, safe, digest)
        else:
            raise KeyStoreError(f"integrity by {algorithm.native} is not supported")
        if hmac.compare_digest(actual, expected):
            return spelling
    raise WrongPassword("the password does not fit the file")


def _pbmac1(algorithm: Any, safe: bytes, password: bytes) -> bytes:
    """RFC 9579: PBKDF2 with an explicit key length, then HMAC."""
    parameters = algos.Pbmac1Params.load(algorithm["parameters"].dump(), strict=True)
    digest = parameters["message_auth_scheme"]["algorithm"].native
    length = parameters["key_derivation_func"]["parameters"]["key_length"].native
    if digest not in _DIGESTS or not isinstance(length, int) or not 16 <= length <= 128:
        raise KeyStoreError("PBMAC1 without a known HMAC and key length is not accepted")
    return hmac.digest(_derive(parameters["key_derivation_func"], password, length), safe, digest)


def pkcs12_kdf(
    digest: str, password: bytes, salt: bytes, iterations: int, purpose: int, length: int
) -> bytes:
    """Derive ``length`` octets (RFC 7292 appendix B.2); ``password`` is a BMPString with its end mark."""
    if not 0 < iterations <= PKCS12_KDF_LIMIT:
        raise KeyStoreError(f"{iterations} iterations of the PKCS#12 key derivation are not accepted")
    block = _DIGESTS[digest]

    def fill(text: bytes) -> bytes:
        size = -(-len(text) // block) * block
        return (text * (size // len(text) + 1))[:size] if text else b""

    diversifier = bytes([purpose]) * block
    blocks = fill(salt) + fill(password)
    derived = b""
    while len(derived) < length:
        part = hashlib.new(digest, diversifier + blocks).digest()
        for _ in range(iterations - 1):
            part = hashlib.new(digest, part).digest()
        derived += part
        addend = int.from_bytes(fill(part)[:block], "big") + 1
        blocks = b"".join(
            ((int.from_bytes(blocks[at : at + block], "big") + addend) % (1 << 8 * block)).to_bytes(
                block, "big"
            )
            for at in range(0, len(blocks), block)
        )
    return derived[:length]


def _bmp(password: bytes) -> bytes:
    return password.decode("utf-8").encode("utf-16-be") + b"\0\0"


def _read_old(data: bytes, password: bytes) -> Contents:
    """What cryptography's reader (OpenSSL with its legacy provider) makes of a file with RC2 or RC4."""
    try:
        key, certificate, more = load_pkcs12(data, password)
    except PARSE_ERRORS as error:
        raise KeyStoreError(f"encrypted with RC2 or RC4 and not readable here; {_WRITE_ANEW}") from error
    found = [certificate, *more] if certificate else more
    der = serialization.Encoding.DER
    plain = serialization.NoEncryption()
    return Contents(
        (key.private_bytes(der, serialization.PrivateFormat.PKCS8, plain),) if key else (),
        tuple(Certificate.from_der(item.public_bytes(der)) for item in found),
    )
