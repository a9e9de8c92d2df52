import hashlib

import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.inbound.canonical import body_digest, canonical

PIECES = st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"a", b"\r", b"\0", b"\xff", b"  \t "]), max_size=30)


@given(pieces=PIECES, size=st.integers(1, 9), relaxed=st.booleans())
def test_it_is_what_dkimpy_makes_wherever_the_body_is_cut(pieces, size, relaxed):
    body = b"".join(pieces)
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"  # as every body is that came by SMTP
    wanted = (Relaxed if relaxed else Simple).canonicalize_body(body)
    assert b"".join(canonical(body, relaxed=relaxed, piece=size)) == wanted


# RFC 6376 section 3.4.5 and the values of section 3.4.3 and 3.4.4.
@pytest.mark.parametrize(
    ("body", "relaxed", "result"),
    [
        (b" C \r\nD \t E\r\n\r\n\r\n", True, b" C\r\nD E\r\n"),
        (b" C \r\nD \t E\r\n\r\n\r\n", False, b" C \r\nD \t E\r\n"),
        (b"", True, b""),
        (b"", False, b"\r\n"),
        (b"no end", True, b"no end\r\n"),
        (b"no end ", True, b"no end\r\n"),
    ],
)
def test_the_examples_of_the_standard(body, relaxed, result):
    assert b"".join(canonical(body, relaxed=relaxed)) == result


@given(body=st.binary(max_size=200), length=st.integers(0, 250))
def test_only_the_first_octets_are_hashed_where_a_length_is_given(body, length):
    whole = b"".join(canonical(body, relaxed=False))
    digest, size = body_digest(memoryview(body), "sha256", relaxed=False, length=length)
    assert (digest, size) == (hashlib.sha256(whole[:length]).digest(), len(whole))
