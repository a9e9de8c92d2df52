"""Points that are none: whoever agrees a key with one gives his own away, bit by bit."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nta_milter.smime import algorithm, key_agreement, tlv
from nta_milter.smime.algorithm import CURVES, encode_algorithm
from nta_milter.smime.limits import Work

KEY = bytes(range(32))
SCHEME = key_agreement.scheme(
    algorithm.algorithm_identifier(
        tlv.parse(
            encode_algorithm(
                tlv.identifier("1.3.132.1.11.1"),
                encode_algorithm(tlv.identifier("2.16.840.1.101.3.4.1.45")),
            ),
            Work(),
        ),
        "a test",
    )
)


def wrapped(secret):
    return aes_key_wrap(key_agreement.derive(SCHEME, secret, None), KEY)


def point(key):
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.mark.parametrize("name", CURVES)
def test_only_points_on_the_curve_agree(name):
    curve = CURVES[name]()
    ours, theirs = ec.generate_private_key(curve), ec.generate_private_key(curve)
    secret = ours.exchange(ec.ECDH(), theirs.public_key())
    good = point(theirs)
    assert key_agreement.unwrap(ours, SCHEME, good, None, wrapped(secret)) == KEY
    compressed = theirs.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    assert key_agreement.unwrap(ours, SCHEME, compressed, None, wrapped(secret)) == KEY
    size = (curve.key_size + 7) // 8
    other = ec.generate_private_key(ec.SECP256R1() if name != "secp256r1" else ec.BrainpoolP256R1())
    for bad in (
        b"",
        b"\x00",
        b"\x04",
        good[:-1],
        good + b"\x00",
        good[:-1] + bytes((good[-1] ^ 1,)),
        good[:1] + bytes(2 * size),
        good[:1] + b"\xff" * (2 * size),
        bytes((good[0] ^ 1,)) + good[1:],
        b"\x02" + b"\xff" * size,
        point(other),
    ):
        # whatever an implementation would make of the point, none of these secrets may open
        for guess in (secret, bytes(size), b"\xff" * size):
            assert key_agreement.unwrap(ours, SCHEME, bad, None, wrapped(guess)) is None
