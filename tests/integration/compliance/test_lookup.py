"""Reports on domains of a real validating resolver, with zones in every state."""

import ipaddress
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from nta_milter.compliance.codes import Code
from nta_milter.compliance.domain import ComplianceLookup
from nta_milter.compliance.report import Compliance, to_json
from nta_milter.config.model import DnsSettings
from nta_milter.errors import ConfigurationError
from nta_milter.lookup.proof import Proof, prove
from nta_milter.lookup.resolver import DnsResolver
from tests.integration.compliance.conftest import AT, DIGEST
from tests.integration.compliance.peers import response, udp_server
from tests.laboratory.dns import Zone, txt
from tests.laboratory.ports import free_port
from tests.unit.compliance.records import ROWS, START

COMPLIANT, NOT_COMPLIANT, UNKNOWN = Compliance.COMPLIANT, Compliance.NOT_COMPLIANT, Compliance.UNKNOWN


def codes(reasons):
    return [reason.code for reason in reasons]


@pytest.mark.parametrize(
    ("domain", "status", "reasons"),
    [
        ("hospital.test", COMPLIANT, []),
        ("HOSPITAL.Test", COMPLIANT, []),
        ("hospital.test.", COMPLIANT, []),
        ("bücher.care.test", COMPLIANT, []),
        ("xn--bcher-kva.care.test", COMPLIANT, []),
        ("care.test", COMPLIANT, []),
        ("implicit.care.test", COMPLIANT, []),
        ("first.care.test", COMPLIANT, []),
        ("second.care.test", COMPLIANT, []),
        ("unknownfirst.care.test", COMPLIANT, []),
        ("six.care.test", COMPLIANT, []),
        ("oddmx.care.test", COMPLIANT, []),
        ("bookmark.care.test", COMPLIANT, []),
        ("null.care.test", NOT_COMPLIANT, ["mx-null"]),
        ("manymx.care.test", NOT_COMPLIANT, ["hosts-unusable", "mx-too-many"]),
        ("none.care.test", NOT_COMPLIANT, ["hosts-unusable"]),
        ("onlyunknown.care.test", UNKNOWN, ["hosts-unknown"]),
        ("deadtlsa.care.test", UNKNOWN, ["hosts-unknown"]),
        ("expired.care.test", NOT_COMPLIANT, ["record-expired"]),
        ("later.care.test", NOT_COMPLIANT, ["record-not-started"]),
        ("citizen.test", NOT_COMPLIANT, ["record-insecure"]),
        ("tocitizen.care.test", NOT_COMPLIANT, ["record-insecure"]),
        ("plain.citizen.test", NOT_COMPLIANT, ["record-absent"]),
        ("nothing.citizen.test", NOT_COMPLIANT, ["domain-absent"]),
        ("nothing.care.test", NOT_COMPLIANT, ["domain-absent"]),
        ("sub.hospital.test", NOT_COMPLIANT, ["domain-absent"]),
        ("mx.hospital.test", NOT_COMPLIANT, ["record-absent"]),
        ("broken.test", UNKNOWN, ["record-unknown"]),
        ("late.test", UNKNOWN, ["record-unknown"]),
        ("dead.test", UNKNOWN, ["record-unknown"]),
        ("", NOT_COMPLIANT, ["domain-invalid"]),
        ("test", NOT_COMPLIANT, ["domain-invalid"]),
        ("[192.0.2.1]", NOT_COMPLIANT, ["domain-invalid"]),
        ("a b.test", NOT_COMPLIANT, ["domain-invalid"]),
        ("straße.test", NOT_COMPLIANT, ["domain-invalid"]),
    ],
)
def test_a_domain(lookup, domain, status, reasons):
    report = lookup.report(domain, AT)
    assert (report.status, codes(report.reasons)) == (status, reasons)


@pytest.mark.parametrize(
    ("host", "usable", "secure", "reasons"),
    [
        ("nta", True, True, []),
        ("mx", True, True, []),
        ("six", True, True, []),
        ("mixed", True, True, ["tlsa-record-ignored"]),
        ("many", True, True, []),
        ("alias", True, True, []),
        ("alias2", True, True, []),
        ("away", True, True, []),
        ("bare", False, True, ["tlsa-absent"]),
        ("pkix", False, True, ["tlsa-unusable", "tlsa-record-ignored"]),
        ("short", False, True, ["tlsa-unusable", "tlsa-record-ignored"]),
        ("text", False, True, ["address-absent"]),
        ("nothing", False, True, ["address-absent"]),
        ("dangling", False, True, ["address-absent"]),
        ("toinsecure", False, False, ["alias-insecure"]),
        ("tobogus", False, None, ["address-unknown"]),
        ("loop1", False, None, ["address-unknown"]),
        ("deadtlsa", False, None, ["tlsa-unknown"]),
    ],
)
def test_a_host(lookup, own_dns, host, usable, secure, reasons):
    report = lookup._load_host(f"{host}.hospital.test", 0.0).value
    assert (report.usable, report.secure, codes(report.reasons)) == (usable, secure, reasons)


def test_of_an_alias_the_targets_tlsa_records_count(lookup):
    assert lookup._load_host("alias.hospital.test", 0.0).value.tlsa == (f"3 1 1 {DIGEST}",)
    assert lookup._load_host("away.hospital.test", 0.0).value.tlsa == (f"3 1 1 {'cd' * 32}",)


def test_every_host_is_listed_in_order(lookup):
    hosts = lookup.report("unknownfirst.care.test", AT).hosts
    assert [(host.name, host.usable) for host in hosts] == [
        ("tobogus.hospital.test", False),
        ("nta.hospital.test", True),
    ]


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row.name for row in ROWS])
def test_a_row_of_the_corpus_through_the_resolver(lookup, number):
    row = ROWS[number]
    report = lookup.report(f"row{number}.rows.test", AT)
    about_hosts = {"hosts-unusable", "hosts-unknown", "record-expired", "record-not-started"}
    assert sorted(set(codes(report.reasons)) - about_hosts) == sorted(set(row.codes))
    assert (report.record is not None) is row.believed
    if not row.believed:
        assert report.status is NOT_COMPLIANT


def test_many_domains_at_once(lookup):
    domains = [f"row{number}.rows.test" for number in range(len(ROWS))] + [
        "care.test",
        "CARE.test",
        "dead.test",
        "",
    ]
    reports = lookup.reports(domains, AT, 20)
    assert set(reports) == set(domains)
    assert reports["care.test"] == reports["CARE.test"] == lookup.report("care.test", AT)
    assert reports["dead.test"].status is UNKNOWN


def test_what_comes_after_the_deadline_is_unknown(dns):
    with udp_server(lambda question: None) as (silent, _):
        settings = DnsSettings(servers=(silent,), timeout=0.2, lifetime=0.5)
        lookup = ComplianceLookup(
            DnsResolver(settings.servers, trusted=settings.trusted, timeout=0.2, lifetime=0.5),
            settings,
            prover=lambda: Proof(True, ""),
            executor=ThreadPoolExecutor(2),
            hosts=ThreadPoolExecutor(1),
        )
        reports = lookup.reports([f"d{n}.test" for n in range(20)], AT, 0.05)
    assert {report.status for report in reports.values()} == {UNKNOWN}
    assert {code for report in reports.values() for code in codes(report.reasons)} == {"deadline"}


def test_what_is_at_hand_costs_no_look_up_and_is_given_only_as_a_whole(lookup):
    asked = ("hospital.test", "citizen.test")
    assert lookup.at_hand(asked, AT) is None
    lookup.report("hospital.test", AT)
    assert lookup.at_hand(asked, AT) is None
    told = lookup.reports(asked, AT, 20)
    before = lookup.counters()["domains"].misses
    assert lookup.at_hand(asked, AT) == told
    assert lookup.at_hand((), AT) == {}
    assert lookup.counters()["domains"].misses == before


def test_warming_makes_the_report_ready(lookup):
    lookup.warm("Care.test")
    lookup.warm("care.test")
    lookup.warm("no domain")
    for _ in range(1000):
        if lookup.counters()["domains"].entries:
            break
        time.sleep(0.01)
    assert lookup.known() == ("care.test",)
    loaded = lookup.counters()["domains"].misses
    lookup.report("care.test", AT)
    assert lookup.counters()["domains"].misses == loaded == 1


def test_warming_is_bounded(dns):
    gate = threading.Event()

    class Waiting:
        def query(self, name, rdtype):
            gate.wait(20)
            return DnsResolver(dns.servers, trusted=settings.trusted, timeout=1, lifetime=3).query(
                name, rdtype
            )

    settings = DnsSettings(servers=dns.servers)
    executor = ThreadPoolExecutor(4)
    lookup = ComplianceLookup(
        Waiting(),
        settings,
        prover=lambda: Proof(True, ""),
        executor=executor,
        hosts=ThreadPoolExecutor(1),
        warm_limit=10,
    )
    for number in range(100):
        lookup.warm(f"d{number}.test")
    waiting = executor._work_queue.qsize()
    gate.set()
    executor.shutdown()
    assert waiting <= 10
    assert len(lookup.known()) == 10


def test_a_host_shared_by_domains_is_looked_up_once(lookup):
    lookup.reports(["hospital.test", "first.care.test", "second.care.test", "citizen.test"], AT, 20)
    counters = lookup.counters()["hosts"]
    assert counters.misses == 2, "nta and bare"


def test_the_json_object(lookup):
    assert to_json(lookup.report("hospital.test", AT)) == {
        "domain": "hospital.test",
        "status": "compliant",
        "secure": True,
        "record": {
            "version": "NTA7516-1",
            "startdate": "2026-01",
            "enddate": "2028-12",
            "provider": "Example",
            "ntamx": [[10, "nta.hospital.test"]],
        },
        "hosts": [
            {
                "name": "nta.hospital.test",
                "usable": True,
                "secure": True,
                "tlsa": [f"3 1 1 {DIGEST}"],
                "reasons": [],
            }
        ],
        "reasons": [],
        "ttl": lookup.report("hospital.test", AT).ttl,
    }
    unknown = to_json(lookup.report("dead.test", AT))
    assert (unknown["secure"], unknown["record"], unknown["hosts"]) == (None, None, [])
    assert [each["code"] for each in unknown["reasons"]] == ["record-unknown"]


class TestTime:
    def test_the_date_is_judged_anew_each_time(self, lookup):
        before = datetime(2028, 12, 31, 22, 59, tzinfo=UTC)
        assert lookup.report("hospital.test", before).status is COMPLIANT
        assert codes(lookup.report("hospital.test", before + timedelta(minutes=2)).reasons) == [
            "record-expired"
        ]
        assert lookup.report("hospital.test", before).status is COMPLIANT
        assert lookup.counters()["domains"].misses == 1

    def test_caps(self, dns):
        settings = DnsSettings(servers=dns.servers, ttl_cap=20, negative_ttl_cap=7, unknown_ttl=3)
        lookup = ComplianceLookup.from_settings(settings)
        assert lookup.report("hospital.test", AT).ttl <= 20
        assert lookup.report("nothing.care.test", AT).ttl <= 7
        assert lookup.report("dead.test", AT).ttl == 3

    def test_one_unknown_host_does_not_shorten_what_another_one_proves(self, lookup):
        assert lookup.report("unknownfirst.care.test", AT).ttl > DnsSettings.unknown_ttl
        assert lookup.report("onlyunknown.care.test", AT).ttl <= DnsSettings.unknown_ttl

    def test_an_unknown_domain_is_asked_again_soon_and_then_known(self, own_dns):
        now = [0.0]
        lookup = own_lookup(own_dns, now)
        own_dns.reload(Zone("new.test", dead=True))
        assert lookup.report("new.test", AT).status is UNKNOWN
        own_dns.reload(Zone("new.test", [f"@ TXT {txt(START + ';ntamx=10 nta.care.test')}"]))
        assert lookup.report("new.test", AT).status is UNKNOWN
        now[0] += DnsSettings.unknown_ttl
        assert lookup.report("new.test", AT).status is COMPLIANT

    def test_a_record_that_is_withdrawn_counts_no_longer_than_its_time_to_live(self, own_dns):
        now = [0.0]
        lookup = own_lookup(own_dns, now)
        report = lookup.report("care.test", AT)
        assert report.status is COMPLIANT
        own_dns.reload(Zone("care.test", ["nta A 192.0.2.1"]))
        now[0] += report.ttl - 1
        assert lookup.report("care.test", AT).status is COMPLIANT
        now[0] += 2
        assert codes(lookup.report("care.test", AT).reasons) == ["record-absent"]

    def test_flushing_asks_anew(self, own_dns):
        lookup = own_lookup(own_dns, [0.0])
        assert lookup.report("care.test", AT).status is COMPLIANT
        own_dns.reload(
            Zone("care.test", [f"@ TXT {txt(START + ';ntamx=10 nta.care.test')}", "nta A 192.0.2.1"])
        )
        assert lookup.report("care.test", AT).status is COMPLIANT
        assert lookup.flush("Care.test")
        assert not lookup.flush("care.test")
        assert codes(lookup.report("care.test", AT).hosts[0].reasons) == ["tlsa-absent"]

    def test_a_hot_domain_is_refreshed_before_it_expires_with_what_is_new(self, own_dns):
        now = [0.0]
        lookup = own_lookup(own_dns, now)
        for _ in range(4):
            ttl = lookup.report("care.test", AT).ttl
        own_dns.reload(
            Zone("care.test", [f"@ TXT {txt(START + ';ntamx=10 nta.care.test')}", "nta A 192.0.2.1"])
        )
        now[0] += ttl * 0.95
        assert lookup.report("care.test", AT).status is COMPLIANT
        for _ in range(1000):
            if lookup.report("care.test", AT).status is NOT_COMPLIANT:
                break
            time.sleep(0.01)
        assert codes(lookup.report("care.test", AT).hosts[0].reasons) == ["tlsa-absent"]
        assert lookup.counters()["domains"].prefetches == 1

    def test_a_refresh_that_fails_leaves_what_is_still_true(self, own_dns):
        now = [0.0]
        lookup = own_lookup(own_dns, now)
        for _ in range(4):
            ttl = lookup.report("care.test", AT).ttl
        own_dns.reload(Zone("care.test", [], bogus=True))
        now[0] += ttl * 0.95
        lookup.report("care.test", AT)
        for _ in range(1000):
            if lookup.counters()["domains"].failures:
                break
            time.sleep(0.01)
        assert lookup.report("care.test", AT).status is COMPLIANT
        now[0] += ttl * 0.1
        assert lookup.report("care.test", AT).status is UNKNOWN


def own_lookup(dns, now):
    settings = DnsSettings(servers=dns.servers)
    resolver = DnsResolver(
        settings.servers, trusted=settings.trusted, timeout=1, lifetime=3, clock=lambda: now[0]
    )
    return ComplianceLookup(
        resolver,
        settings,
        prover=lambda: Proof(True, ""),
        executor=ThreadPoolExecutor(4),
        hosts=ThreadPoolExecutor(4),
        clock=lambda: now[0],
    )


class TestTheProof:
    def proof(self, *servers, secure=".", bogus="", trusted=None):
        settings = DnsSettings(servers=servers)
        resolver = DnsResolver(servers, trusted=trusted or settings.trusted, timeout=0.3, lifetime=0.6)
        return prove(resolver, probe_secure=secure, probe_bogus=bogus)

    @pytest.mark.parametrize("secure", [".", "hospital.test", "nothing.hospital.test"])
    @pytest.mark.parametrize("bogus", ["", "host.broken.test", "late.test"])
    def test_a_validating_resolver_is_proven(self, dns, secure, bogus):
        assert self.proof(*dns.servers, secure=secure, bogus=bogus).proven

    @pytest.mark.parametrize(
        ("secure", "bogus", "said"),
        [
            ("citizen.test", "", "its answer is not"),
            ("broken.test", "", "dnssec bogus"),
            (".", "hospital.test", "it answers for 'hospital.test', which is bogus"),
            (".", "host.citizen.test", "which is bogus"),
            (".", "nothing.hospital.test", "which is bogus"),
        ],
    )
    def test_no_proof(self, dns, secure, bogus, said):
        proof = self.proof(*dns.servers, secure=secure, bogus=bogus)
        assert not proof.proven
        assert said in proof.reason

    def test_a_resolver_that_does_not_validate(self):
        def lying(question):
            made = response(question)
            made.flags &= ~0x0020
            return made.to_wire()

        with udp_server(lying) as (server, _):
            proof = self.proof(server)
        assert not proof.proven
        assert "does not validate" in proof.reason

    def test_a_resolver_that_sets_ad_on_everything_is_found_out_by_a_bogus_name(self):
        with udp_server(lambda question: response(question).to_wire()) as (server, _):
            assert self.proof(server).proven
            assert not self.proof(server, bogus="host.broken.test").proven

    def test_a_resolver_whose_word_does_not_count(self, dns):
        proof = self.proof(*dns.servers, trusted=[ipaddress.ip_network("192.0.2.0/24")])
        assert not proof.proven
        assert "dns.trusted" in proof.reason

    def test_nobody_there(self):
        assert "refused" in self.proof(f"127.0.0.1:{free_port()}").reason

    def test_a_dead_one_beside_a_good_one_spoils_nothing_and_is_named(self, dns):
        dead = f"127.0.0.1:{free_port()}"
        proof = self.proof(dead, *dns.servers)
        assert proof.proven
        assert dead in proof.reason

    def test_a_lying_one_beside_a_good_one_spoils_it(self, dns):
        with udp_server(
            lambda question: response(question).to_wire().replace(b"\x81\xa0", b"\x81\x80", 1)
        ) as (
            server,
            _,
        ):
            assert not self.proof(*dns.servers, server).proven

    def test_without_proof_every_domain_is_unknown_and_the_reason_says_why(self, dns):
        lookup = ComplianceLookup.from_settings(DnsSettings(servers=dns.servers, probe_secure="citizen.test"))
        reports = lookup.reports(["hospital.test", "nothing.care.test"], AT, 20)
        for report in reports.values():
            assert (report.status, codes(report.reasons)) == (UNKNOWN, ["resolver-not-proven"])
            assert "citizen.test" in report.reasons[0].text

    def test_when_the_proof_is_lost_nothing_learnt_is_believed(self, dns):
        proofs = [Proof(True, ""), Proof(False, "lost"), Proof(True, "")]
        settings = DnsSettings(servers=dns.servers)
        lookup = ComplianceLookup(
            DnsResolver(dns.servers, trusted=settings.trusted, timeout=1, lifetime=3),
            settings,
            prover=lambda: proofs.pop(0),
            executor=ThreadPoolExecutor(2),
            hosts=ThreadPoolExecutor(2),
        )
        assert lookup.report("hospital.test", AT).status is COMPLIANT
        assert not lookup.prove().proven
        assert lookup.report("hospital.test", AT).status is UNKNOWN
        assert lookup.reports(["hospital.test"], AT, 20)["hospital.test"].status is UNKNOWN
        assert lookup.known() == ()
        lookup.prove()
        assert lookup.report("hospital.test", AT).status is COMPLIANT

    def test_it_is_renewed_by_itself(self, dns):
        now, asked = [0.0], []
        settings = DnsSettings(servers=dns.servers)
        lookup = ComplianceLookup(
            DnsResolver(dns.servers, trusted=settings.trusted, timeout=1, lifetime=3),
            settings,
            prover=lambda: asked.append(now[0]) or Proof(len(asked) != 2, ""),
            executor=ThreadPoolExecutor(2),
            hosts=ThreadPoolExecutor(2),
            clock=lambda: now[0],
        )
        for moment in (0, 1, 299, 301, 305, 312, 500):
            now[0] = float(moment)
            lookup.report("hospital.test", AT)
        assert asked == [0, 301, 312]


def test_a_time_zone_that_does_not_exist_is_an_error(dns):
    for name in ("Europe/Amsterdamned", "", "/etc/passwd", "..", "\0"):
        with pytest.raises(ConfigurationError, match=r"dns\.timezone"):
            ComplianceLookup.from_settings(DnsSettings(servers=dns.servers, timezone=name))


def test_every_reason_of_a_domain_or_host_can_be_met(lookup):
    """The closed list holds nothing that no zone of these tests brings about."""
    domains = [f"row{number}.rows.test" for number in range(len(ROWS))] + [
        f"{name}.care.test"
        for name in ("null", "manymx", "none", "onlyunknown", "expired", "later", "oddmx", "nothing")
    ]
    reports = list(lookup.reports([*domains, "citizen.test", "dead.test", ""], AT, 30).values())
    met = {reason.code for report in reports for reason in report.reasons}
    met |= {reason.code for report in reports for host in report.hosts for reason in host.reasons}
    elsewhere = {
        "resolver-not-proven", "deadline", "mx-unknown", "mx-insecure", "address-insecure", "alias-insecure",
        "tlsa-insecure", "tlsa-unknown",
    }  # fmt: skip
    of_other_commands = ("probe-", "own-", "spf-", "dkim-", "dmarc-", "smimea-")
    others = {code.value for code in Code if code.value.startswith(of_other_commands)}
    others |= {"record-ends-soon", "tlsa-mismatch"}
    assert {code.value for code in Code} - met - others == elsewhere
