"""What the product promises, shown in the laboratory with the real milter: the scenarios of quickstart."""

from __future__ import annotations

import pytest

from tests.laboratory import Laboratory
from tests.laboratory.scenarios import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.number)
def test_scenario(laboratory: Laboratory, scenario: Scenario) -> None:
    assert scenario.show(laboratory)
