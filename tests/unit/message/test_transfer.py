import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.transfer import decode, decode_base64, decoded_size


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"", b""),
        (b"QUJD", b"ABC"),
        (b"QUJ", b"AB"),
        (b"Q", b""),
        (b"Q U\r\nJ!D", b"ABC"),
        (b"QQ==QUJD", b"AABC"),
        (b"QUI=\r\nQUI=\r\n", b"ABAB"),
        (b"====", b""),
        (b"QUJD\xff\x00=", b"ABC"),
    ],
)
def test_base64_is_decoded_as_far_as_it_goes(raw: bytes, data: bytes) -> None:
    assert decode_base64(raw) == data
    assert decode_base64(memoryview(raw)) == data


def test_encodings() -> None:
    assert decode(b"a=3Db=\r\nc", "quoted-printable") == b"a=bc"
    assert decode(b"a=3D", "8bit") == b"a=3D"
    assert decode(b"x", "x-uuencode") is None


@given(st.binary())
def test_base64_never_fails(raw: bytes) -> None:
    assert len(decode_base64(raw)) <= len(raw) * 3 // 4


@given(st.binary(max_size=500))
def test_what_was_encoded_comes_back_and_its_size_is_known(data: bytes) -> None:
    encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert decode_base64(encoded) == data
    assert decoded_size(encoded, "base64") == len(data)
    quoted = quopri.encodestring(data).replace(b"\n", b"\r\n")
    assert len(data) <= decoded_size(quoted, "quoted-printable") + data.count(b"\n") * 2
    assert decoded_size(data, "binary") == len(data)


def test_the_slow_decoder_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nta_milter.message.transfer._strict_base64", binascii.a2b_base64)
    for raw in (b"QUJD\r\nQUI=\r\n", b"QQ==QUJD", b"QUJ"):
        assert decode_base64(raw) == {b"QUJD\r\nQUI=\r\n": b"ABCAB", b"QQ==QUJD": b"AABC", b"QUJ": b"AB"}[raw]
