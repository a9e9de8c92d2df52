import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.errors import CmsError, LimitExceeded, MalformedCms
from nta_milter.smime import tlv
from nta_milter.smime.limits import Limits, Work


def parse(data, **limits):
    return tlv.parse(data, Work(Limits(**limits)))


def test_lengths_are_read_and_written_in_every_form():
    for size in (0, 1, 127, 128, 255, 256, 65_535, 65_536, 70_000):
        encoded = tlv.octet_string(b"x" * size)
        element = parse(encoded)
        assert element.contents == b"x" * size
        assert element.raw == encoded
    assert parse(b"\x04\x84\x00\x00\x00\x01x").contents == b"x"


def test_an_indefinite_length_is_walked_once():
    data = b"\x30\x80" + b"\x24\x80\x04\x02ab\x04\x01c\x00\x00" + b"\x02\x01\x05" + b"\x00\x00"
    work = Work()
    element = tlv.parse(data, work)
    fields = element.fields(tlv.SEQUENCE, "test")
    assert fields.next().octet_string("text") == b"abc"
    assert fields.next().integer("number") == 5
    fields.finish()
    assert work.elements == 5
    assert element.der() == tlv.sequence(tlv.octet_string(b"abc"), tlv.integer(5))


def test_a_constructed_string_of_definite_length_is_read_under_an_implicit_tag():
    inner = tlv.octet_string(b"node") + tlv.octet_string(b"forge")
    element = parse(tlv.tlv(tlv.context(0), inner))
    assert b"".join(element.octets("content", tlv.context(0, constructed=False))) == b"nodeforge"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x04\x05abc",
        b"\x04\x85\x00\x00\x00\x00\x01x\x00",
        b"\x04\x89" + b"\x00" * 9,
        b"\x04\x82\x01",
        b"\x1f\x01\x00",
        b"\x04\x80ab\x00\x00",
        b"\x30\x80\x04\x01a",
        b"\x30\x80\x00\x01a\x00\x00",
        b"\x04\x01ab",
        b"\x30\x80\x00",
    ],
    ids=lambda data: data.hex() or "empty",
)
def test_what_is_not_ber_is_refused(data):
    with pytest.raises(MalformedCms):
        parse(data)


def test_nesting_ends_at_the_limit_and_not_at_the_stack():
    with pytest.raises(LimitExceeded, match="deeper than 3"):
        parse(b"\x30\x80" * 1_000_000, depth=3)
    third = parse(b"\x30\x06\x30\x04\x30\x02\x05\x00", depth=3).children[0].children[0]
    with pytest.raises(LimitExceeded, match="deeper than 3"):
        third.children  # noqa: B018 - reading it is the work


def test_many_values_end_at_the_limit():
    with pytest.raises(LimitExceeded, match="more than 100 elements"):
        parse(b"\x30\x80" + b"\x05\x00" * 1_000_000 + b"\x00\x00", elements=100)


def test_numbers_and_identifiers():
    for value in (0, 1, 127, 128, 255, 256, -1, -128, 1 << 159):
        assert parse(tlv.integer(value)).integer("number") == value
    with pytest.raises(MalformedCms):
        parse(b"\x02\x00").integer("number")
    for text in ("1.2.840.113549.1.7.2", "2.5.29.17", "0.9.2342.19200300.100.1.25", "2.999.3"):
        assert tlv.dotted(tlv.identifier(text)) == text
    assert tlv.dotted(b"\xff") == "ff"


def test_fields_say_what_is_missing_and_what_is_too_much():
    fields = parse(tlv.sequence(tlv.integer(1), tlv.integer(2))).fields(tlv.SEQUENCE, "pair")
    assert fields.optional(tlv.SET) is None
    fields.next()
    with pytest.raises(MalformedCms, match="do not belong"):
        fields.finish()
    fields.next()
    with pytest.raises(MalformedCms, match="pair ends before its last"):
        fields.next()


def test_a_set_of_is_sorted():
    assert tlv.set_of([b"\x02\x01\x05", b"\x02\x01\x01"]) == b"\x31\x06\x02\x01\x01\x02\x01\x05"


def walk(element, seen):
    seen.append(element.tag)
    if element.tag & tlv.CONSTRUCTED:
        for child in element.children:
            walk(child, seen)


@given(st.binary(max_size=300))
def test_any_octets_are_read_or_refused(data):
    work = Work(Limits(elements=50, depth=5))
    try:
        element = tlv.parse(data, work)
        seen: list[int] = []
        walk(element, seen)
    except (CmsError, LimitExceeded):
        assert work.elements <= 50
    else:
        assert 1 <= len(seen) == work.elements <= 50


@given(st.recursive(st.binary(max_size=20), lambda inner: st.lists(inner, max_size=4), max_leaves=20))
def test_what_is_written_is_read_back(value):
    def write(item, indefinite):
        if isinstance(item, bytes):
            return tlv.octet_string(item)
        inner = b"".join(write(part, not indefinite) for part in item)
        return b"\x30\x80" + inner + b"\x00\x00" if indefinite else tlv.sequence(inner)

    def read(element):
        if element.tag == tlv.OCTET_STRING:
            return bytes(element.contents)
        return [read(child) for child in element.children]

    for indefinite in (False, True):
        assert read(parse(write(value, indefinite), depth=40)) == value
    assert parse(write(value, True), depth=40).der() == parse(write(value, False), depth=40).der()
