import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import SealError
from nta_milter.store.sealed import CHUNK, HEADER, TAG, SealedReader, seal, sealed_size

KEY = bytes(range(32))
CONTENT = os.urandom(3 * CHUNK + 100)
SIZES = st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 100])


class Memory:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


def reader(sealed: bytes, key: bytes = KEY, context: bytes = b"x") -> SealedReader:
    return SealedReader(Memory(sealed), key, context)


def cut(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(content)) for place in places), len(content)]
    return [content[start:stop] for start, stop in pairwise(edges)]


@given(SIZES, st.lists(st.integers(0, len(CONTENT)), max_size=5))
def test_what_is_sealed_in_any_pieces_opens_and_has_the_size_foretold(size, places):
    sealed = b"".join(seal(cut(CONTENT[:size], places), KEY, b"x"))
    assert len(sealed) == sealed_size(size)
    found = reader(sealed)
    assert found.size == size
    assert b"".join(found.pieces()) == CONTENT[:size]


@given(SIZES, st.integers(-2, len(CONTENT) + 2), st.integers(0, len(CONTENT)))
def test_any_place_reads_as_the_whole_does(size, offset, length):
    found = reader(b"".join(seal([CONTENT[:size]], KEY, b"x")))
    wanted = CONTENT[:size][offset : offset + length] if offset >= 0 else b""
    assert found.read(offset, length) == wanted
    assert (
        b"".join(found.pieces(max(offset, 0), length, step=5000)) == CONTENT[:size][max(offset, 0) :][:length]
    )


@given(SIZES, st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_seen(size, place, change):
    sealed = bytearray(b"".join(seal([CONTENT[:size]], KEY, b"x")))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(SealError):
        b"".join(reader(bytes(sealed)).pieces())


@given(SIZES, st.integers(1))
def test_content_that_is_cut_off_is_seen_before_a_byte_is_read(size, missing):
    sealed = b"".join(seal([CONTENT[:size]], KEY, b"x"))
    with pytest.raises(SealError):
        reader(sealed[: -(missing % len(sealed) or 1)])


def test_chunks_that_change_places_are_seen():
    sealed = b"".join(seal([CONTENT], KEY, b"x"))
    width = CHUNK + TAG
    first, second = sealed[HEADER : HEADER + width], sealed[HEADER + width : HEADER + 2 * width]
    swapped = sealed[:HEADER] + second + first + sealed[HEADER + 2 * width :]
    with pytest.raises(SealError):
        reader(swapped).read(0, 1)
    assert reader(swapped).read(2 * CHUNK, 10) == CONTENT[2 * CHUNK :][:10]


@pytest.mark.parametrize(("key", "context"), [(bytes(32), b"x"), (KEY, b"y"), (KEY[:16], b"x"), (b"", b"x")])
def test_another_key_or_context_opens_nothing(key, context):
    with pytest.raises(SealError):
        reader(b"".join(seal([b"content"], KEY, b"x")), key, context)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(SealError):
        reader(data)


def test_two_seals_of_one_content_have_nothing_in_common():
    first, second = (b"".join(seal([b"content"], KEY, b"x")) for _ in range(2))
    assert first[:24] != second[:24]
    assert first[HEADER:] != second[HEADER:]
