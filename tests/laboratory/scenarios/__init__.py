"""What the product promises, shown on the real thing; the same functions serve quickstart and the tests.

Each scenario returns its proof in a line, or raises ScenarioFailed with what was seen instead.
"""

from __future__ import annotations

from tests.laboratory.browser import BrowserError
from tests.laboratory.certificates import OpensslError
from tests.laboratory.laboratory import Laboratory, LaboratoryError
from tests.laboratory.namespace import NamespaceError
from tests.laboratory.scenarios import apart, download, failures, follow, line
from tests.laboratory.scenarios.proof import (
    BROKEN,
    CLINIC,
    COLLEAGUE,
    DOCTOR,
    JAN,
    NURSE,
    PIET,
    Scenario,
    ScenarioFailed,
)

__all__ = ["SCENARIOS", "Scenario", "ScenarioFailed", "run"]

SCENARIOS = (
    Scenario("1", f"{DOCTOR} to {NURSE}, sensitive", line.to_the_hospital),
    Scenario("1b", f"25 MB of attachments to {NURSE}", download.too_big),
    Scenario("1c", f"to {CLINIC}, whose domain is compliant and has no certificate", download.readable),
    Scenario("2", f"{DOCTOR} to {JAN}, who has an access code", download.by_the_portal),
    Scenario("2b", f"{DOCTOR} to {PIET}, who has none", download.held),
    Scenario("3", f"signed and encrypted by openssl, to {DOCTOR}", line.to_the_doctor),
    Scenario("3b", f"the same to {COLLEAGUE}, who has no key", line.to_the_colleague),
    Scenario("4", "not sensitive", line.untouched),
    Scenario("5", f"sensitive to {BROKEN}, whose DNSSEC is broken", line.to_a_broken_domain),
    Scenario("6", "one message to nurse, jan, piet, colleague, and one in Bcc", apart.mixed),
    Scenario("6b", "a later milter refuses, the client resets, the worker is away", failures.queued_or_not),
    Scenario("7", "milter stopped, table emptied, message requeued", line.every_failure_defers),
    Scenario("8", "sendmail(1), alias, .forward, always_bcc", line.no_way_around),
    Scenario("9", "refused by the peer, by the citizen, by our own mailbox", failures.reports_are_silent),
    Scenario("10", f"one message to {JAN} and {CLINIC}, followed by its queue id", follow.by_one_id),
)


def run(laboratory: Laboratory, scenario: Scenario) -> tuple[bool, str]:
    """Show one scenario in a laboratory made fresh: whether it holds, and the proof or what was seen."""
    try:
        laboratory.reset()
        return True, scenario.show(laboratory)
    except (ScenarioFailed, OpensslError, LaboratoryError, NamespaceError, BrowserError) as failure:
        return False, str(failure)
