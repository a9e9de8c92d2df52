"""What doctor says of the host: its clock, its resolvers, and whether Postfix's queue can be listed."""

import dataclasses
import shutil
import stat
from pathlib import Path

import pytest

from nta_milter.cli.host import PROGRAMS, UNSYNCHRONISED, clock, clock_status, queue, resolvers
from nta_milter.config.model import DnsSettings, PolicySettings, RoutingSettings, Settings
from nta_milter.postfix.finding import Level

SETTINGS = Settings(policy=PolicySettings(mode="content"))


def test_a_clock_that_nobody_keeps_is_a_warning():
    assert list(clock(0)) == list(clock(None)) == []
    (finding,) = clock(UNSYNCHRONISED | 1)
    assert (finding.code, finding.level) == ("clock-not-kept", Level.WARNING)


def test_the_kernel_tells_how_its_clock_is():
    status = clock_status()
    assert status is None or 0 <= status < 1 << 16


@pytest.mark.parametrize(
    ("servers", "remote"),
    [
        (("127.0.0.1", "[::1]:5353"), 0),
        (("192.0.2.53",), 1),
        (("127.0.0.1", "192.0.2.53:53", "[2001:db8::53]:53"), 2),
    ],
)
def test_a_resolver_elsewhere_is_a_warning(servers, remote):
    settings = dataclasses.replace(SETTINGS, dns=DnsSettings(servers=servers))
    assert [finding.code for finding in resolvers(settings)] == ["resolver-remote"] * remote


def test_a_queue_that_cannot_be_listed_is_a_fault(tmp_path):
    settings = dataclasses.replace(SETTINGS, routing=RoutingSettings(postfix=tmp_path / "nowhere"))
    found = list(queue(settings, shutil.which("postqueue", path=PROGRAMS)))
    assert [finding.code for finding in found] == ["postqueue-unreadable"]
    assert "nowhere" in found[0].text


def test_a_postqueue_without_its_group_is_a_fault(tmp_path):
    program = Path(shutil.which("postqueue", path=PROGRAMS))
    assert program.stat().st_mode & stat.S_ISGID
    plain = tmp_path / "postqueue"
    shutil.copy(program, plain)
    plain.chmod(0o755)
    settings = dataclasses.replace(SETTINGS, routing=RoutingSettings(postfix=tmp_path))
    found = list(queue(settings, str(plain)))
    assert "is not set-gid" in found[0].text
    assert all(finding.code == "postqueue-unreadable" for finding in found)


def test_no_postqueue_is_a_fault():
    (finding,) = queue(SETTINGS, None)
    assert (finding.code, finding.level) == ("postqueue-unreadable", Level.FAULT)
