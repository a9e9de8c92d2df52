"""A body that is made on one thread while another one sends it."""

import threading

import pytest

from nta_milter.errors import TemporaryError
from nta_milter.milter.actions import BODY_CHUNK
from nta_milter.milter.stream import AHEAD, BATCH, Stream
from nta_milter.policy.outcome import UNTOUCHED, Outcome, Reply

REFUSED = Outcome(reply=Reply.temporary("the disk is full"))


def taken(stream):
    """All that comes, and the end."""
    chunks = []
    while not isinstance(item := stream.take(10), Outcome):
        chunks += item
    return chunks, item


@pytest.mark.parametrize("size", [0, 1, BODY_CHUNK, BATCH - 1, BATCH, 3 * BATCH * AHEAD + 5])
def test_what_is_written_is_taken_in_chunks_that_libmilter_takes(size):
    stream = Stream()
    body = bytes(range(251)) * (size // 251 + 1)
    piece = bytearray(100_000)

    def make():
        for start in range(0, size, len(piece)):
            part = body[start : min(size, start + len(piece))]
            piece[: len(part)] = part
            stream.write(memoryview(piece)[: len(part)])
        stream.end(UNTOUCHED)

    maker = threading.Thread(target=make)
    maker.start()
    chunks, end = taken(stream)
    maker.join()
    assert b"".join(chunks) == body[:size]
    assert all(type(chunk) is bytes and 0 < len(chunk) <= BODY_CHUNK for chunk in chunks)
    assert end is UNTOUCHED


def test_the_maker_is_never_far_ahead():
    stream = Stream()
    made = []

    def make():
        for number in range(20):
            stream.write(b"x" * BATCH)
            made.append(number)

    threading.Thread(target=make, daemon=True).start()
    first = stream.take(10)
    assert len(b"".join(first)) == BATCH
    assert len(made) <= AHEAD + 2


def test_a_refusal_at_the_end_is_told_and_nothing_is_sent_any_more():
    stream = Stream()
    stream.write(b"half of it")
    stream.end(REFUSED)
    assert taken(stream) == ([], REFUSED)


def test_changes_come_first_and_the_end_is_told_apart():
    stream = Stream()
    changes = Outcome(added="commit@care.test")
    stream.begin(changes)
    stream.write(b"a body")
    stream.end(UNTOUCHED)
    assert stream.begun
    assert stream.take(10) is changes
    assert taken(stream) == ([b"a body"], UNTOUCHED)


def test_an_end_without_changes_before_it_is_no_beginning():
    stream = Stream()
    stream.end(REFUSED)
    assert not stream.begun
    assert stream.take(10) is REFUSED


def test_who_waits_too_long_gets_nothing_yet():
    assert Stream().take(0.01) == []


def test_a_maker_whose_callback_has_left_is_told_and_does_not_wait():
    stream = Stream()
    told = []

    def make():
        try:
            for _ in range(100):
                stream.write(b"x" * BATCH)
        except TemporaryError as error:
            told.append(error)
        stream.end(REFUSED)

    maker = threading.Thread(target=make)
    maker.start()
    stream.take(10)
    stream.leave()
    maker.join(10)
    assert not maker.is_alive()
    assert len(told) == 1
