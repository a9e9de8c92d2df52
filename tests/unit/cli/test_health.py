from datetime import UTC, datetime, timedelta

import pytest

from nta_milter import __version__
from nta_milter.cli.health import judge, wanted
from nta_milter.config.download import PortalSettings, StoreSettings
from nta_milter.config.model import MilterSettings, PolicySettings, Settings
from nta_milter.monitor.process import fingerprint

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS = Settings(
    policy=PolicySettings(mode="always"),
    milter=MilterSettings(workers=1),
    store=StoreSettings(url="sqlite:////store.sqlite"),
    portal=PortalSettings(url="https://veilig.care.test"),
)


def moment(**ago):
    return (AT - timedelta(**ago)).isoformat()


def services(**changes):
    """All is well, but for what is changed: ``milter_keys=[...]``."""
    common = {"version": __version__, "configuration": {"settings": fingerprint(SETTINGS), "files": "f"}}
    milter = {
        **common,
        "reload_refused": "",
        "restart_needed": [],
        "proven": {"routing": [], "resolver": ""},
        "keys": [{"address": "@care.test", "until": moment(days=-300)}],
        "records": {"care.test": "2099-12"},
    }
    worker = {
        **common,
        "rounds": {"watch": {"at": moment(seconds=50), "fault": ""}},
        "commits": {"queued": 0, "oldest": None},
        "store": {
            "fault": "",
            "outbox": {},
            "oldest": {"commit": None, "outbox": None, "hold": moment(days=20), "decision": None},
        },
    }
    found = {"milter": milter, "worker": worker, "portal": dict(common)}
    for name, value in changes.items():
        service, _, key = name.partition("_")
        found[service][key] = value
    return {name: {"process": answer} for name, answer in found.items()}


def codes(found, settings=SETTINGS):
    return [concern.code for concern in judge(settings, "f", found, AT)]


def test_where_all_is_well_nobody_is_needed():
    assert codes(services()) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"portal_version": "0.0.9"}, "portal-version"),
        ({"worker_configuration": {"settings": "other"}}, "worker-configuration"),
        ({"milter_configuration": {"settings": "other", "files": "f"}}, "milter-configuration"),
        (
            {"milter_configuration": {"settings": fingerprint(SETTINGS), "files": "of before"}},
            "milter-files",
        ),
        ({"milter_reload_refused": "key.p12: cannot be read"}, "reload-refused"),
        ({"milter_restart_needed": ["milter.workers"]}, "milter-restart"),
        ({"milter_proven": {"routing": ["empty"], "resolver": ""}}, "routing-not-proven"),
        ({"milter_proven": {"routing": [], "resolver": "no AD"}}, "resolver-not-proven"),
        ({"milter_keys": [{"address": "@care.test", "until": moment(days=-29)}]}, "key-expires"),
        ({"milter_keys": [{"address": "@care.test", "until": moment(days=1)}]}, "key-expires"),
        ({"milter_records": {"care.test": "2026-12"}}, "record-ends"),
        ({"worker_rounds": {"watch": {"at": moment(), "fault": "no postqueue"}}}, "duty-failed"),
        ({"worker_rounds": {"watch": {"at": moment(hours=1), "fault": ""}}}, "duty-late"),
        ({"worker_commits": {"queued": 1, "oldest": moment(minutes=3)}}, "commit-late"),
        ({"worker_store": {"fault": "unable to open"}}, "store-fault"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_concern_is_named_with_its_mend(change, code):
    (concern,) = judge(SETTINGS, "f", services(**change), AT)
    assert concern.code == code
    assert len(concern.text) > 10
    assert len(concern.mend) > 10


@pytest.mark.parametrize(
    "change",
    [
        {"milter_proven": None},
        {"milter_keys": [{"address": "@care.test", "until": moment(days=-31)}]},
        {"milter_keys": []},
        {"milter_records": {"care.test": "", "other.test": "2027-06"}},
        {"worker_commits": {"queued": 1, "oldest": moment(seconds=30)}},
        {"worker_rounds": {"watch": {"at": moment(minutes=9), "fault": ""}}},
    ],
)
def test_what_is_usual_is_no_concern(change):
    assert codes(services(**change)) == []


def test_mail_that_waits_or_was_set_aside_is_a_concern():
    found = services()
    store = found["worker"]["process"]["store"]
    store["outbox"] = {"shunted": 2, "waiting": 1}
    store["oldest"] = {**store["oldest"], "commit": moment(minutes=11), "outbox": moment(minutes=9)}
    assert codes(found) == ["shunted", "commit-waits"]


def test_services_that_the_configuration_needs_must_answer():
    found = services()
    found["milter"], found["worker"], found["portal"] = {}, {}, {}
    assert codes(found) == ["milter-down", "worker-down", "portal-down"]
    line = Settings(policy=PolicySettings(mode="always"))
    assert wanted(line) == ("milter",)


def test_a_process_that_is_missing_is_named():
    several = Settings(policy=PolicySettings(mode="always"), milter=MilterSettings(workers=3))
    same = {"settings": fingerprint(several), "files": "f"}
    assert codes({"milter": services(milter_configuration=same)["milter"]}, several) == ["processes-missing"]
