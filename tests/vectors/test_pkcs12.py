"""PKCS#12 files of the package cryptography_vectors: what cryptography reads of them we read too."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import cryptography_vectors
import pytest
from asn1crypto import algos, core
from asn1crypto import pkcs12 as asn1
from cryptography.hazmat.primitives import serialization

from nta_milter.errors import KeyStoreError
from nta_milter.smime.compatibility import load_pkcs12
from nta_milter.smime.pkcs12 import WrongPassword, read_pkcs12

FOLDER = Path(cryptography_vectors.__file__).parent / "pkcs12"
FILES = sorted(FOLDER.glob("*.p12"))
PASSWORD = b"cryptography"


def password_of(file: Path) -> bytes:
    if file.stem.endswith("no-pwd") or file.stem in ("no-password", "java-truststore"):
        return b""
    return b"password" if file.stem.endswith("pwd") else PASSWORD


def read_by_cryptography(data: bytes, password: bytes) -> tuple[list[bytes], set[bytes]]:
    key, certificate, more = load_pkcs12(data, password)
    der = serialization.Encoding.DER
    plain = (der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    found = [certificate, *more] if certificate else more
    return [key.private_bytes(*plain)] if key else [], {each.public_bytes(der) for each in found}


def test_the_folder_is_the_one_that_is_meant():
    assert len(FILES) >= 30


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_holds_what_cryptography_reads(file):
    data = file.read_bytes()
    password = password_of(file)
    expected = read_by_cryptography(data, password)
    contents = read_pkcs12(data, password)
    keys = [serialization.load_der_private_key(key, None) for key in contents.keys]
    plain = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert [key.private_bytes(*plain) for key in keys] == expected[0]
    assert {certificate.der for certificate in contents.certificates} == expected[1]
    with pytest.raises(WrongPassword):
        read_pkcs12(data, b"not the password")


def pbmac1(file: Path, password: bytes, *, length: int | None = 32, digest: str = "sha256") -> bytes:
    """The file with its integrity by PBMAC1 (RFC 9579), computed with Python's hashlib alone."""
    pfx = asn1.Pfx.load(file.read_bytes())
    safe = bytes(pfx["auth_safe"]["content"])
    derivation = {"salt": algos.Pbkdf2Salt("specified", b"saltsalt"), "iteration_count": 2048}
    derivation["prf"] = {"algorithm": "sha512"}
    if length is not None:
        derivation["key_length"] = length
    parameters = algos.Pbmac1Params(
        {
            "key_derivation_func": {"algorithm": "pbkdf2", "parameters": algos.Pbkdf2Params(derivation)},
            "message_auth_scheme": {"algorithm": digest},
        }
    )
    key = hashlib.pbkdf2_hmac("sha512", password, b"saltsalt", 2048, length or 32)
    algorithm = algos.DigestAlgorithm({"algorithm": "1.2.840.113549.1.5.14"})
    algorithm["parameters"] = core.Any(parameters)
    pfx["mac_data"] = {
        "mac": {"digest_algorithm": algorithm, "digest": hmac.digest(key, safe, digest)},
        "mac_salt": b"unused",
        "iterations": 1,
    }
    return pfx.dump(force=True)


def test_integrity_by_pbmac1():
    file = FOLDER / "cert-key-aes256cbc.p12"
    assert read_pkcs12(pbmac1(file, PASSWORD), PASSWORD) == read_pkcs12(file.read_bytes(), PASSWORD)
    assert len(read_pkcs12(pbmac1(file, PASSWORD, digest="sha512", length=64), PASSWORD).keys) == 1
    with pytest.raises(WrongPassword):
        read_pkcs12(pbmac1(file, b"another"), PASSWORD)
    for length in (None, 8):
        with pytest.raises(KeyStoreError, match="PBMAC1 without a known HMAC and key length"):
            read_pkcs12(pbmac1(file, PASSWORD, length=length), PASSWORD)
