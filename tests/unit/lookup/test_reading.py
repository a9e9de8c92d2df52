"""What is made of an answer's bytes, whatever they are."""

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.lookup.answer import Presence
from nta_milter.lookup.association import associations
from nta_milter.lookup.resolver import Server, _question, _read

SERVER = Server("127.0.0.1")
RECORDS = {
    "A": "192.0.2.1",
    "AAAA": "2001:db8::1",
    "TXT": '"v=NTA7516-1" "x"',
    "MX": "10 mx.a.test.",
    "CNAME": "b.test.",
    "TLSA": "3 1 1 " + "ab" * 32,
    "SMIMEA": "3 0 0 abcd",
    "SOA": "ns.test. hostmaster.test. 1 2 3 4 5",
}


def answered(rdtype, *, through=None, records=(), error=None):
    """A question and a sound answer to it, its record behind an alias if ``through`` is given."""
    question = _question(dns.name.from_text("a.test."), rdtype)
    message = dns.message.make_response(question)
    message.flags |= dns.flags.AD
    owner = "a.test."
    if through:
        message.answer.append(dns.rrset.from_text(owner, 30, "IN", "CNAME", through))
        owner = through
    message.answer.append(dns.rrset.from_text(owner, 60, "IN", rdtype, RECORDS[rdtype], *records))
    if error is not None:
        message.use_edns(0, options=[error])
    return question, message.to_wire()


def read(question, wire, rdtype, *, trusted=True):
    return _read(wire, question, rdtype, trusted=trusted, server=SERVER)


def add(wire, rdtype, rdata, owner=b"\xc0\x0c"):
    """One more record in the answer, made of bytes; only for an answer without further sections."""
    count = int.from_bytes(wire[6:8], "big") + 1
    kind = int(dns.rdatatype.from_text(rdtype)).to_bytes(2, "big")
    record = owner + kind + b"\0\1" + (60).to_bytes(4, "big") + len(rdata).to_bytes(2, "big") + rdata
    return wire[:6] + count.to_bytes(2, "big") + wire[8:10] + b"\0\0" + wire[12:].removesuffix(OPT) + record


OPT = dns.message.make_response(_question(dns.name.from_text("a.test."), "A")).to_wire()[-11:]


@pytest.mark.parametrize("rdtype", RECORDS)
def test_a_sound_answer(rdtype):
    answer = read(*answered(rdtype), rdtype)
    assert (answer.presence, answer.secure, answer.ttl) == (Presence.PRESENT, True, 60)
    assert answer.canonical == "a.test"


@pytest.mark.parametrize("rdtype", sorted(RECORDS.keys() - {"CNAME"}))
def test_an_answer_behind_an_alias_holds_no_longer_than_the_alias(rdtype):
    answer = read(*answered(rdtype, through="b.test."), rdtype)
    assert (answer.presence, answer.ttl, answer.canonical) == (Presence.PRESENT, 30, "b.test")


def test_the_word_of_a_server_that_is_not_trusted():
    assert not read(*answered("A"), "A", trusted=False).secure


@pytest.mark.parametrize(
    ("rdata", "values"),
    [
        (b"\3\1\1" + b"\xcd" * 31, (3, 1, 1, b"\xcd" * 31)),
        (b"\3\1\2" + b"\xcd" * 32, (3, 1, 2, b"\xcd" * 32)),
        (b"\3\1\1", (3, 1, 1, b"")),
        (b"\3\1", (3, 1, 255, b"")),
        (b"", (255, 255, 255, b"")),
    ],
)
def test_an_unsound_tlsa_record_does_not_hide_a_sound_one(rdata, values):
    question, wire = answered("TLSA")
    answer = read(question, add(wire, "TLSA", rdata), "TLSA")
    assert answer.records == tuple(sorted([(3, 1, 1, b"\xab" * 32), values]))
    assert answer.secure


def test_only_unsound_tlsa_records_are_present_not_absent():
    question = _question(dns.name.from_text("a.test."), "TLSA")
    wire = dns.message.make_response(question).to_wire()
    answer = read(question, add(wire, "TLSA", b"\3\1\1\xab"), "TLSA")
    assert (answer.presence, answer.records) == (Presence.PRESENT, ((3, 1, 1, b"\xab"),))


def test_a_tlsa_record_of_another_name_is_not_an_answer():
    question = _question(dns.name.from_text("a.test."), "TLSA")
    wire = dns.message.make_response(question).to_wire()
    other = dns.name.from_text("b.test.").to_wire()
    answer = read(question, add(wire, "TLSA", b"\3\1\1" + b"\xab" * 32, owner=other), "TLSA")
    assert answer.presence is Presence.ABSENT


def test_another_unsound_record_beside_tlsa_is_malformed():
    question, wire = answered("TLSA")
    with pytest.raises((dns.exception.DNSException, ValueError)):
        read(question, add(wire, "A", b"\0"), "TLSA")


mutations = st.lists(
    st.tuples(st.integers(2, 200), st.integers(0, 255), st.sampled_from(["set", "insert", "delete", "cut"])),
    min_size=1,
    max_size=4,
)


@given(st.sampled_from(sorted(RECORDS)), st.booleans(), mutations)
def test_a_damaged_answer_is_an_answer_or_malformed(rdtype, aliased, changes):
    question, wire = answered(rdtype, through="b.test." if aliased and rdtype != "CNAME" else None)
    damaged = bytearray(wire)
    for at, byte, change in changes:
        at %= max(1, len(damaged))
        if change == "set" and damaged:
            damaged[at] = byte
        elif change == "insert":
            damaged.insert(at, byte)
        elif change == "delete":
            del damaged[at : at + 1]
        else:
            del damaged[at + 20 :]
    try:
        answer = read(question, bytes(damaged), rdtype)
    except (dns.exception.DNSException, ValueError):
        return
    assert answer.reason.isprintable()
    assert (answer.presence is Presence.UNKNOWN) is bool(answer.reason)
    assert (answer.presence is Presence.PRESENT) is bool(answer.records)
    assert answer.ttl >= 0


@given(st.binary(max_size=120), st.sampled_from(["TLSA", "SMIMEA"]))
def test_any_bytes_are_associations_or_malformed(data, rdtype):
    try:
        found = associations(data, rdtype)
    except (dns.exception.DNSException, ValueError):
        return
    assert all(len(each.values) == 4 for each in found)


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (6, None, ", dnssec bogus (6)"),
        (7, "late", ", signature expired (7): late"),
        (9999, "x\x1b[31m\ny", ", extended error (9999): x?[31m?y"),
    ],
)
def test_the_cause_that_a_resolver_gives_is_safe_to_log(code, text, said):
    question, wire = answered("A", error=dns.edns.EDEOption(code, text))
    refused = wire[:3] + bytes([wire[3] & 0xF0 | 2]) + wire[4:]
    answer = read(question, refused, "A")
    assert answer.reason == f"SERVFAIL from 127.0.0.1:53{said}"


def test_a_long_cause_is_shortened():
    question, wire = answered("A", error=dns.edns.EDEOption(6, "x" * 900))
    refused = wire[:3] + bytes([wire[3] & 0xF0 | 2]) + wire[4:]
    assert len(read(question, refused, "A").reason) < 300
