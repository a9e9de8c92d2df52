"""Valid inputs with something done to them: what hostile bytes mostly are."""

from collections.abc import Callable, Sequence

from hypothesis import settings
from hypothesis import strategies as st

NASTY = (
    b"",
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"--",
    b"=",
    b'"',
    b"(" * 40,
    b"\xff\xfe",
    b"\x30\x80",
    b"\x30\x84\xff\xff\xff\xff",
    b"\x04\x82\xff\xff",
    b"A" * 2000,
    b"=?utf-8?B?/////w==?=",
    b"%s%n",
)
"""Pieces that parsers of mail and DER have stumbled over."""

many = settings(max_examples=settings().max_examples * 10)
"""More examples than a unit test takes."""


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds with one to six edits: overwritten, inserted, cut out, repeated, truncated."""
    return st.builds(_apply, st.sampled_from(seeds), st.lists(_edits, min_size=1, max_size=6))


Edit = Callable[[bytes], bytes]


def _at(data: bytes, where: float) -> int:
    return int(where * len(data))


def _overwrite(where: float, piece: bytes) -> Edit:
    return lambda data: data[: _at(data, where)] + piece + data[_at(data, where) + len(piece) :]


def _insert(where: float, piece: bytes) -> Edit:
    return lambda data: data[: _at(data, where)] + piece + data[_at(data, where) :]


def _cut(where: float, length: int) -> Edit:
    return lambda data: data[: _at(data, where)] + data[_at(data, where) + length :]


def _repeat(where: float, length: int) -> Edit:
    def edit(data: bytes) -> bytes:
        start = _at(data, where)
        return data[: start + length] + data[start : start + length] * 3 + data[start + length :]

    return edit


def _truncate(where: float) -> Edit:
    return lambda data: data[: _at(data, where)]


_where = st.floats(0, 1, exclude_max=True)
_piece = st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(NASTY))
_length = st.integers(1, 200)
_edits = st.one_of(
    st.builds(_overwrite, _where, _piece),
    st.builds(_insert, _where, _piece),
    st.builds(_cut, _where, _length),
    st.builds(_repeat, _where, _length),
    st.builds(_truncate, _where),
)


def _apply(data: bytes, edits: Sequence[Edit]) -> bytes:
    for edit in edits:
        data = edit(data)
    return data
