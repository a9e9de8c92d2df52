"""Revocation lists made by openssl, published on a real HTTP server, fetched into a folder and believed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from nta_milter.config.model import PolicySettings, Settings, SmimeSettings
from nta_milter.smime.distribution import NOTED, note
from nta_milter.smime.harvest import HarvestStore
from nta_milter.smime.trust import REFRESH, Trust
from nta_milter.worker.lists import RETRY, STATE_FILE, Lists
from tests.unit.smime.pki import AUTHORITY, PERSON, Pki, openssl

from .site import Site

SOON = timedelta(minutes=1)
"""What openssl makes begins in this second."""


class Clock:
    def __init__(self):
        self.now = datetime.now(UTC) + SOON

    def __call__(self):
        return self.now


@pytest.fixture
def site():
    with Site().running() as server:
        yield server


@pytest.fixture
def pki(tmp_path):
    folder = tmp_path / "pki"
    folder.mkdir()
    return Pki(folder)


@pytest.fixture
def root(pki):
    return pki.root()


@pytest.fixture
def alice(pki, root, site):
    return pki.issue(
        "alice", root, extensions=naming(PERSON, f"{site.url}/root.crl"), email="alice@care.test"
    )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def smime(tmp_path, root, alice):
    for name in ("trust", "certificates", "crls", "harvested"):
        (tmp_path / name).mkdir()
    (tmp_path / "trust" / "root.pem").write_bytes(root.pem.read_bytes())
    (tmp_path / "certificates" / "alice@care.test.pem").write_bytes(alice.pem.read_bytes())
    return {
        "trust": tmp_path / "trust",
        "certificates": tmp_path / "certificates",
        "crls": tmp_path / "crls",
        "harvested": tmp_path / "harvested",
        "fetch_crls": True,
        "crl_networks": (ip_network("127.0.0.0/8"),),
    }


@pytest.fixture
def lists(smime, clock):
    return Lists(settings(smime), clock)


def settings(smime) -> Settings:
    return Settings(policy=PolicySettings(mode="always"), smime=SmimeSettings(**smime))


def naming(extensions, *urls):
    return f"{extensions}\ncrlDistributionPoints={','.join(f'URI:{url}' for url in urls)}"


def publish(site, path, file, **fields):
    data = file if isinstance(file, bytes) else file.read_bytes()
    site.answers[path] = lambda handler: handler.reply(200, data, **fields)


WRONG_TYPE = b'{"URL": {"at": "yesterday", "error": "", "modified": ""}}'


def kept(smime):
    return sorted(file.suffix for file in smime["crls"].iterdir() if file.name != STATE_FILE)


def test_a_list_that_a_configured_certificate_names_is_fetched_and_counts(
    site, pki, root, alice, smime, lists
):
    seconds = [0.0]
    trust = Trust.load(smime["trust"], crls=smime["crls"], clock=lambda: seconds[0])
    at = datetime.now(UTC) + SOON
    assert trust.judge(alice.certificate, [], at).revocation == "unknown"
    publish(site, "/root.crl", pki.crl("first", root))
    assert lists.round() == 1
    assert kept(smime) == [".crl"]
    # the one who judges looks at the folder once in a while
    assert trust.judge(alice.certificate, [], at).revocation == "unknown"
    seconds[0] += REFRESH
    assert trust.judge(alice.certificate, [], at).revocation == "good"
    publish(site, "/root.crl", pki.crl("second", root, (alice,)))
    assert lists.round(every=True) == 1
    assert kept(smime) == [".crl"]
    seconds[0] += REFRESH
    verdict = trust.judge(alice.certificate, [], at)
    assert (verdict.status, verdict.revocation) == ("revoked", "revoked")


def test_nothing_is_asked_before_it_is_due(site, pki, root, clock, lists):
    publish(site, "/root.crl", pki.crl("first", root), Last_Modified="Tue, 24 Nov 2026 10:00:00 GMT")
    lists.round()
    lists.round()
    assert len(site.asked) == 1
    clock.now += timedelta(seconds=SmimeSettings().crl_interval)
    site.answers["/root.crl"] = lambda handler: handler.reply(304)
    assert lists.round() == 0
    assert site.asked[1][1]["If-Modified-Since"] == "Tue, 24 Nov 2026 10:00:00 GMT"
    assert [row.state for row in lists.rows()] == ["current"]
    assert lists.round() == 0
    assert len(site.asked) == 2


def test_what_fails_is_tried_again_later_and_told(site, pki, root, clock, smime, lists, caplog):
    site.answers["/root.crl"] = lambda handler: handler.reply(404)
    assert lists.round() == 0
    [row] = lists.rows()
    assert (row.state, row.held) == ("missing", None)
    assert "status 404" in row.attempt.error
    assert f"event=crl-refused url={site.url}/root.crl" in caplog.text
    publish(site, "/root.crl", pki.crl("first", root))
    assert lists.round() == 0
    clock.now += RETRY
    assert lists.round() == 1
    [row] = lists.rows()
    assert (row.state, row.attempt.error, row.held.entries) == ("current", "", 0)


def test_a_list_that_does_not_count_never_replaces_one_that_does(
    site, pki, root, alice, clock, smime, lists, caplog
):
    good = pki.crl("good", root)
    publish(site, "/root.crl", good)
    lists.round()
    [file] = smime["crls"].glob("*.crl")
    stranger = pki.root("stranger")
    imposter = pki.issue("imposter", None, extensions=AUTHORITY, subject="/O=Zorggroep Proef/CN=root")
    changed = bytearray(openssl("crl", "-in", good, "-outform", "DER"))
    changed[-1] ^= 1
    for content in (
        b"",
        b"<html>moved</html>",
        alice.pem.read_bytes(),
        bytes(changed),
        pki.crl("stranger", stranger, (alice,)).read_bytes(),
        pki.crl("imposter", imposter, (alice,)).read_bytes(),
    ):
        publish(site, "/root.crl", content)
        assert lists.round(every=True) == 0
        assert file.read_bytes() == good.read_bytes()
        [row] = lists.rows()
        assert row.state == "current"
        assert row.attempt.error
    publish(site, "/root.crl", good)
    assert lists.round(every=True) == 1


def test_a_list_that_is_not_in_force_is_not_kept(site, pki, root, clock, lists):
    publish(
        site, "/root.crl", pki.crl("future", root, since=f"{clock.now + timedelta(days=1):%Y%m%d%H%M%SZ}")
    )
    assert lists.round() == 0
    assert "not yet valid" in next(lists.rows()).attempt.error
    publish(site, "/root.crl", pki.crl("old", root, days=1))
    clock.now += timedelta(days=2)
    assert lists.round(every=True) == 0
    assert "expired" in next(lists.rows()).attempt.error
    assert [row.state for row in lists.rows()] == ["missing"]
    clock.now -= timedelta(days=2)
    assert lists.round(every=True) == 1
    clock.now += timedelta(days=2)
    assert [row.state for row in lists.rows()] == ["expired"]


def test_an_older_list_does_not_come_back(site, pki, root, alice, clock, lists):
    yesterday = f"{clock.now - timedelta(days=1):%Y%m%d%H%M%SZ}"
    older, newer = pki.crl("older", root, since=yesterday), pki.crl("newer", root, (alice,))
    publish(site, "/root.crl", newer)
    assert lists.round() == 1
    publish(site, "/root.crl", older)
    assert lists.round(every=True) == 0
    [row] = lists.rows()
    assert row.held.entries == 1
    assert "it is older than the one of" in row.attempt.error


def test_only_certificates_with_a_path_to_an_anchor_send_us_anywhere(site, pki, smime, clock, lists):
    stranger = pki.root("stranger", extensions=naming(AUTHORITY, f"{site.url}/a"))
    mallory = pki.issue(
        "mallory", stranger, extensions=naming(PERSON, f"{site.url}/b"), email="mallory@citizen.test"
    )
    (smime["certificates"] / "mallory@citizen.test.pem").write_bytes(mallory.pem.read_bytes())
    note((mallory.certificate, stranger.certificate), smime["crls"])
    site.answers["/root.crl"] = lambda handler: handler.reply(404)
    lists.round()
    assert [path for path, _ in site.asked] == ["/root.crl"]


def test_only_plain_http_to_allowed_networks_is_asked(site, pki, root, smime, clock):
    named = [
        f"{site.url}/x",
        "https://care.test/x",
        "ldap://care.test/x",
        "file:///etc/passwd",
        "http://u@care.test/",
    ]
    bob = pki.issue("bob", root, extensions=naming(PERSON, *named), email="bob@care.test")
    (smime["certificates"] / "bob@care.test.pem").write_bytes(bob.pem.read_bytes())
    lists = Lists(settings({**smime, "crl_networks": ()}), clock)
    assert lists.round() == 0
    rows = list(lists.rows())
    assert [row.place.url for row in rows] == [f"{site.url}/root.crl", f"{site.url}/x"]
    assert all("not public" in row.attempt.error for row in rows)
    assert site.asked == []


def test_lists_about_authorities_between_are_fetched_too(site, pki, root, smime, clock, lists):
    middle = pki.issue("middle", root, extensions=naming(AUTHORITY, f"{site.url}/root.crl"))
    carol = pki.issue(
        "carol", middle, extensions=naming(PERSON, f"{site.url}/middle.crl"), email="carol@care.test"
    )
    trusted = Trust.load(smime["trust"])
    assert note((carol.certificate, middle.certificate), smime["crls"]) == 1
    assert note((carol.certificate, middle.certificate), smime["crls"]) == 0
    publish(site, "/root.crl", pki.crl("root", root))
    publish(site, "/middle.crl", pki.crl("middle", middle))
    assert lists.round() == 2
    assert kept(smime) == [NOTED, ".crl", ".crl"]
    trusted = Trust.load(smime["trust"], crls=smime["crls"], unknown_revocation="refuse")
    assert trusted.judge(carol.certificate, [middle.certificate], clock.now).revocation == "good"


def test_certificates_in_the_trust_store_and_kept_ones_are_known(site, pki, root, smime, clock, lists):
    (smime["certificates"] / "alice@care.test.pem").unlink()
    (smime["trust"] / "intermediates").mkdir()
    middle = pki.issue("middle", root, extensions=naming(AUTHORITY, f"{site.url}/m"))
    (smime["trust"] / "intermediates" / "middle.pem").write_bytes(middle.pem.read_bytes())
    dora = pki.issue("dora", middle, extensions=naming(PERSON, f"{site.url}/d"), email="dora@care.test")
    offer = HarvestStore(smime["harvested"]).offer(
        "dora@care.test", dora.certificate, (), None, Trust.load(smime["trust"]), clock.now
    )
    assert offer.entry is not None
    assert [row.place.url for row in lists.rows()] == [f"{site.url}/d", f"{site.url}/m"]


def test_a_noted_certificate_that_has_expired_is_forgotten(site, pki, root, smime, clock, lists):
    (smime["certificates"] / "alice@care.test.pem").unlink()
    erin = pki.issue("erin", root, extensions=naming(PERSON, f"{site.url}/e"), days=1, email="erin@care.test")
    note((erin.certificate,), smime["crls"])
    publish(site, "/e", pki.crl("e", root))
    assert lists.round() == 1
    clock.now += timedelta(days=2)
    assert lists.round() == 0
    assert kept(smime) == [".crl"]
    assert list(lists.rows()) == []


@pytest.mark.parametrize(
    "state", [b"", b"[]", b'{"http://x/": 3}', b'{"http://x/": {"b": 3}}', b"\xff", WRONG_TYPE]
)
def test_a_damaged_memory_of_tries_is_begun_anew(site, pki, root, smime, lists, state):
    (smime["crls"] / STATE_FILE).write_bytes(state.replace(b"URL", f"{site.url}/root.crl".encode()))
    publish(site, "/root.crl", pki.crl("first", root))
    assert lists.round() == 1
    assert list(json.loads((smime["crls"] / STATE_FILE).read_bytes())) == [f"{site.url}/root.crl"]


def test_files_that_are_not_there_leave_the_rest(site, pki, root, smime, lists, caplog):
    for name in ("certificates", "harvested"):
        for file in smime[name].iterdir():
            file.unlink()
    smime["certificates"].rmdir()
    assert lists.round() == 0
    assert "event=certificates-unreadable" in caplog.text


def test_a_stop_ends_the_round(site, smime, clock):
    lists = Lists(settings(smime), clock, stopping=lambda: True)
    assert lists.round() == 0
    assert site.asked == []


def test_nothing_is_fetched_unless_wanted(smime, clock):
    assert Lists(settings(smime), clock).wanted
    assert not Lists(settings({**smime, "fetch_crls": False}), clock).wanted
    without = Lists(settings({**smime, "crls": None}), clock)
    assert not without.wanted
    assert (without.round(), list(without.rows())) == (0, [])


def test_the_group_of_the_folder_may_read_what_is_kept(site, pki, root, smime, lists):
    smime["crls"].chmod(0o2770)
    os.chown(smime["crls"], -1, 12_345)
    publish(site, "/root.crl", pki.crl("first", root))
    lists.round()
    for file in smime["crls"].iterdir():
        assert (file.stat().st_gid, file.stat().st_mode & 0o777) == (12_345, 0o640)


def test_lists_that_fail_do_not_keep_others_from_their_turn(
    site, pki, root, clock, smime, lists, monkeypatch
):
    monkeypatch.setattr("nta_milter.worker.lists.ROUND_LIMIT", 1)
    bob = pki.issue("bob", root, extensions=naming(PERSON, f"{site.url}/a.crl"), email="bob@care.test")
    (smime["certificates"] / "bob@care.test.pem").write_bytes(bob.pem.read_bytes())
    site.answers["/a.crl"] = lambda handler: handler.reply(404)
    publish(site, "/root.crl", pki.crl("first", root))
    assert lists.round() == 0
    clock.now += RETRY
    assert lists.round() == 1
    assert [path for path, _ in site.asked] == ["/a.crl", "/root.crl"]
