"""Whatever is killed, and when: each recipient gets his form, once."""

from __future__ import annotations

import pytest

from tests.laboratory import Laboratory
from tests.laboratory.scenarios.apart import (
    EVERYBODY,
    EXPECTED,
    KILL_POINTS,
    KillPoint,
    each_once,
    killed,
    letter,
)
from tests.laboratory.scenarios.download import CODE
from tests.laboratory.scenarios.proof import JAN, accepted, submit


@pytest.mark.parametrize("point", KILL_POINTS, ids=lambda point: point.name.replace(" ", "-"))
def test_invariant_4_killing_changes_nothing_of_what_arrives(portal: Laboratory, point: KillPoint) -> None:
    killed(portal, point)
    assert len(portal.everything()) == len(EXPECTED)


def test_invariant_3_two_equal_messages_that_were_both_meant_both_go(portal: Laboratory) -> None:
    portal.agree(JAN, CODE)
    mail = letter()
    for _ in range(2):
        accepted(submit(portal, mail, *EVERYBODY))
    each_once(portal, mail, times=2)
    assert len(portal.everything()) == 2 * len(EXPECTED)
