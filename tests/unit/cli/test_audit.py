import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from nta_milter.audit.chain import Signer
from nta_milter.audit.events import AuditRecord, Event
from nta_milter.audit.write import open_writer
from nta_milter.cli.main import main
from nta_milter.config.load import load
from nta_milter.store.records import Records
from nta_milter.store.store import open_store
from tests.unit.store.conftest import AT

WRITER = "mx.care.test:portal"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "admin")
    file = tmp_path / "nta-milter.toml"
    file.write_text(
        f"""
[policy]
mode = "always"
[milter]
hostname = "mx.care.test"
[internal]
domains = ["care.test"]
[store]
url = "sqlite:///{tmp_path}/store.sqlite"
blobs = "{tmp_path}/blobs"
public = "{tmp_path}/public"
[audit]
target = "store"
[secrets]
audit_key = "{tmp_path}/secrets/audit-key"
"""
    )
    assert main(["store", "init", "--secrets", str(tmp_path / "secrets"), "--config", str(file)]) == 0
    return tmp_path


@pytest.fixture
def settings(folder):
    return load(folder / "nta-milter.toml").settings


@pytest.fixture
def run(folder, capsys):
    def run(*words):
        capsys.readouterr()
        status = main(["audit", *words, "--config", str(folder / "nta-milter.toml")])
        return status, capsys.readouterr()

    return run


@pytest.fixture
def write(settings):
    def write(count=3, at=AT):
        writer = open_writer(settings, WRITER)
        for number in range(count):
            recipients = ("jan@citizen.test",)
            writer.write(AuditRecord(at, Event.READ, f"Q{number}", "doctor@care.test", recipients, "", ()))
        writer.close()

    return write


@pytest.fixture
def sign(settings):
    def sign():
        store = open_store(settings)
        Signer.of(settings).sign(Records(store.database), AT)
        store.close()

    return sign


@pytest.fixture
def change(settings):
    def change(statement):
        store = open_store(settings)
        with store.database.transaction() as connection:
            connection.execute(text(statement))
        store.close()

    return change


def test_a_chain_in_a_file_there_is_none(tmp_path, capsys):
    file = tmp_path / "nta-milter.toml"
    file.write_text('[policy]\nmode = "always"\n[internal]\ndomains = ["care.test"]\n')
    for words in (("verify",), ("export",), ("prune", "--before", "2026-01-01")):
        assert main(["audit", *words, "--config", str(file)]) == 2
        assert "records in a file have no chain" in capsys.readouterr().err


def test_verify_and_export_show_every_chain(run, write):
    write()
    status, said = run("verify")
    whole = f"{WRITER}: records 1 to 3, since 2026-11-24 12:00:00, signed up to 0: whole\n"
    assert (status, said.out) == (0, whole)
    status, said = run("export")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [(line["sequence"], line["record"]["queue_id"]) for line in lines] == [
        (1, "Q0"),
        (2, "Q1"),
        (3, "Q2"),
    ]
    for words, count in (
        (("--writer", WRITER), 3),
        (("--writer", "nobody"), 0),
        (("--since", "2026-11-25"), 0),
        (("--until", "2026-11-24T12:00:00Z"), 3),
    ):
        assert len(run("export", *words)[1].out.splitlines()) == count


def test_verify_names_the_record_that_was_changed(run, write, change):
    write()
    change("DELETE FROM records WHERE sequence = 2")
    status, said = run("verify")
    assert status == 1
    assert "BROKEN at record 3: records 2 to 2 are missing" in said.out
    status, said = run("verify", "--json")
    assert (status, json.loads(said.out)[0]["fault"]["record"]) == (1, 3)


def test_prune_removes_what_is_old_records_it_and_verify_vouches_for_the_rest(run, write, sign):
    write(3, AT - timedelta(days=400))
    sign()
    write(2, AT - timedelta(days=1))
    status, said = run("prune", "--before", "2026-01-01", "--dry-run")
    assert (status, said.out) == (0, f"{WRITER}: 3 records up to number 3 would be removed\n")
    (found,) = json.loads(run("prune", "--before", "2026-01-01", "--dry-run", "--json")[1].out)
    assert found == {"writer": WRITER, "would_remove": 3, "last": 3, "uncovered": 0, "fault": None}
    assert len(run("export")[1].out.splitlines()) == 5
    status, said = run("prune", "--before", "2026-01-01")
    assert (status, said.out) == (0, f"{WRITER}: 3 records up to number 3 removed\n")
    assert run("prune", "--before", "2026-01-01")[1].out == "nothing is that old\n"
    event, *rest = map(json.loads, run("export")[1].out.splitlines())
    assert [each["sequence"] for each in rest] == [4, 5]
    assert (event["writer"], event["record"]["event"]) == ("mx.care.test:command", "pruned")
    assert event["record"]["details"] == {
        "chain": WRITER,
        "records": "3",
        "last": "3",
        "before": "2026-01-01T00:00:00+00:00",
        "by": "admin",
    }
    status, said = run("verify")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert status == 0
    left = f"{WRITER}: records 4 to 5, since 2026-11-23 12:00:00, signed up to 3"
    assert f"{left}, older ones removed on {today}: whole\n" in said.out
    chains = {each["writer"]: each for each in json.loads(run("verify", "--json")[1].out)}
    assert chains[WRITER]["since"] == "2026-11-23T12:00:00+00:00"
    assert chains[WRITER]["pruned_at"].startswith(today)
    assert chains["mx.care.test:command"]["pruned_at"] is None


def test_a_chain_that_went_whole_still_verifies(run, write, sign):
    write(3, AT - timedelta(days=400))
    sign()
    assert run("prune", "--before", "2026-01-01", "--json")[0] == 0
    assert f"{WRITER}: no records, signed up to 3, older ones removed on " in run("verify")[1].out


def test_what_no_checkpoint_covers_stays_and_is_told(run, write):
    write(2, AT - timedelta(days=400))
    status, said = run("prune", "--before", "2026-01-01")
    text = f"{WRITER}: 2 stay until the worker has signed a checkpoint after them\n"
    assert (status, said.out) == (0, text)
    assert len(run("export")[1].out.splitlines()) == 2


def test_a_broken_chain_is_not_shortened(run, write, sign, change):
    write(3, AT - timedelta(days=400))
    sign()
    change("UPDATE records SET line = '{}' WHERE sequence = 2")
    status, said = run("prune", "--before", "2026-01-01")
    assert (status, "BROKEN at record 2" in said.out) == (1, True)
    (found,) = json.loads(run("prune", "--before", "2026-01-01", "--json")[1].out)
    assert (found["removed"], found["fault"]["record"]) == (0, 2)


@pytest.mark.parametrize(
    ("before", "words"),
    [("2999-01-01", "lies in the future"), ("soon", "is not a moment"), (None, "--before")],
)
def test_a_moment_that_cannot_be_meant_is_refused(run, capsys, before, words):
    given = () if before is None else ("--before", before)
    try:
        status, said = run("prune", *given)
    except SystemExit as stopped:
        status, said = stopped.code, capsys.readouterr()
    assert (status, words in said.err) == (2, True)


def test_without_the_key_nothing_is_removed(run, write, sign, folder):
    write(3, AT - timedelta(days=400))
    sign()
    file = folder / "nta-milter.toml"
    file.write_text(file.read_text().split("[secrets]")[0])
    status, said = run("prune", "--before", "2026-01-01")
    assert (status, "audit-key: is needed" in said.err) == (2, True)
    assert len(run("export")[1].out.splitlines()) == 3
    assert run("prune", "--before", "2026-01-01", "--dry-run")[0] == 0
