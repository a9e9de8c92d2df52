"""What the product promises, shown in the laboratory with the real milter: the scenarios of quickstart."""

from __future__ import annotations

import pytest

from tests.laboratory import Laboratory
from tests.laboratory.scenarios import SCENARIOS, Scenario, run


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.number)
def test_scenario(portal: Laboratory, scenario: Scenario) -> None:
    assert scenario.show(portal)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.number)
def test_a_milter_that_does_nothing_fails(
    idle: Laboratory, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "patience", 1.0)
    good, seen = run(idle, scenario)
    assert good == (scenario.number == "4"), seen
