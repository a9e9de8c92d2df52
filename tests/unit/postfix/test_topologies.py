"""What the doctor says of listeners in front of us, of scanners, and of a provider's connector."""

import dataclasses
import re
from ipaddress import ip_network

import pytest

from nta_milter.config.model import InternalSettings, ListenerSettings, PolicySettings, Settings
from nta_milter.postfix.configuration import Postfix
from nta_milter.postfix.doctor import examine
from nta_milter.postfix.finding import Level
from tests.unit.postfix.conftest import SHIPPED, cold, edit, services

SIDES = ("outbound", "connector", "inbound", "ntamx")
CONNECTOR = {"tls_names": ("mail.protection.outlook.com",), "organisations": ("care.test",)}
SETTINGS = Settings(
    policy=PolicySettings(mode="content"),
    internal=InternalSettings(domains=("care.test",)),
    listeners=tuple(
        ListenerSettings(side=side, **(CONNECTOR if side == "connector" else {})) for side in SIDES
    ),
)


def arranged(folder, *topologies, without=()):
    """The configuration with topologies on it, as their pages say."""
    master = services((folder / "master.cf").read_text())
    for topology in topologies:
        for file in (each for each in (SHIPPED / "topologies" / topology).iterdir() if each.is_file()):
            text = file.read_text().replace("/etc/postfix", str(folder))
            if file.name == "master.cf":
                master |= services(text)
            elif file.name == "next-hop":
                for table in ("nta_route", "nta_hand", "nta_requeue"):
                    edit(folder / table, r"nta-inside:\S+", text.strip())
            elif file.suffix == ".more":
                (folder / file.stem).write_text((folder / file.stem).read_text() + text)
            elif file.name == "main.cf":
                kept = (folder / "main.cf").read_text()
                for name in re.findall(r"^(\w+) =", text, re.MULTILINE):
                    kept = re.sub(rf"^{name} =.*\n", "", kept, flags=re.MULTILINE)
                (folder / "main.cf").write_text(kept + text)
            else:
                (folder / file.name).write_text(text)
    lines = [line for name, entry in master.items() if name[0] not in without for line in entry]
    (folder / "master.cf").write_text("\n".join(lines) + "\n")


def found(folder, settings=SETTINGS):
    return {each.code: each for each in examine(Postfix(cold(folder)), settings)}


def faults(folder):
    return {code for code, each in found(folder).items() if each.level is Level.FAULT}


@pytest.mark.parametrize(
    "topologies",
    [("exchange",), ("microsoft-365",), ("front",), ("front", "scanner"), ("rspamd",)],
    ids=" ".join,
)
def test_no_shipped_topology_has_a_fault(configuration, topologies):
    without = ("submission",) if topologies[0] in ("exchange", "microsoft-365") else ()
    arranged(configuration, *topologies, without=without)
    assert faults(configuration) == set(), found(configuration)


def test_a_connector_that_asks_for_no_certificate_is_a_fault(configuration):
    arranged(configuration, "microsoft-365")
    edit(configuration / "master.cf", r"^  -o smtpd_tls_req_ccert=yes\n", "")
    assert "connector-without-certificate" in faults(configuration)


def test_a_connector_that_relays_for_everybody_is_a_fault(configuration):
    arranged(configuration, "microsoft-365")
    edit(
        configuration / "master.cf",
        r"smtpd_relay_restrictions=permit_tls_all_clientcerts,reject",
        "smtpd_relay_restrictions=permit",
    )
    assert "open-outbound" in faults(configuration)


@pytest.mark.parametrize("target", ["127.0.0.1]:10589", "192.0.2.7]:10588"])
def test_a_front_that_leads_elsewhere_than_to_us_is_seen(configuration, target):
    arranged(configuration, "front")
    edit(configuration / "master.cf", r"nta-front:\[127\.0\.0\.1\]:10588 \}", f"nta-front:[{target} }}")
    assert found(configuration)["filter-before-us"].level is Level.WARNING
    edit(configuration / "nta_requeue", r"127\.0\.0\.1\]:10588", target)
    assert "route-not-proven" in faults(configuration)


def test_a_listener_behind_the_front_without_us_is_no_way_back(configuration):
    arranged(configuration, "front")
    edit(
        configuration / "master.cf",
        r"(postfix/behind-front\n)  -o smtpd_milters=\$nta_milter,\$nta_signer",
        r"\1  -o smtpd_milters=$nta_signer",
    )
    assert "route-not-proven" in faults(configuration)


def test_a_scanner_may_stand_before_us_for_what_leaves_and_a_signer_may_not(configuration):
    edit(
        configuration / "master.cf",
        r"=\$nta_milter,\$nta_signer$",
        "=unix:clamav.sock,$nta_milter,$nta_signer",
    )
    assert faults(configuration) == set()
    assert found(configuration)["milter-order"].level is Level.WARNING
    edit(configuration / "master.cf", "unix:clamav.sock", "unix:rspamd.sock")
    assert faults(configuration) == {"milter-order"}


def test_a_scanner_may_stand_behind_us_for_what_arrives_and_a_verifier_may_not(configuration):
    edit(configuration / "master.cf", r"=\$nta_verifier,\$nta_milter$", "=$nta_milter,unix:clamav.sock")
    assert "milter-order" not in found(configuration)
    edit(configuration / "master.cf", "unix:clamav.sock", "unix:opendmarc.sock")
    assert found(configuration)["milter-order"].level is Level.WARNING


@pytest.mark.parametrize(
    ("network", "seen"),
    [("40.92.0.0/15", True), ("2a01:111:f400::/48", True), ("8.8.8.8/32", False), ("10.0.0.0/8", False)],
)
def test_a_whole_public_network_that_counts_as_ours_is_seen(configuration, network, seen):
    outbound = ListenerSettings(side="outbound", clients=(ip_network(network),))
    settings = dataclasses.replace(SETTINGS, listeners=(outbound, *SETTINGS.listeners[1:]))
    assert ("shared-network" in found(configuration, settings)) is seen
