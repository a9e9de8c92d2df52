import sys

import pytest

from nta_milter.config.libraries import installed, missing
from nta_milter.config.load import load
from nta_milter.config.model import PeerSettings
from nta_milter.errors import ConfigurationError
from nta_milter.inbound.peer import CHECKS, idle, wanted


@pytest.fixture
def without(monkeypatch):
    """Makes libraries of these names be absent."""

    def hide(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)
        installed.cache_clear()

    yield hide
    monkeypatch.undo()
    installed.cache_clear()


def configured(tmp_path, text):
    file = tmp_path / "nta-milter.toml"
    file.write_text('[policy]\nmode = "always"\n' + text)
    return load(file).settings


def test_by_default_the_ntamx_listener_marks_and_the_ordinary_one_does_not():
    assert wanted(PeerSettings(), "ntamx") == dict.fromkeys(("tls", "spf", "dkim", "dmarc"), "mark")
    assert wanted(PeerSettings(), "inbound") == {}
    assert wanted(PeerSettings(inbound="mark"), "outbound") == {}


def test_the_ordinary_listener_never_enforces():
    peer = PeerSettings(**dict.fromkeys(CHECKS, "enforce"), inbound="mark")
    assert set(wanted(peer, "ntamx").values()) == {"enforce"}
    assert wanted(peer, "inbound") == dict.fromkeys(CHECKS, "mark")


@pytest.mark.parametrize(("check", "library"), [("spf", "spf"), ("dkim", "dkim"), ("dmarc", "dkim")])
def test_a_check_that_cannot_be_made_is_refused_where_it_is_enforced(tmp_path, without, check, library):
    without(library)
    with pytest.raises(ConfigurationError, match=rf"peer\.{check}.*python3-{library}"):
        configured(tmp_path, f'[peer]\n{check} = "enforce"\n')


def test_a_check_that_cannot_be_made_is_left_out_where_it_marks(tmp_path, without):
    without("spf")
    settings = configured(tmp_path, "")
    assert set(wanted(settings.peer, "ntamx")) == {"tls", "dkim"}
    assert idle(settings) == tuple(f"{check}: pyspf (Debian: python3-spf)" for check in ("spf", "dmarc"))


def test_nothing_is_idle_where_all_is_there_or_nothing_is_wanted(tmp_path, without):
    settings = configured(tmp_path, "")
    assert [missing(check) for check in CHECKS] == [()] * len(CHECKS)
    assert idle(settings) == ()
    without("spf", "dkim")
    assert idle(configured(tmp_path, '[[listeners]]\nside = "outbound"\n')) == ()


def test_the_agreed_header_must_be_known(tmp_path):
    with pytest.raises(ConfigurationError, match=r"peer\.header.*nta_header"):
        configured(tmp_path, '[peer]\nheader = "mark"\n')
