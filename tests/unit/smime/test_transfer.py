import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import MalformedCms
from nta_milter.message import lines
from nta_milter.smime import transfer

ENCODERS = (
    transfer.encode_lines,
    transfer._encode_few_plain,
    *((transfer._encode_few_fast,) if transfer.FAST else ()),
)


@pytest.mark.parametrize("encode", ENCODERS)
@given(st.binary(max_size=500))
def test_lines_are_those_of_the_standard_library_with_crlf(encode, data):
    encoded = encode(data)
    assert encoded == base64.encodebytes(data).replace(b"\n", b"\r\n")
    assert len(encoded) == transfer.encoded_length(len(data))
    assert transfer.decode(encoded) == data


@given(st.lists(st.binary(max_size=90_000), max_size=5), st.integers(0, 50))
def test_a_writer_gives_the_same_in_whatever_pieces(pieces, extra):
    whole = b"".join(pieces) + b"z" * extra
    made = bytearray()
    writer = transfer.Writer(len(whole), made.extend)
    for piece in pieces:
        writer.write(piece)
    writer.buffer[writer.filled : writer.filled + extra] = b"z" * extra
    writer.advance(extra)
    writer.finish()
    assert made == transfer.encode_lines(whole)


@given(st.binary(max_size=300), st.text("\r\n \t-!\x00~%", max_size=3), st.integers(0, 300))
def test_characters_outside_the_alphabet_are_ignored(data, junk, position):
    encoded = base64.b64encode(data)
    position = min(position, len(encoded.rstrip(b"=")))
    mixed = encoded[:position] + junk.encode("latin-1") + encoded[position:]
    assert transfer.decode(mixed) == data


@given(st.binary(max_size=100))
def test_any_octets_decode_as_the_standard_library_does_or_are_refused(data):
    try:
        expected = binascii.a2b_base64(data)
    except binascii.Error:
        expected = None
    try:
        found = transfer.decode(data)
    except MalformedCms:
        found = None
    assert found is None or found == expected


@pytest.mark.parametrize(
    "text", [b"QUJD=QUJD", b"QUI=\r\n-- \r\nfooter", b"QUI=" + b" " * 2000, b"Q", b"QUJDQ"]
)
def test_what_readers_would_differ_about_is_refused(text):
    with pytest.raises(MalformedCms):
        transfer.decode(text)


def test_lines_are_moved_here_and_made_one_by_one_where_they_cannot_be(monkeypatch):
    assert lines.works()
    data = bytes(range(256)) * 2_000
    moved = bytes(transfer.encode_lines(data))
    monkeypatch.setattr(lines, "borrow", lambda: None)
    assert bytes(transfer.encode_lines(data)) == moved
    monkeypatch.setattr(lines.Mover, "add_line_ends", lambda self: None)
    assert not lines.works()
