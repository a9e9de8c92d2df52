"""``nta-milter check`` and ``nta-milter record`` as a person or a program runs them."""

import hashlib
import json
import subprocess
import sys

import pytest

from nta_milter.compliance.codes import Code
from tests.laboratory.certificates import openssl
from tests.laboratory.dns import Zone
from tests.laboratory.ports import free_port

KEYS = ["domain", "status", "secure", "record", "hosts", "reasons", "ttl"]


def run(*arguments):
    command = [sys.executable, "-W", "error", "-m", "nta_milter.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


class TestCheck:
    def check(self, dns, *arguments):
        return run("check", *arguments, "--resolver", dns.servers[0], "--at", "2026-11-24T12:00:00Z")

    @pytest.mark.parametrize(
        ("domains", "status"),
        [
            (["hospital.test"], 0),
            (["hospital.test", "care.test"], 0),
            (["citizen.test"], 1),
            (["hospital.test", "citizen.test"], 1),
            (["broken.test"], 75),
            (["citizen.test", "broken.test", "hospital.test"], 75),
            (["[192.0.2.1]"], 1),
        ],
    )
    @pytest.mark.parametrize("more", [[], ["--json"]])
    def test_exit_status(self, dns, domains, status, more):
        done = self.check(dns, *domains, *more)
        assert (done.returncode, done.stderr) == (status, "")

    def test_json_is_one_object_for_each_domain_in_order(self, dns):
        domains = ["hospital.test", "citizen.test", "dead.test", "nothing.test", "none.care.test"]
        lines = self.check(dns, *domains, "--json").stdout.splitlines()
        objects = [json.loads(line) for line in lines]
        assert [each["domain"] for each in objects] == domains
        assert all(list(each) == KEYS for each in objects)
        assert [each["status"] for each in objects] == [
            "compliant", "not-compliant", "unknown", "not-compliant", "not-compliant",
        ]  # fmt: skip
        codes = {code.value for code in Code}
        for each in objects:
            assert {reason["code"] for reason in each["reasons"]} <= codes
            for host in each["hosts"]:
                assert list(host) == ["name", "usable", "secure", "tlsa", "reasons"]

    def test_a_person_reads_what_is_the_matter_why_and_how_to_mend_it(self, dns):
        text = self.check(dns, "none.care.test").stdout
        assert "none.care.test: not compliant" in text
        assert "FAIL no receiving host can be reached by mandatory DANE" in text
        assert "FAIL host bare.hospital.test: not usable" in text
        assert "why: Without it the host's certificate cannot be proven." in text
        assert "mend: publish _25._tcp TLSA" in text

    def test_a_good_domain_reads_well(self, dns):
        text = self.check(dns, "hospital.test").stdout
        assert "compliant: mail with health data can be sent there directly" in text
        assert "FAIL" not in text

    def test_unknown_is_not_shown_as_a_failure(self, dns):
        text = self.check(dns, "onlyunknown.care.test").stdout
        assert "WAIT host tobogus.hospital.test" in text
        assert "unknown: it cannot be established now" in text

    def test_the_date_is_that_of_at(self, dns):
        late = run("check", "hospital.test", "--resolver", dns.servers[0], "--at", "2029-01-01T00:00:00Z")
        assert late.returncode == 1
        assert "the record has expired: enddate=2028-12 [record-expired]" in late.stdout

    def test_no_resolver_is_temporary_and_says_so(self):
        done = run("check", "hospital.test", "--resolver", f"127.0.0.1:{free_port()}")
        assert done.returncode == 75
        assert "Connection refused" in done.stdout

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--resolver", "localhost"],
            ["--resolver", "127.0.0.1:port"],
            ["--at", "tomorrow"],
            ["--unknown"],
        ],
    )
    def test_bad_usage(self, arguments):
        done = run("check", "hospital.test", *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr

    def test_a_probe_that_nobody_answers_is_a_no(self, dns):
        published = '@ TXT "v=NTA7516-1;startdate=2026-01;enddate=2028-12;provider=x"'
        tlsa = "_25._tcp.mx TLSA 3 1 1 " + "ab" * 32
        own = Zone("probe.test", [published, "@ MX 10 mx", "mx A 127.0.0.77", tlsa])
        dns.reload(own)
        done = self.check(dns, "probe.test", "--probe", "--json")
        described = json.loads(done.stdout)
        assert done.returncode == 1
        assert (described["status"], len(described["probes"])) == ("compliant", 1)
        assert described["probes"][0]["reasons"][0]["code"] == "probe-connection"


class TestRecord:
    @pytest.fixture
    def certificate(self, tmp_path):
        key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", file, "-subj", "/CN=x", "-days", "30",
            "-addext", "subjectAltName=DNS:nta.care.test,DNS:*.care.test,email:doctor@care.test",
        )  # fmt: skip
        return file

    def test_what_is_printed_is_served_and_found_compliant(self, own_dns, certificate):
        done = run(
            "record", "--domain", "Care.test", "--startdate", "2026-01", "--enddate", "2028-12",
            "--provider", 'Zörg "en" \\ co', "--ntamx", "10 nta.care.test", "--tlsa", str(certificate),
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        own_dns.reload(Zone("care.test", [*done.stdout.splitlines(), "nta A 192.0.2.1"]))
        checked = run(
            "check", "care.test", "--resolver", own_dns.servers[0], "--at", "2026-11-24T12:00:00Z", "--json"
        )
        report = json.loads(checked.stdout)
        assert report["status"] == "compliant"
        assert report["record"]["provider"] == 'Zörg "en" \\ co'
        assert report["reasons"] == []
        assert len(report["hosts"][0]["tlsa"]) == 1

    def test_the_tlsa_record_is_what_openssl_says(self, certificate):
        public = openssl("x509", "-in", certificate, "-noout", "-pubkey")
        der = openssl("pkey", "-pubin", "-outform", "DER", stdin=public)
        done = run("record", "--tlsa", str(certificate))
        assert done.stdout == (
            f"_25._tcp.nta.care.test. 86400 IN TLSA 3 1 1 {hashlib.sha256(der).hexdigest()}\n"
        )

    def test_der_is_read_too(self, certificate, tmp_path):
        der = tmp_path / "certificate.der"
        openssl("x509", "-in", certificate, "-outform", "DER", "-out", der)
        assert run("record", "--tlsa", str(der)).stdout == run("record", "--tlsa", str(certificate)).stdout

    def test_hosts_are_those_given_else_those_of_the_record_else_those_of_the_certificate(self, certificate):
        base = ["record", "--tlsa", str(certificate), "--json"]
        record = ["--domain", "care.test", "--startdate", "2026-01", "--enddate", "2028-12",
                  "--ntamx", "10 a.care.test", "--ntamx", "20 b.care.test"]  # fmt: skip

        def hosts(*more):
            objects = [json.loads(line) for line in run(*base, *more).stdout.splitlines()]
            return [each["name"].removeprefix("_25._tcp.") for each in objects if each["type"] == "TLSA"]

        assert hosts() == ["nta.care.test"]
        assert hosts(*record) == ["a.care.test", "b.care.test"]
        assert hosts(*record, "--host", "C.care.test") == ["c.care.test"]

    def test_an_smimea_record(self, certificate):
        der = openssl("x509", "-in", certificate, "-outform", "DER")
        line = json.loads(run("record", "--smimea", str(certificate), "--json").stdout)
        # printf doctor | sha256sum | cut -c1-56
        owner = "72f4be89d6ebab1496e21e38bcd7c8ca0a68928af3081ad7dff87e77"
        assert line == {
            "name": f"{owner}._smimecert.care.test",
            "type": "SMIMEA",
            "data": f"3 0 0 {der.hex()}",
        }

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "give --domain"),
            (["--domain", "care.test"], "needs --domain, --startdate and --enddate"),
            (["--domain", "care.test", "--startdate", "2026-13", "--enddate", "2028-12"], "2026-13"),
            (["--domain", "care.test", "--startdate", "2029-01", "--enddate", "2028-12"], "before startdate"),
            (["--domain", "care.test", "--startdate", "2026-01;x=y", "--enddate", "2028-12"], "not known"),
            (["--domain", "no domain", "--startdate", "2026-01", "--enddate", "2028-12"], "not a domain"),
            (["--tlsa", "/nonexistent"], "/nonexistent: cannot be read"),
            (["--tlsa", "/etc/passwd"], "holds no certificate"),
            (["--smimea", "/etc/passwd"], "holds no certificate"),
            (["--tlsa", "CERTIFICATE", "--host", "bad_host"], "not a host name"),
            (["--smimea", "CERTIFICATE", "--address", "nobody"], "not an address"),
        ],
    )
    def test_what_cannot_be_published_is_an_error_in_words(self, certificate, arguments, said):
        done = run("record", *(str(certificate) if each == "CERTIFICATE" else each for each in arguments))
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
