"""Header edits against a model of what libmilter and Postfix do with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import LimitExceeded
from nta_milter.message.headers import HeaderField, Headers
from nta_milter.milter.actions import BODY_CHUNK, REPLY_LIMIT, apply, chunks, header_edits, reply_text
from nta_milter.policy.outcome import UNTOUCHED, Outcome

NAMES = st.sampled_from([b"Subject", b"subject", b"From", b"Received", b"X-A", b"Content-Type"])
VALUES = st.sampled_from([b" a", b" b", b" c", b" long\r\n folded", b""])
FIELDS = st.lists(st.builds(HeaderField, NAMES, VALUES), max_size=8)


class Postfix:
    """Postfix's side of the header calls: indexes are 1-based per name and shift after a delete."""

    def __init__(self, headers):
        self.fields = [(f.name.decode(), f.raw.decode().replace("\r\n", "\n")) for f in headers]
        self.calls = 0
        self.body = b""

    def _find(self, name, index):
        at = [i for i, (n, _) in enumerate(self.fields) if n.lower() == name.lower()]
        return at[index - 1] if 0 < index <= len(at) else None

    def addheader(self, name, value, idx=-1):
        self.calls += 1
        self.fields.append((name, value))

    def chgheader(self, name, index, value):
        self.calls += 1
        at = self._find(name, index)
        assert at is not None, "an index past the end would add a field"
        if value is None:
            del self.fields[at]
        else:
            self.fields[at] = (self.fields[at][0], value)

    def replacebody(self, chunk):
        assert isinstance(chunk, bytes)
        self.body += chunk

    def chgfrom(self, sender, params=None):
        self.sender = (sender, params)


def per_name(fields):
    found = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value)
    return found


@given(FIELDS, FIELDS)
def test_the_edits_lead_from_any_fields_to_any_others(before, after):
    postfix = Postfix(before)
    apply(postfix, Headers(tuple(before)), Outcome(headers=Headers(tuple(after))))
    wanted = [(f.name.decode(), f.raw.decode().replace("\r\n", "\n")) for f in after]
    assert per_name(postfix.fields) == per_name(wanted)


@given(FIELDS)
def test_invariant_6_equal_fields_need_no_edit(fields):
    assert header_edits(Headers(tuple(fields)), Headers(tuple(fields))) == ()


def test_invariant_6_untouched_makes_no_call():
    postfix = Postfix(Headers().add("Subject", "x"))
    apply(postfix, Headers().add("Subject", "x"), UNTOUCHED)
    assert postfix.calls == 0
    assert postfix.body == b""


@given(FIELDS, st.data())
def test_removing_fields_takes_one_edit_each(fields, data):
    kept = [field for field in fields if data.draw(st.booleans())]
    edits = header_edits(Headers(tuple(fields)), Headers(tuple(kept)))
    assert len(edits) == len(fields) - len(kept) or len({(f.name.lower(), f.raw) for f in fields}) < len(
        fields
    )


@given(st.binary(max_size=3 * BODY_CHUNK))
def test_a_body_is_handed_over_whole(body):
    postfix = Postfix(Headers())
    apply(postfix, Headers(), Outcome(body=memoryview(body)))
    assert postfix.body == body
    assert all(len(chunk) <= BODY_CHUNK for chunk in chunks(body))


def test_raw_8_bit_values_become_encoded_words():
    edits = header_edits(Headers(), Headers((HeaderField(b"Subject", b" caf\xe9 \x00x"),)))
    assert edits[0].value == " =?utf-8?q?caf=C3=A9_x?="


@given(st.text())
def test_a_reply_is_printable_ascii_with_percent_signs_doubled(text):
    shown = reply_text(text)
    assert all(" " <= c <= "~" for c in shown)
    assert "%" not in shown.replace("%%", "")
    assert len(shown.replace("%%", "%")) <= REPLY_LIMIT


def test_a_short_reply_is_said_as_it_is():
    assert reply_text("the login x may not send as y") == "the login x may not send as y"
    assert reply_text("x" * REPLY_LIMIT) == "x" * REPLY_LIMIT
    assert reply_text("a%b é\r\nQUIT") == "a%%b ???QUIT"


def test_a_value_that_libmilter_does_not_take_is_refused_before_anything_is_changed():
    before = Headers((HeaderField(b"Subject", b" x"),))
    postfix = Postfix(before)
    for value in (b"x" * 70_000, b"\xe9" * 25_000):
        with pytest.raises(LimitExceeded):
            apply(postfix, before, Outcome(headers=Headers().add("Subject", value), removed=("a@b.test",)))
    assert postfix.calls == 0


def test_a_bare_cr_does_not_begin_a_line():
    (edit,) = header_edits(Headers(), Headers((HeaderField(b"Content-X", b" a\rX-Nta-Route: mx\r\n b\0"),)))
    assert edit.value == " a X-Nta-Route: mx\n b"
