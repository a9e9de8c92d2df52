"""Who is who in the laboratory: zones, addresses, users, and the settings of the milter at care.test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.laboratory.certificates import PASSWORD, Certificates, openssl
from tests.laboratory.dns import Zone, txt
from tests.laboratory.namespace import INSIDE
from tests.laboratory.postfix import NTAMX_ADDRESS

USERS = ("doctor", "colleague", "secretary")
"""Who has a login and a mailbox at care.test."""

LISTENERS = {
    "submission": ("127.0.0.11", 587),
    "inbound": ("127.0.0.11", 25),
    "ntamx": (NTAMX_ADDRESS, 25),
}
STORES = {
    "care": ("care", "dovecot-lmtp"),
    "nta.hospital": ("hospital", "nta.hospital"),
    "mx.hospital": ("hospital", "mx.hospital"),
    "nta.clinic": ("hospital", "nta.clinic"),
    "mx.clinic": ("hospital", "mx.clinic"),
    "mx.citizen": ("citizen", "mx.citizen"),
    "mx.broken": ("citizen", "mx.broken"),
}
"""Where mail can arrive, a store for each receiving host: its Postfix and the name of its socket."""

SERVICES = ("milter", "worker", "portal")
"""Each has a folder for its control socket."""

PORTAL_URL = "http://127.0.0.1:8443"
"""Where a person would open the portal's pages."""

DKIM_SELECTOR = "laboratory"

OPENDKIM = """
Mode {mode}
Domain care.test
Selector {selector}
KeyFile {inside}/opendkim/{selector}.key
UserID opendkim
UMask 0007
Canonicalization relaxed/simple
OversignHeaders From
InternalHosts 127.0.0.1
Syslog no
LogResults yes
{more}
"""
REFUSE_UNSIGNED = f"""Nameservers 127.0.0.1
ResolverConfiguration {INSIDE}/opendkim/resolver.conf
On-NoSignature reject
On-BadSignature reject
On-KeyNotFound reject
On-DNSError tempfail
"""
SASL = """pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN
sasldb_path: /sasl/sasldb2
"""


def record(ntamx: str) -> str:
    """The TXT record of the norm, as a zone-file line for the zone's own name."""
    text = f"v=NTA7516-1;startdate=2024-01;enddate=2099-12;provider=Laboratory;ntamx=10 {ntamx}"
    return f"@ TXT {txt(text)}"


def zones(certificates: Certificates) -> list[Zone]:
    """The domains.

    care and hospital are signed, and clinic, for which we have no certificate; citizen is unsigned, broken
    has signatures that do not fit.
    """
    public = openssl("rsa", "-in", certificates.plain_key("dkim"), "-pubout", "-outform", "PEM").decode()
    dkim = "v=DKIM1; k=rsa; p=" + "".join(public.splitlines()[1:-1])
    care, hospital = certificates.host("nta.care.test"), certificates.host("nta.hospital.test")
    return [
        Zone(
            "care.test",
            [
                "@ MX 10 mx.care.test.",
                "mx A 127.0.0.11",
                f"nta A {NTAMX_ADDRESS}",
                record("nta.care.test"),
                f"_25._tcp.nta TLSA {care.tlsa()}",
                f"{DKIM_SELECTOR}._domainkey TXT {txt(dkim)}",
            ],
        ),
        Zone(
            "hospital.test",
            [
                "@ MX 10 mx.hospital.test.",
                "mx A 127.0.0.22",
                "nta A 127.0.0.21",
                record("nta.hospital.test"),
                f"_25._tcp.nta TLSA {hospital.tlsa()}",
            ],
        ),
        Zone(
            "clinic.test",
            [
                "@ MX 10 mx.clinic.test.",
                "mx A 127.0.0.24",
                "nta A 127.0.0.23",
                record("nta.clinic.test"),
                f"_25._tcp.nta TLSA {hospital.tlsa()}",  # the hospital's Postfix serves both
            ],
        ),
        Zone("citizen.test", ["@ MX 10 mx.citizen.test.", "mx A 127.0.0.31"], signed=False),
        Zone(
            "broken.test",
            ["@ MX 10 mx.broken.test.", "mx A 127.0.0.41", record("mx.broken.test")],
            bogus=True,
        ),
    ]


def milter_settings(folder: Path, certificates: Certificates, changes: Mapping[str, Any]) -> Path:
    """Write the milter's folder at care.test: keys, certificates, trust and nta-milter.toml.

    ``changes`` replaces whole tables: ``policy={"mode": "always"}``.
    """
    for each in ("keys", "certificates", "trust", "spool", *(f"control/{name}" for name in SERVICES)):
        (folder / each).mkdir(parents=True)
        (folder / each).chmod(0o750)
    certificates.pkcs12(
        certificates.person("doctor@care.test", "Dokter de Wit"), folder / "keys" / "doctor@care.test.p12"
    )
    gateway = certificates.gateway("hospital.test").certificate
    (folder / "certificates" / "hospital.test.pem").write_bytes(gateway.read_bytes())
    (folder / "trust" / "authority.pem").write_bytes(certificates.authority.certificate.read_bytes())
    (folder / "keys-password").write_text(PASSWORD + "\n")
    (folder / "keys-password").chmod(0o600)
    inside = INSIDE / "care" / "nta-milter"
    tables: dict[str, Any] = {
        "policy": {"mode": "content", "words": ["diagnose", "behandelplan"]},
        "milter": {
            "socket": "unix:/var/spool/postfix/nta-milter/milter.sock",
            "spool": f"{inside}/spool",
            "hostname": "mx.care.test",
            "control": f"{inside}/control/milter",
        },
        "listeners": [{"side": side} for side in ("outbound", "inbound", "ntamx")],
        "internal": {"domains": ["care.test"]},
        "dns": {"servers": ["127.0.0.1"], "probe_secure": "care.test", "probe_bogus": "broken.test"},
        "smime": {
            "keys": f"{inside}/keys",
            "certificates": f"{inside}/certificates",
            "trust": f"{inside}/trust",
        },
        "routing": {"postfix": "/etc/postfix"},
        "audit": {"file": f"{inside}/audit.jsonl"},
        "secrets": {"keys_password": f"{inside}/keys-password"},
        **changes,
    }
    file = folder / "nta-milter.toml"
    scalars = {name: value for name, value in tables.items() if isinstance(value, str)}
    rest = {name: table for name, table in tables.items() if name not in scalars}
    file.write_text(_keys(scalars) + "".join(_toml(name, table) for name, table in rest.items()))
    return file


def secure_download(inside: Path = INSIDE / "care" / "nta-milter") -> dict[str, Any]:
    """The tables that give care.test a store, a worker and a portal, all in the milter's folder."""
    return {
        "store": {
            "url": f"sqlite:///{inside}/store.sqlite",
            "blobs": f"{inside}/blobs",
            "public": f"{inside}/public",
        },
        "portal": {
            "url": PORTAL_URL,
            "socket": f"unix:{inside}/portal.sock",
            "control": f"{inside}/control/portal",
        },
        "worker": {"interval": 1, "control": f"{inside}/control/worker"},
        "notification": {"organisation": "Zorggroep Care"},
        "secrets": {
            "keys_password": f"{inside}/keys-password",
            **{f"{name}_key": f"{inside}/secrets/{name}-key" for name in ("portal", "worker")},
        },
    }


def _toml(name: str, table: Any) -> str:
    """One table, or array of tables; JSON's strings, numbers and lists are TOML's too."""
    if isinstance(table, list):
        return "".join(f"[[{name}]]\n{_keys(each)}\n" for each in table)
    return f"[{name}]\n{_keys(table)}\n"


def _keys(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
