"""The worker of a real site removes old records, and the rest is vouched for."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.write import AuditWriter, StoreTarget
from nta_milter.store.database import Database

DAYS = 400
OLD = "old.care.test:portal"


def write(site, at, count=1):
    writer = AuditWriter(StoreTarget(Database(site.settings.store.url), OLD))
    record = AuditRecord(at, Event.READ, "4OLD", "doctor@care.test", ("jan@citizen.test",), "portal", ())
    writer.write(*[record] * count)
    writer.close()


@pytest.fixture
def keeps(site):
    """The site, its worker told how long records are kept, with a chain that is older."""
    site.stop_service("worker")
    drop_in = site.directory / "care" / "nta-milter" / "conf.d" / "retention.toml"
    drop_in.write_text(f"[audit]\nretention = {DAYS}\n")
    write(site, datetime.now(UTC) - timedelta(days=DAYS + 2), 5)
    site.start_service("worker")
    yield site
    site.stop_service("worker")
    drop_in.unlink()


def test_old_records_go_by_themselves_and_what_is_left_verifies(keeps):
    def kept():
        return [each["queue_id"] for each in keeps.audit()].count("4OLD")

    def pruned():
        return [each["details"] for each in keeps.audit() if each["event"] == "pruned"]

    logged = len(keeps.service_log("worker"))  # by workers of other tests
    assert kept() == 5
    keeps.wait_for(pruned, "the worker's second sweep, after it has signed", pause=0.5)
    (details,) = pruned()
    assert (details["chain"], details["records"], details["last"]) == (OLD, "5", "5")
    assert kept() == 0
    write(keeps, datetime.now(UTC))
    status, said = keeps.nta_milter("audit", "verify", "--json", "--config", str(keeps.configuration))
    (chain,) = [each for each in json.loads(said) if each["writer"] == OLD]
    assert (status, chain["first"], chain["last"], chain["fault"]) == (0, 6, 6, None)
    assert "event=duty-failed" not in keeps.service_log("worker")[logged:]
