from datetime import UTC, datetime

import pytest

from nta_milter.milter.metrics import METRICS, Counted, valid_until
from nta_milter.monitor.registry import Registry
from nta_milter.policy.outcome import UNTOUCHED, Outcome, Reply
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.keystore import KeyRing, PrivateKey


@pytest.fixture
def registry():
    return Registry(METRICS)


def counted(registry, name):
    return {
        each.labels: each.value
        for each in registry.samples()
        if each.name == name and each.value and each.suffix in ("", "_count")
    }


def test_each_answer_is_counted_by_its_listener(registry):
    counting = Counted(registry)
    counting.ended("outbound", UNTOUCHED, 0.002)
    counting.ended("ntamx", Outcome(reply=Reply.permanent("no")), 0.2)
    counting.ended("elsewhere", Outcome(reply=Reply.temporary("not now")))
    assert counted(registry, "nta_milter_messages_total") == {
        ("outbound", "accepted"): 1,
        ("ntamx", "refused"): 1,
        ("other", "deferred"): 1,
    }
    assert counted(registry, "nta_milter_processing_seconds") == {("outbound",): 1, ("ntamx",): 1}


def key(until: datetime, *addresses: str) -> PrivateKey:
    certificate = object.__new__(Certificate)
    object.__setattr__(certificate, "not_after", until)
    return PrivateKey(certificate, None, (), frozenset(addresses), "file.p12")


def test_an_address_is_valid_as_long_as_its_newest_certificate():
    old, new = datetime(2024, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    ring = object.__new__(KeyRing)
    object.__setattr__(ring, "keys", (key(new, "@care.test"), key(old, "@care.test", "doctor@care.test")))
    assert valid_until(ring) == {"@care.test": new, "doctor@care.test": old}
