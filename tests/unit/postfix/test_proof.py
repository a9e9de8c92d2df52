"""The proof of the routing tables, asked of real Postfix commands on a rendered configuration.

Each fault that would send a routed message by the ordinary way, or lose its route, must be seen and named.
"""

import time
from pathlib import Path

import pytest

from nta_milter.postfix import proof as proof_module
from nta_milter.postfix.configuration import Postfix
from nta_milter.postfix.proof import RoutingProver, prove
from nta_milter.postfix.running import UNSEEN
from tests.unit.postfix.conftest import cold, edit

OURS = "nta-milter/milter.sock"


def faults(folder):
    return prove(Postfix(cold(folder)), 0.0, ours=OURS, copies=True).faults


def test_the_shipped_fragments_are_proven(configuration):
    proof = prove(Postfix(configuration), 0.0, ours=OURS, copies=True)
    assert proof.faults == ()
    assert proof.unasked == ""
    assert proof.proven
    assert proof.inside
    assert proof.message_size_limit == 50_000_000
    seen = {Path(name).name for name, *_ in proof.state}
    assert {"main.cf", "master.cf", "nta_route", "nta_requeue", "nta_strip"} <= seen


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "named"),
    [
        ("nta_route", r"(?s).*", "", "milter_header_checks"),
        ("nta_route", r"^/\^X-Nta-Route:/ REJECT.*$", "", "milter_header_checks"),
        ("nta_route", r"FILTER nta:\$1", "FILTER smtp:$1", "milter_header_checks"),
        ("nta_route", r"^/\^X-Nta-Route: mx\$/ FILTER nta:", "/^X-Nta-Route: mx$/ FILTER smtp:", "mx"),
        ("nta_requeue", r"(?s).*", "", "cleanup-nta-requeue header_checks"),
        ("nta_requeue", r"^/\^X-Nta-Guard.*$", "", "X-Nta-Guard"),
        ("nta_strip", r"(?s).*", "", "smtp_header_checks"),
        ("main.cf", r"^milter_header_checks.*$", "", "milter_header_checks is empty"),
        ("main.cf", r"^smtp_header_checks.*$", "", "smtp/unix smtp_header_checks"),
        ("main.cf", r"^milter_default_action.*$", "milter_default_action = accept", "milter_default_action"),
        ("master.cf", r"dane-only", "dane", "smtp_tls_security_level"),
        ("master.cf", r"-o smtp_tls_policy_maps=", "", "smtp_tls_policy_maps"),
        (
            "master.cf",
            r"-o smtp_fallback_relay=",
            "-o smtp_fallback_relay=[relay.test]",
            "smtp_fallback_relay",
        ),
        ("master.cf", r"-o smtp_tls_per_site=", "", "smtp_tls_per_site"),
        ("master.cf", r"^nta unix(.*)smtp$", r"nta unix\1lmtp", "no transport nta/unix"),
        ("master.cf", r"^nta unix", "other unix", "no transport nta/unix"),
        ("master.cf", r"-o \{ content_filter = retry.*$", "", "content_filter"),
        ("master.cf", r"^  -o header_checks=regexp:.*nta_hand$", "", "cleanup-nta header_checks"),
        ("nta_hand", r"(?s).*", "", "cleanup-nta header_checks"),
        ("nta_hand", r"^/\^Received.*$", "", "X-Nta-Guard: on"),
        ("nta_hand", r"FILTER nta:\$1", "FILTER smtp:$1", "cleanup-nta header_checks"),
        ("master.cf", r" -o body_checks=$", "", "body_checks is inherited"),
        ("master.cf", r"-o nested_header_checks= ", "", "nested_header_checks is inherited"),
        ("master.cf", r"no_address_mappings,no_unknown_recipient_checks\n  -o \{", "\n  -o {", "no_address"),
        ("master.cf", r"-o lmtp_header_checks=.*$", "-o lmtp_header_checks=", "nta-inside/unix lmtp_header"),
        ("main.cf", r"\Z", "default_filter_nexthop = [mx.care.test]\n", "default_filter_nexthop"),
        ("nta_transport", r"^/\^commit.*$", "", "transport_maps"),
        ("nta_transport", r"^/\^nta-bounce.*$", "", "transport_maps"),
        ("main.cf", r"^transport_maps.*$", "", "transport_maps is empty"),
        ("nta_keep", r"^/\^\(commit.*$", "", "virtual_alias_maps"),
        ("main.cf", r"\Z", "canonical_maps = inline:{{@nta.invalid = x@care.test}}\n", "canonical_maps"),
        ("master.cf", r"^nta-commit unix(.*)lmtp$", r"nta-commit unix\1smtp", "nta-commit/unix"),
        ("master.cf", r"^pickup unix", "uppick unix", "pickup cleanup header_checks"),
    ],
)
def test_invariant_1_each_fault_of_the_tables_is_named(configuration, file, pattern, replacement, named):
    edit(configuration / file, pattern, replacement)
    found = faults(configuration)
    assert found
    assert any(named in fault for fault in found)


def test_invariant_14_a_pickup_without_its_override_loses_the_route_on_requeue(configuration):
    edit(configuration / "master.cf", r"^  -o cleanup_service_name=cleanup-nta-requeue$", "")
    assert any("pickup cleanup header_checks" in fault for fault in faults(configuration))


@pytest.mark.parametrize("parameter", ["always_bcc", "sender_bcc_maps", "recipient_bcc_maps"])
def test_invariant_3_blind_copies_behind_our_back_are_a_fault(configuration, parameter):
    with (configuration / "main.cf").open("a") as main:
        main.write(f"{parameter} = archive@citizen.test\n")
    assert faults(configuration) == ()
    edit(configuration / "master.cf", rf"-o {parameter}=", "")
    assert any(parameter in fault for fault in faults(configuration))


def test_a_configuration_that_cannot_be_read_proves_nothing(tmp_path):
    proof = prove(Postfix(tmp_path / "nowhere"), 0.0)
    assert not proof.proven
    assert not proof.inside
    assert "nowhere" in proof.faults[0]


def test_a_changed_file_is_proven_again_at_once(configuration):
    prover = RoutingProver(configuration, interval=3600)
    assert prover.current().proven
    assert prover.current() is prover.current()
    (configuration / "nta_route").write_text("")
    assert not prover.current().proven


def test_a_configuration_that_changes_while_it_is_read_is_proven_again_at_once(configuration):
    class Edited(Postfix):
        """Somebody writes main.cf when the first parameters have been read."""

        def read(self):
            found = super().read()
            if not edits:
                edits.append((configuration / "main.cf").write_text(main + "# edited\n"))
            return found

    edits, main = [], (configuration / "main.cf").read_text()
    prover = RoutingProver(configuration, interval=3600)
    prover._postfix = Edited(configuration)
    assert "changed while it was read" in prover.current().faults[0]
    assert prover.current().proven


def test_an_old_proof_is_made_again(configuration):
    prover = RoutingProver(configuration, interval=0)
    first = prover.current()
    time.sleep(0.01)
    assert prover.current() is not first


def test_a_missing_table_is_a_fault(configuration):
    (configuration / "nta_route").unlink()
    assert any("milter_header_checks" in fault for fault in faults(configuration))


def test_invariant_1_a_changed_table_counts_when_all_that_run_have_read_it(configuration, monkeypatch):
    running = [""]
    monkeypatch.setattr(proof_module, "outdated", lambda files, queue, runs: running[-1])
    wanted = []
    prover = RoutingProver(configuration, interval=3600)
    prover.watch(lambda: wanted.append(True), "not yet")
    assert prover.current().faults == ("not yet",)
    seen = prover.known
    prover.looked(seen, "")
    assert prover.current().proven
    assert wanted == []
    table = next(Path(name) for name, *_ in seen.read_once if name.endswith("nta_route"))
    text = table.read_text()
    running.append("cleanup[1] is old")
    table.write_text("")
    assert not prover.current().proven
    table.write_text(text)
    assert prover.current().faults == ("cleanup[1] is old",)
    assert not prover.current().inside
    assert wanted
    prover.looked(seen, "")  # of before the change: it says nothing about the table that is there now
    assert not prover.current().proven
    fresh = RoutingProver(configuration, interval=3600)
    fresh.follow(prover)
    assert not fresh.current().proven
    running.append("")
    prover.looked(prover.known, "")
    assert prover.current().proven
    running.append("cleanup[1] is old")
    fresh = RoutingProver(configuration, interval=3600)
    fresh.follow(prover)
    assert fresh.current().proven
    table.write_text(text)
    later = RoutingProver(configuration, interval=3600)
    later.follow(fresh)
    assert later.current().faults == ("cleanup[1] is old",)
    running.append("")
    assert later.current().proven, "a reload counts at once"
    running.append(UNSEEN)
    later.looked(later.known, "", runs=True)
    running.append("")
    assert later.current().faults == (UNSEEN,), "but what nobody could see stays unseen until the next look"
    running.append("")
    table.write_text(text)
    after = RoutingProver(configuration, interval=3600)
    after.follow(fresh)
    assert after.current().proven
