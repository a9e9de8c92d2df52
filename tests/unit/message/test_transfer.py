import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.message.transfer import decode, decode_base64, decode_base64_pieces, decoded_size, size_limit


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
    for text, encoding in ((encoded, "base64"), (data, "base64"), (quoted, "quoted-printable"), (data, "")):
        assert decoded_size(text, encoding) <= size_limit(len(text), encoding)


def test_the_slow_decoder_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nta_milter.message.transfer._strict_base64", binascii.a2b_base64)
    for raw in (b"QUJD\r\nQUI=\r\n", b"QQ==QUJD", b"QUJ"):
        assert decode_base64(raw) == {b"QUJD\r\nQUI=\r\n": b"ABCAB", b"QQ==QUJD": b"AABC", b"QUJ": b"AB"}[raw]


@pytest.mark.parametrize("decoder", ["installed", "binascii"])
@given(
    lines=st.lists(st.text(alphabet="QUJDa/+ -\x00\t", max_size=12)),
    end=st.sampled_from(["", "=", "==", "=\r\n", "==\r\n\r\n", "\r\n"]),
    line_end=st.sampled_from(["\r\n", "\n", ""]),
    size=st.integers(1, 9),
)
def test_base64_in_pieces_is_base64_at_once(decoder, lines, end, line_end, size) -> None:
    raw = (line_end.join(lines) + end).encode()
    with pytest.MonkeyPatch.context() as patch:
        if decoder == "binascii":
            patch.setattr("nta_milter.message.transfer._strict_base64", binascii.a2b_base64)
        pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
        assert b"".join(decode_base64_pieces(pieces)) == decode_base64(raw)


def test_base64_without_line_ends_comes_in_pieces_too() -> None:
    data = bytes(range(256)) * 1000
    raw = base64.b64encode(data)
    pieces = list(decode_base64_pieces(raw[start : start + 999] for start in range(0, len(raw), 999)))
    assert b"".join(pieces) == data
    assert max(len(piece) for piece in pieces) < 1000


@pytest.mark.parametrize("step", [262_144, 177_840, 50_000, 177_841])
@pytest.mark.parametrize(
    "odd",
    [b"", b"QUJD\r\n", b"QU\r\nJD\r\n", b"*not of the alphabet*\r\n", b"\n"],
    ids=["usual", "short", "cut", "foreign", "line end"],
)
def test_many_usual_lines_with_an_odd_one_among_them(step, odd):
    lines = base64.encodebytes(bytes(range(256)) * 3_000).replace(b"\n", b"\r\n")
    cut = 78 * 5_000
    raw = lines[:cut] + odd + lines[cut:]
    pieces = (raw[start : start + step] for start in range(0, len(raw), step))
    assert b"".join(decode_base64_pieces(pieces)) == decode_base64(raw)
