"""The resolver against a real validating unbound, and against servers that misbehave."""

import ipaddress

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.config.key import LOOPBACK
from nta_milter.errors import ConfigurationError
from nta_milter.lookup.answer import Presence
from nta_milter.lookup.resolver import PAUSE, SUSPECT_AFTER, DnsResolver, Server
from tests.integration.compliance.conftest import DIGEST
from tests.integration.compliance.peers import response, udp_server
from tests.laboratory.dns import Zone, txt
from tests.laboratory.ports import free_port

PRESENT, ABSENT, UNKNOWN = Presence.PRESENT, Presence.ABSENT, Presence.UNKNOWN


ROOT = dns.name.root
NAME = dns.name.from_text("a.test.")


def dns_rcode(name):
    return dns.rcode.from_text(name)


def asking(*servers, timeout=0.3, lifetime=0.9, trusted=LOOPBACK, **more):
    return DnsResolver(servers, trusted=trusted, timeout=timeout, lifetime=lifetime, **more)


@pytest.mark.parametrize(
    ("name", "rdtype", "presence", "secure"),
    [
        ("nta.hospital.test", "A", PRESENT, True),
        ("NTA.Hospital.Test", "A", PRESENT, True),
        ("nta.hospital.test.", "A", PRESENT, True),
        ("bare.hospital.test", "AAAA", ABSENT, True),
        ("nothing.hospital.test", "A", ABSENT, True),
        ("alias.hospital.test", "A", PRESENT, True),
        ("dangling.hospital.test", "A", ABSENT, True),
        ("toinsecure.hospital.test", "A", PRESENT, False),
        ("back.citizen.test", "A", PRESENT, False),
        ("host.citizen.test", "A", PRESENT, False),
        ("nothing.citizen.test", "A", ABSENT, False),
        ("host.broken.test", "A", UNKNOWN, False),
        ("nothing.broken.test", "A", UNKNOWN, False),
        ("late.test", "TXT", UNKNOWN, False),
        ("dead.test", "TXT", UNKNOWN, False),
        ("tobogus.hospital.test", "A", UNKNOWN, False),
        ("loop1.hospital.test", "A", UNKNOWN, False),
        ("nowhere", "A", ABSENT, True),
        (".", "DNSKEY", PRESENT, True),
        ("", "NS", PRESENT, True),
    ],
)
def test_presence_and_security(resolver, name, rdtype, presence, secure):
    answer = resolver.query(name, rdtype)
    assert (answer.presence, answer.secure) == (presence, secure), answer.reason
    assert bool(answer.reason) is (presence is UNKNOWN)


@pytest.mark.parametrize(
    ("name", "rdtype", "records"),
    [
        ("nta.hospital.test", "A", ("192.0.2.1",)),
        ("nta.hospital.test", "AAAA", ("2001:db8::1",)),
        ("care.test", "MX", ((10, "bare.hospital.test"), (20, "mx.hospital.test"))),
        ("null.care.test", "MX", ((0, ""),)),
        ("_25._tcp.nta.hospital.test", "TLSA", ((3, 1, 1, bytes.fromhex(DIGEST)),)),
        ("alias.hospital.test", "CNAME", ("nta.hospital.test",)),
        ("text.hospital.test", "TXT", (b"only",)),
    ],
)
def test_records_are_plain_values(resolver, name, rdtype, records):
    assert resolver.query(name, rdtype).records == records


@pytest.mark.parametrize(
    ("name", "said"), [("seen.broken.test", "dnssec bogus (6)"), ("seen.late.test", "signature expired (7)")]
)
def test_an_extended_error_stands_in_the_reason(resolver, name, said):
    # Once only: what unbound has found bogus before, it says to be bogus, without the cause.
    answer = resolver.query(name, "A")
    assert said in answer.reason
    assert answer.rcode == "SERVFAIL"


def test_the_name_after_aliases_is_told(resolver):
    assert resolver.query("alias2.hospital.test", "A").canonical == "nta.hospital.test"
    assert resolver.query("nta.hospital.test", "A").canonical == "nta.hospital.test"
    assert resolver.query("dangling.hospital.test", "A").canonical == "nothing.hospital.test"


def test_the_rcode_tells_a_name_that_does_not_exist(resolver):
    assert resolver.query("nothing.hospital.test", "A").rcode == "NXDOMAIN"
    assert resolver.query("bare.hospital.test", "AAAA").rcode == "NOERROR"


@pytest.mark.parametrize("size", [200, 1200, 1300, 4000, 60000])
@pytest.mark.parametrize("piece", [255, 64])
def test_a_long_text_comes_whole(own_dns, size, piece):
    text = "".join(chr(97 + n % 26) for n in range(size))
    own_dns.reload(Zone("long.test", [f"@ TXT {txt(text, piece=piece)}"]))
    answer = asking(*own_dns.servers, timeout=2, lifetime=4).query("long.test", "TXT")
    assert answer.records == (text.encode(),), answer.reason
    assert answer.secure


def test_time_to_live_of_presence_and_absence(own_dns):
    own_dns.reload(
        Zone("ttl.test", ["@ TXT x", "short 7 TXT x", "alias 5 CNAME short"], ttl=200, negative_ttl=30)
    )
    resolver = asking(*own_dns.servers)
    ttl = {name: resolver.query(name, kind).ttl for name, kind in
           [("ttl.test", "TXT"), ("short.ttl.test", "TXT"), ("alias.ttl.test", "TXT"), ("ttl.test", "A"),
            ("no.ttl.test", "A")]}  # fmt: skip
    assert 195 <= resolver.query("ttl.test", "TXT").ttl <= 200
    assert 2 <= ttl["short.ttl.test"] <= 7
    assert 1 <= ttl["alias.ttl.test"] <= 5
    assert 25 <= ttl["ttl.test"] <= 30
    assert 25 <= ttl["no.ttl.test"] <= 30


@pytest.mark.parametrize("name", ["x" * 64 + ".test", ".".join(["x" * 60] * 5), "a..test", ".test", "é.test"])
def test_what_dns_cannot_hold_is_absent(resolver, name):
    assert resolver.query(name, "A").presence is ABSENT


def test_the_ad_bit_of_a_server_that_is_not_trusted_does_not_count(dns):
    answer = asking(*dns.servers, trusted=[ipaddress.ip_network("192.0.2.0/24")]).query(
        "hospital.test", "TXT"
    )
    assert (answer.presence, answer.secure) == (PRESENT, False)


class TestServersThatMisbehave:
    def test_nobody_there_is_unknown_at_once(self):
        server = f"127.0.0.1:{free_port()}"
        clock = iter(range(1000))
        answer = asking(server, lifetime=900, timeout=900, clock=lambda: float(next(clock))).query(
            "a.test", "A"
        )
        assert answer.presence is UNKNOWN
        assert "refused" in answer.reason

    def test_silence_is_unknown_after_the_lifetime(self):
        with udp_server(lambda question: None) as (server, asked):
            answer = asking(server, timeout=0.1, lifetime=0.25).query("a.test", "A")
        assert answer.presence is UNKNOWN
        assert "did not answer" in answer.reason
        assert len(asked) >= 2, "it was asked again"

    def test_the_next_server_is_asked(self, dns):
        dead = f"127.0.0.1:{free_port()}"
        assert asking(dead, *dns.servers).query("hospital.test", "TXT").presence is PRESENT

    def test_the_next_server_is_asked_after_silence_and_after_servfail(self, dns):
        def servfail(question):
            made = response(question)
            made.set_rcode(dns_rcode("SERVFAIL"))
            return made.to_wire()

        with udp_server(lambda question: None) as (silent, _), udp_server(servfail) as (failing, _):
            resolver = asking(silent, failing, *dns.servers, timeout=0.1)
            assert resolver.query("hospital.test", "TXT").presence is PRESENT

    def test_absence_is_an_answer_and_nobody_else_is_asked(self, dns):
        with udp_server(lambda question: None) as (silent, asked):
            assert asking(*dns.servers, silent).query("nothing.hospital.test", "A").presence is ABSENT
        assert asked == []

    @pytest.mark.parametrize("rcode", ["FORMERR", "SERVFAIL", "NOTIMP", "REFUSED", "NOTAUTH"])
    def test_any_other_rcode_is_unknown(self, rcode):
        def answer(question):
            made = response(question)
            made.set_rcode(dns_rcode(rcode))
            return made.to_wire()

        with udp_server(answer) as (server, _):
            found = asking(server).query("a.test", "A")
        assert (found.presence, found.rcode) == (UNKNOWN, rcode)
        assert rcode in found.reason

    def test_truncated_without_tcp_is_unknown_and_the_server_is_not_dead(self):
        def answer(question):
            made = response(question)
            made.flags |= dns.flags.TC
            return made.to_wire()

        with udp_server(answer) as (server, asked):
            resolver = asking(server)
            for _ in range(3):
                found = resolver.query("a.test", "A")
                assert found.presence is UNKNOWN
                assert "truncated" in found.reason
        assert len(asked) == 3

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda question: b"",
            lambda question: b"\0",
            lambda question: question[:12],
            lambda question: b"\xff" * 40,
            lambda question: question,
            lambda question: bytes([question[0] ^ 1]) + response(question).to_wire()[1:],
            lambda question: response(question).to_wire()[:-5],
            lambda question: response(question).to_wire() + b"more",
            lambda question: response(question.replace(b"\1a\4test", b"\1b\4test")).to_wire(),
        ],
    )
    def test_what_is_no_answer_is_unknown(self, spoil):
        with udp_server(spoil) as (server, _):
            found = asking(server, timeout=0.2, lifetime=0.3).query("a.test", "A")
        assert found.presence is UNKNOWN
        assert found.reason

    def test_absence_without_a_soa_holds_for_no_time(self):
        with udp_server(lambda question: response(question).to_wire()) as (server, _):
            found = asking(server).query("a.test", "A")
        assert (found.presence, found.ttl) == (ABSENT, 0)

    def test_an_answer_to_something_else_is_absence_not_presence(self):
        def answer(question):
            made = response(question)
            made.answer.append(dns.rrset.from_text("b.test.", 60, "IN", "A", "192.0.2.1"))
            return made.to_wire()

        with udp_server(answer) as (server, _):
            assert asking(server).query("a.test", "A").records == ()

    def test_what_is_asked(self):
        with udp_server(lambda question: response(question).to_wire()) as (server, asked):
            asking(server).query("a.test", "A")
        message = dns.message.from_wire(asked[0])
        assert message.flags & 0x87F0 == dns.flags.RD | dns.flags.AD
        assert not message.flags & dns.flags.CD
        assert (message.edns, message.payload, message.ednsflags) == (0, 1232, 0)


class TestTheBreaker:
    """A dead server costs nothing, a slow domain closes nothing, and a server that is back is used."""

    def test_a_dead_server_is_left_alone_and_asked_again_later(self):
        now = [0.0]
        with udp_server(lambda question: None) as (server, asked):
            resolver = asking(server, timeout=0.02, lifetime=1.0, clock=lambda: now[0])
            peer = resolver._peers[0]
            for _ in range(SUSPECT_AFTER):
                assert peer.ask(NAME, "A", 0.02) is None
            count = len(asked)
            assert count == SUSPECT_AFTER + 1, "and once for the root"
            assert peer.ask(NAME, "A", 0.02).presence is UNKNOWN
            assert len(asked) == count, "it is left alone"
            now[0] += PAUSE
            assert peer.ask(NAME, "A", 0.02) is None
            assert len(asked) == count + 2, "one more silence and it is suspect again"

    def test_a_slow_domain_is_not_a_dead_server(self):
        def only_the_root(question):
            about_the_root = dns.message.from_wire(question).question[0].name == ROOT
            return response(question).to_wire() if about_the_root else None

        with udp_server(only_the_root) as (server, _):
            peer = asking(server)._peers[0]
            for _ in range(3 * SUSPECT_AFTER):
                assert peer.ask(NAME, "A", 0.02) is None
            assert peer.ask(ROOT, "NS", 0.5).presence is ABSENT

    def test_a_server_that_is_back_is_used(self, own_dns):
        now = [0.0]
        resolver = asking(*own_dns.servers, clock=lambda: now[0])
        assert resolver.query("care.test", "TXT").presence is PRESENT
        own_dns.stop()
        assert resolver.query("care.test", "TXT").presence is UNKNOWN
        own_dns.start()
        assert resolver.query("care.test", "TXT").presence is UNKNOWN
        now[0] += PAUSE
        assert resolver.query("care.test", "TXT").presence is PRESENT


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 53),
        ("127.0.0.1:5300", "127.0.0.1", 5300),
        ("::1", "::1", 53),
        ("[::1]", "::1", 53),
        ("[::1]:5300", "::1", 5300),
        ("2001:db8::53", "2001:db8::53", 53),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
    ],
)
def test_a_server_is_read(text, address, port):
    server = Server.parse(text)
    assert (server.address, server.port) == (address, port)
    assert Server.parse(str(server)) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "[::1]x",
        "[::1",
        "[::1]5300",
        "::1:",
        "[]:53",
        "1.2.3",
        "127.0.0.1:5٣",
    ],
)
def test_no_server(text):
    with pytest.raises(ConfigurationError, match="resolver"):
        Server.parse(text)


@given(st.text(max_size=30))
def test_whatever_is_given_is_a_server_or_an_error_in_words(text):
    try:
        server = Server.parse(text)
    except ConfigurationError:
        return
    assert 0 < server.port < 65536
    assert Server.parse(str(server)) == server


def test_no_server_at_all_is_an_error():
    with pytest.raises(ConfigurationError, match=r"dns\.servers"):
        asking()
