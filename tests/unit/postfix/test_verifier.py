"""A proof about another verifier is kept in one step, holds for its time, and nothing else stands for one."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nta_milter.config.model import VerifierSettings
from nta_milter.postfix.configuration import Postfix
from nta_milter.postfix.verifier import Proof, Verifiers, files, keep, passed_by, read
from tests.unit.postfix.conftest import cold, edit

VERIFIER = VerifierSettings(authserv_id="filter.care.test", listener="192.0.2.25:25")
DAY = 86_400.0


@pytest.fixture
def folder(tmp_path):
    for name in ("main.cf", "master.cf"):
        (tmp_path / name).write_text("")
    return tmp_path


def known(folder, *configured):
    return Verifiers(configured or (VERIFIER,), folder / "verifiers.json", 7 * DAY, folder)


def proof(folder, **changes):
    made = Proof(VERIFIER.authserv_id, VERIFIER.listener, ("dkim",), 1, 100 * DAY, files(folder))
    return dataclasses.replace(made, **changes)


def test_a_kept_proof_holds_for_its_listener_and_name_alone(folder):
    verifiers = known(folder)
    assert verifiers.proof(VERIFIER, 100 * DAY)[0] is None
    keep(folder / "verifiers.json", [proof(folder)])
    assert verifiers.proof(VERIFIER, 106 * DAY) == (proof(folder), "")
    for other in (
        dataclasses.replace(VERIFIER, listener="192.0.2.26:25"),
        dataclasses.replace(VERIFIER, authserv_id="other.care.test"),
    ):
        assert "never shown" in verifiers.proof(other, 100 * DAY)[1]
    assert verifiers.at("192.0.2.25:25") == (VERIFIER,)
    assert verifiers.at("192.0.2.26:25") == ()


def test_a_file_that_others_may_write_is_no_proof(folder):
    keep(folder / "verifiers.json", [proof(folder)])
    assert read(folder / "verifiers.json")
    (folder / "verifiers.json").chmod(0o664)
    assert read(folder / "verifiers.json") == ()


@pytest.mark.parametrize("day", [107.1, 99.0])
def test_it_ends_with_its_time_and_begins_with_it(folder, day):
    keep(folder / "verifiers.json", [proof(folder)])
    assert "too old" in known(folder).proof(VERIFIER, day * DAY)[1]


@pytest.mark.parametrize("name", ["main.cf", "master.cf"])
def test_it_ends_when_postfix_is_changed(folder, name):
    keep(folder / "verifiers.json", [proof(folder)])
    (folder / name).write_text("# changed\n")
    assert "has changed" in known(folder).proof(VERIFIER, 100 * DAY)[1]


@pytest.mark.parametrize(
    ("service", "milters", "passed"),
    [
        ("smtp inet", "{unix:verifier.sock,default_action=accept},$nta_milter", True),
        ("192.0.2.25:25 inet", "{ unix:verifier.sock, default_action = accept }, $nta_milter", True),
        ("smtpd pass", "{unix:verifier.sock,default_action=accept},$nta_milter", True),
        ("smtp inet", "{unix:verifier.sock,default_action=tempfail},$nta_milter", False),
        ("smtp inet", "unix:verifier.sock,$nta_milter", False),
        ("smtp inet", "$nta_milter", False),
        ("2525 inet", "{unix:verifier.sock,default_action=accept},$nta_milter", False),
        ("smtp inet", "{unix:verifier.sock,default_action=accept}", False),  # we are not asked there
    ],
)
def test_a_verifier_is_passed_by_where_mail_goes_on_without_it(configuration, service, milters, passed):
    edit(configuration / "master.cf", r"^smtp inet n.*\n(?:[ \t].*\n)*", "")
    with (configuration / "master.cf").open("a") as master:
        master.write(f"{service} n - y - - smtpd\n  -o {{ smtpd_milters = {milters} }}\n")
    found = passed_by(Postfix(cold(configuration)).read(), VERIFIER.listener, "nta-milter/milter.sock")
    assert ("default_action=accept" in found) is passed


@given(st.binary(max_size=200))
def test_a_file_of_anything_else_is_no_proof(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("proofs") / "verifiers.json"
    file.write_bytes(content)
    assert read(file) == ()


@pytest.mark.parametrize(
    "text", ["[]", "{}", "[1]", '[{"methods": 1}]', "null", "[" * 5000, '[{"methods": [], "state": []}]']
)
def test_json_of_another_form_is_no_proof(tmp_path, text):
    (tmp_path / "verifiers.json").write_text(text)
    assert read(tmp_path / "verifiers.json") == ()
