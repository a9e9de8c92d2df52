"""``nta-milter record --check``: what our domain publishes against what we are."""

import contextlib
import io
import json
from dataclasses import dataclass

import pytest

from nta_milter.cli.main import main
from nta_milter.compliance.codes import Code
from tests.laboratory.certificates import openssl
from tests.laboratory.dns import Dns, Zone, txt
from tests.laboratory.ports import free_port

NAMES = "subjectAltName=DNS:nta.care.test,email:doctor@care.test,email:other@elsewhere.test"
RECORD = "v=NTA7516-1;startdate=2026-01;enddate=2028-12;provider=x;ntamx=10 nta.care.test"
DKIM = "v=DKIM1; k=rsa; p=MIIB"
SUBJECTS = [
    "NTA 7516 record of care.test",
    "SPF of care.test",
    "DMARC of care.test",
    "DKIM of care.test, selector mail",
    "SMIMEA of doctor@care.test",
    "TLSA of nta.care.test",
]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments):
    """The command in this process: there are many of them here."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = main(["record", *map(str, arguments)])
    return Done(status, output.getvalue(), errors.getvalue())


class Site:
    """Our configuration, our key, and our zone, which a test may spoil."""

    def __init__(self, folder, dns):
        self.dns = dns
        self.keys = folder / "keys"
        self.keys.mkdir(mode=0o700)
        self.certificate = folder / "certificate.pem"
        private = folder / "private.pem"
        made = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=x", "-addext", NAMES)
        openssl("req", *made, "-keyout", private, "-out", self.certificate)
        key = self.keys / "doctor.pem"
        key.touch(mode=0o600)
        key.write_bytes(private.read_bytes() + self.certificate.read_bytes())
        self.configuration = folder / "nta-milter.toml"
        self.configuration.write_text(
            f'[policy]\nmode = "always"\n[internal]\ndomains = ["care.test"]\n[smime]\nkeys = "{self.keys}"\n'
            f'[dns]\nservers = ["{dns.servers[0]}"]\n'
        )
        printed = run("--tlsa", self.certificate, "--smimea", self.certificate, "--json").stdout
        made = {each["type"]: each for each in map(json.loads, printed.splitlines()[:2])}
        self.records = {
            "record": f"@ TXT {txt(RECORD)}",
            "address": "nta A 192.0.2.1",
            "tlsa": f"_25._tcp.nta TLSA {made['TLSA']['data']}",
            "smimea": f"{made['SMIMEA']['name']}. SMIMEA {made['SMIMEA']['data']}",
            "spf": f"@ TXT {txt('v=spf1 mx -all')}",
            "dkim": f"mail._domainkey TXT {txt(DKIM)}",
            "dmarc": f"_dmarc TXT {txt('v=DMARC1; p=reject')}",
        }

    def check(self, *more, at="2026-11-24T12:00:00Z", signed=True, **changed):
        records = {**self.records, **changed}
        lines = [line for each in records.values() for line in ([each] if isinstance(each, str) else each)]
        self.dns.reload(Zone("care.test", lines, signed=signed))
        arguments = ["--check", "--config", self.configuration, "--tlsa", self.certificate, "--dkim", "mail"]
        return run(*arguments, "--at", at, *more)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with Dns(folder / "dns", [Zone("care.test")], port=free_port()) as dns:
        yield Site(folder, dns)


def findings(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def codes(done):
    return sorted({reason["code"] for finding in findings(done) for reason in finding["reasons"]})


def test_all_is_well(site):
    done = site.check("--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [each["subject"] for each in findings(done)] == SUBJECTS
    assert codes(done) == []
    assert all(each["publish"] is None for each in findings(done))


def test_a_person_reads_it(site):
    done = site.check(dmarc=[])
    assert done.returncode == 1
    assert "ok   SPF of care.test" in done.stdout
    assert "FAIL DMARC of care.test: there is no DMARC record [dmarc-absent]" in done.stdout
    assert 'publish: _dmarc.care.test. 86400 IN TXT "v=DMARC1; p=reject"' in done.stdout


OTHER = "ab" * 32


MATTERS = [
    ({"record": []}, ["record-absent"]),
    ({"address": []}, ["hosts-unusable"]),
    ({"tlsa": []}, ["hosts-unusable", "tlsa-absent"]),
    ({"tlsa": f"_25._tcp.nta TLSA 3 1 1 {OTHER}"}, ["tlsa-mismatch"]),
    ({"tlsa": f"_25._tcp.nta TLSA 2 1 1 {OTHER}"}, ["tlsa-mismatch"]),
    ({"smimea": []}, ["smimea-absent"]),
    ({"spf": []}, ["spf-absent"]),
    ({"spf": "@ TXT " + txt("v=spf10 -all")}, ["spf-absent"]),
    ({"spf": [f"@ TXT {txt('v=spf1 -all')}", f"@ TXT {txt('v=spf1 mx -all')}"]}, ["spf-several"]),
    ({"spf": "@ TXT " + txt("v=spf1 mx ~all")}, ["spf-not-strict"]),
    ({"spf": "@ TXT " + txt("v=spf1")}, ["spf-not-strict"]),
    ({"spf": "@ TXT " + txt("v=spf1 redirect=spf.hospital.test")}, []),
    ({"dkim": []}, ["dkim-absent"]),
    ({"dkim": "mail._domainkey TXT " + txt("v=DKIM1; p=")}, ["dkim-revoked"]),
    ({"dkim": "mail._domainkey TXT nothing"}, ["dkim-absent"]),
    ({"dmarc": []}, ["dmarc-absent"]),
    ({"dmarc": "_dmarc TXT " + txt("v=DMARC1; p=none")}, ["dmarc-not-strict"]),
    ({"dmarc": "_dmarc TXT " + txt("v=DMARC1; p=reject; pct=50")}, ["dmarc-not-strict"]),
    ({"dmarc": "_dmarc TXT " + txt("v=DMARC1;p=quarantine;pct=100")}, []),
    (
        {"dmarc": [f"_dmarc TXT {txt('v=DMARC1; p=reject')}", f"_dmarc TXT {txt('v=DMARC1; p=none')}"]},
        ["dmarc-several"],
    ),
]


@pytest.mark.parametrize(("changed", "found"), MATTERS)
def test_what_is_the_matter(site, changed, found):
    done = site.check("--json", **changed)
    assert codes(done) == found
    refusals = [code for code in found if code != "smimea-absent"]
    assert done.returncode == bool(refusals)


@pytest.mark.parametrize(
    ("changed", "spoilt"),
    [
        ("tlsa", []),
        ("smimea", []),
        ("dmarc", []),
        ("dmarc", "_dmarc TXT " + txt("v=DMARC1; p=none; pct=20; rua=mailto:dmarc@care.test")),
        ("spf", []),
        ("spf", "@ TXT " + txt("v=spf1 mx ip4:192.0.2.1 ~all")),
        ("spf", "@ TXT " + txt("v=spf1 mx all")),
        ("spf", "@ TXT " + txt("v=spf1 " + " ".join(f"ip4:192.0.2.{i}" for i in range(40)) + " ?all")),
    ],
)
def test_the_line_to_publish_mends_it(site, changed, spoilt):
    broken = site.check("--json", **{changed: spoilt})
    (line,) = [each["publish"] for each in findings(broken) if each["publish"]]
    mended = site.check("--json", **{changed: f"{line['name']}. {line['type']} {line['data']}"})
    assert (mended.returncode, codes(mended)) == (0, [])


def test_a_certificate_that_was_replaced_is_a_mismatch(site):
    smimea = site.records["smimea"]
    other = smimea.partition(" SMIMEA ")[0] + f" SMIMEA 3 1 1 {OTHER}"
    assert codes(site.check("--json", smimea=other)) == ["smimea-mismatch"]
    assert codes(site.check("--json", smimea=[other, smimea])) == []


def test_without_dnssec(site):
    found = codes(site.check("--json", signed=False))
    assert found == ["hosts-unusable", "own-insecure", "record-insecure", "tlsa-insecure"]


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("2028-11-01T12:00:00Z", []),
        ("2028-11-03T12:00:00Z", ["record-ends-soon"]),
        ("2028-12-31T22:00:00Z", ["record-ends-soon"]),
        ("2029-01-01T00:00:00Z", ["record-expired"]),
    ],
)
def test_a_warning_sixty_days_before_the_end(site, at, found):
    assert codes(site.check("--json", at=at)) == found


@pytest.mark.parametrize("at", ["2028-12-01T12:00:00Z", "2029-03-01T00:00:00Z"])
def test_the_line_for_a_record_that_ends_has_another_year(site, at):
    ending = site.check("--json", at=at)
    (line,) = [each["publish"] for each in findings(ending) if each["publish"]]
    assert "startdate=2026-01;enddate=2029-12;provider=x;ntamx=10 nta.care.test" in line["data"]
    mended = site.check("--json", at=at, record=f"{line['name']}. {line['type']} {line['data']}")
    assert (mended.returncode, codes(mended)) == (0, [])


def test_a_resolver_that_is_not_there_leaves_it_open(site):
    done = site.check("--json", "--resolver", f"127.0.0.1:{free_port()}")
    assert done.returncode == 75
    assert codes(done) == ["own-unknown", "resolver-not-proven"]


def test_a_broken_zone_leaves_it_open(site):
    site.check()
    site.dns.reload(Zone("care.test", dead=True))
    done = run("--check", "--config", site.configuration, "--json")
    assert codes(done) == ["own-unknown", "record-unknown"]
    assert done.returncode == 75, done.stdout


def test_another_domain(site):
    done = site.check("--json", "--domain", "nothing.test")
    assert done.returncode == 1
    assert "domain-absent" in codes(done)
    assert not any("doctor" in each["subject"] for each in findings(done))


def test_a_strange_selector_is_not_asked_for(site):
    done = site.check("--json", "--dkim", "a b\n.c")
    assert codes(done) == ["dkim-absent"]


def test_without_a_configuration_it_says_so(tmp_path):
    done = run("--check", "--config", tmp_path / "nothing.toml")
    assert done.returncode == 2
    assert "nothing.toml" in done.stderr


def test_every_code_of_this_command_was_met():
    prefixes = ("own-", "spf-", "dkim-", "dmarc-", "smimea-")
    met = {code for _, found in MATTERS for code in found} | {
        "own-unknown",
        "own-insecure",
        "smimea-mismatch",
    }
    assert {code.value for code in Code if code.value.startswith(prefixes)} == {
        code for code in met if code.startswith(prefixes)
    }
