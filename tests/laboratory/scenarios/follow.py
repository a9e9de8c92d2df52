"""One id follows a message, from Postfix's log to the recipient who reads it."""

from __future__ import annotations

import json
from typing import Any

from tests.laboratory.laboratory import Laboratory
from tests.laboratory.messages import sensitive
from tests.laboratory.scenarios.download import CODE, notified, opened_by_code
from tests.laboratory.scenarios.proof import (
    CLINIC,
    DOCTOR,
    JAN,
    accepted,
    require,
    submit,
)


def by_one_id(laboratory: Laboratory) -> str:
    """Scenario 10."""
    laboratory.agree(JAN, CODE)
    mail = sensitive(DOCTOR, f"{JAN}, {CLINIC}")
    queue_id = accepted(submit(laboratory, mail, JAN, CLINIC))
    link = notified(laboratory, "mx.citizen", JAN, mail)
    opened_by_code(laboratory.browser(), link)
    wanted = ["prepared", "released", "notified", "portal-opened", "read"]
    shown = laboratory.wait_for(lambda: _complete(laboratory, queue_id), "a timeline that is complete")
    events = _events(shown, JAN)
    require(events == wanted, f"of {JAN} is told: {events}")
    clinic = _events(shown, CLINIC)
    require(clinic == ["prepared", "released", "submitted"], f"of {CLINIC} is told: {clinic}")
    message_id = shown["events"][0]["details"]["message_id"]
    names = [
        message_id,
        shown["deliveries"][0]["message"],
        *(handed[key] for handed in shown["submissions"] for key in ("id", "queue_id")),
    ]
    for name in names:
        require(_shown(laboratory, name) == shown, f"{name} leads to something else")
    text = json.dumps(shown)
    seen = [canary for canary in mail.canaries.values() if canary in text]
    require(not seen, f"it shows {seen}")
    for name, log in (
        ("Postfix", laboratory.log()),
        ("the milter", laboratory.milter_log()),
        ("the worker", laboratory.service_log("worker")),
        ("the portal", laboratory.service_log("portal")),
    ):
        require(f" {queue_id}: " in log, f"the log of {name} does not have it")
    status, said = laboratory.nta_milter("status", "--config", str(laboratory.configuration))
    require(status == 0, f"nta-milter status says: {said}")
    return f"{queue_id} in four logs; {len(names)} other ids lead to the same timeline: {', '.join(wanted)}"


def _shown(laboratory: Laboratory, name: str) -> Any:
    status, said = laboratory.nta_milter(
        "message", "show", name, "--json", "--config", str(laboratory.configuration)
    )
    require(status == 0, f"message show {name}: {said}")
    return json.loads(said)


def _events(shown: Any, recipient: str) -> list[str]:
    return [event["event"] for event in shown["events"] if event["recipients"] == [recipient]]


def _complete(laboratory: Laboratory, name: str) -> Any:
    """What is shown, once the last event of each recipient is there and Postfix has nothing left."""
    shown = _shown(laboratory, name)
    gone = all(where == "not in the queue any more" for where in shown["postfix"].values())
    recorded = "read" in _events(shown, JAN) and "submitted" in _events(shown, CLINIC)
    return shown if gone and recorded else None
