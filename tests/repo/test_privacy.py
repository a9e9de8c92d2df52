"""packaging/doc/privacy.md names every place where the program keeps something, and the times that hold."""

import re

import pytest

from nta_milter.config.describe import tables
from nta_milter.portal.app import LANGUAGE_AGE
from nta_milter.portal.visit import IDLE, LANGUAGE_COOKIE, LONGEST
from nta_milter.store.retention import RATE_LIFETIME
from nta_milter.store.schema import metadata
from tests.repo.tree import ROOT

PAGE = " ".join((ROOT / "packaging/doc/privacy.md").read_text(encoding="utf-8").split())
KEYS = {
    f"{table.name}.{key.name}" if table.name else key.name: key for table in tables() for key in table.keys
}
TIMES = {
    "portal.lifetime": "`portal.lifetime` (30 days)",
    "store.forget_after": "`store.forget_after` (90 days)",
    "worker.decide_limit": "`worker.decide_limit` (4 hours)",
    "worker.interval": "ten times `worker.interval`, that is ten minutes",
}
IN_THE_UNIT = {
    "portal.lifetime": 30,
    "store.forget_after": 90,
    "worker.decide_limit": 4 * 3600,
    "worker.interval": 60,
}


def test_every_table_of_the_store_is_named():
    assert [name for name in metadata.tables if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("key", TIMES)
def test_a_time_is_the_default(key):
    assert TIMES[key] in PAGE
    assert KEYS[key].default == IN_THE_UNIT[key]


def test_every_key_that_is_named_exists():
    named = re.findall(r"`([a-z]+\.[a-z_]+)(?: = [^`]*)?`", PAGE)
    files = {"audit.jsonl"}
    assert [name for name in named if name not in KEYS and name not in files] == []
    assert len(named) > 10


def test_the_times_of_visits_are_those_of_the_portal():
    assert f"{IDLE.seconds // 60} minutes without use, {LONGEST.seconds // 3600} hours at most" in PAGE
    assert f"`{LANGUAGE_COOKIE}` remembers a chosen language for a year" in PAGE
    assert LANGUAGE_AGE == 365 * 86_400
    assert f"hash of the link | `rates` | recipient, others | {RATE_LIFETIME.days} days" in PAGE
