"""NIST's vectors for the key derivation of ANSI X9.63, and RFC 9709's for bound keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest

from nta_milter.smime import algorithm
from nta_milter.smime.encrypt import bound_key
from nta_milter.smime.key_agreement import x963

FILE = Path(cryptography_vectors.__file__).parent / "KDF" / "ansx963_2001.txt"
DIGESTS = {
    "SHA-1": algorithm.SHA1,
    "SHA-224": algorithm.SHA224,
    "SHA-256": algorithm.SHA256,
    "SHA-384": algorithm.SHA384,
    "SHA-512": algorithm.SHA512,
}


def vectors(name: str) -> Iterator[tuple[bytes, bytes, bytes]]:
    section, values = "", {}
    for line in FILE.read_text().splitlines():
        text = line.strip()
        if text.startswith("[SHA"):
            section = text.strip("[]")
        key, _, value = (part.strip() for part in text.partition("="))
        values[key] = value
        if key == "key_data" and section == name:
            yield tuple(bytes.fromhex(values[key]) for key in ("Z", "SharedInfo", "key_data"))


@pytest.mark.parametrize("name", DIGESTS)
def test_x963_is_nist_s(name: str) -> None:
    count = 0
    for secret, info, key in vectors(name):
        assert x963(DIGESTS[name], secret, info, len(key)) == key
        count += 1
    assert count == 20


@pytest.mark.parametrize(
    ("info", "derived"),
    [
        ("301b0609608648016503040106300e040c5c79058ba2f43447639d29e2", "2124ffb29fac4e0fbbc7d5d87492bff3"),
        (
            "301d06096086480165030401020410651f722ffd512c52fe072e507d72b377",
            "9cd102c52f1e19ece8729b35bfeceb50",
        ),
    ],
    ids=["gcm", "cbc"],
)
def test_bound_keys_are_those_of_rfc_9709_appendix_b(info: str, derived: str) -> None:
    key = bytes.fromhex("c702e7d0a9e064b09ba55245fb733cf3")
    assert bound_key(key, bytes.fromhex(info)).hex() == derived
