"""SMIMEA records in zones signed by ldnsutils and served by a validating unbound."""

from __future__ import annotations

import pytest

from nta_milter.config.key import LOOPBACK
from nta_milter.lookup.resolver import DnsResolver
from nta_milter.smime.directory import CertificateDirectory
from nta_milter.smime.smimea import Smimea, owner_name
from tests.laboratory.dns import Dns, Zone
from tests.laboratory.ports import free_port
from tests.unit.smime.persons import NOW, person, trust


def _record(address: str, domain: str, usage: int = 3) -> str:
    label = (owner_name(address) or "").removesuffix(f".{domain}")
    return f"{label} SMIMEA {usage} 0 0 {person('rsa').certificate.der.hex()}"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    zones = [
        Zone("care.test", [_record("rsa@care.test", "care.test"), "@ A 127.0.0.1"]),
        Zone("plain.test", [_record("rsa@plain.test", "plain.test")], signed=False),
        Zone("broken.test", [_record("rsa@broken.test", "broken.test")], bogus=True),
    ]
    with Dns(tmp_path_factory.mktemp("dns"), zones, port=free_port()) as dns:
        resolver = DnsResolver(dns.servers, trusted=LOOPBACK, timeout=2.0, lifetime=5.0)
        yield CertificateDirectory({}, (Smimea(resolver, trust()),))


@pytest.mark.parametrize(
    ("address", "code", "unknown"),
    [
        ("rsa@care.test", "certificate-smimea", False),
        ("nobody@care.test", "certificate-none", False),
        ("rsa@plain.test", "smimea-insecure", False),
        ("rsa@broken.test", "smimea-unknown", True),
    ],
)
def test_only_a_secure_answer_gives_a_certificate(directory, address, code, unknown):
    found = directory.find(address, NOW)
    assert [reason.code for reason in found.reasons] == [code]
    assert found.unknown is unknown
    assert (found.certificate is not None) is (code == "certificate-smimea")
    if found.certificate is not None:
        assert found.certificate.certificate == person("rsa").certificate
