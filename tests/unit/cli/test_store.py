import json
import stat

import pytest

from nta_milter.cli.main import main
from nta_milter.config.load import load
from nta_milter.store.keys import PrivateKeys, PublicKeys, key_id
from nta_milter.store.schema import VERSION
from nta_milter.store.store import open_store, private_keys


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nta-milter.toml").write_text(
        f"""
[policy]
mode = "always"
[internal]
domains = ["care.test"]
[store]
url = "sqlite:///{tmp_path}/store.sqlite"
blobs = "{tmp_path}/blobs"
public = "{tmp_path}/public"
[audit]
target = "store"
[secrets]
portal_key = "{tmp_path}/secrets/portal-key"
worker_key = "{tmp_path}/secrets/worker-key"
"""
    )
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    def run(*words):
        config = ("--config", str(folder / "nta-milter.toml"))
        secrets = ("--secrets", str(folder / "secrets")) if words[0] == "store" else ()
        status = main([*words, *config, *secrets])
        return status, capsys.readouterr()

    return run


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in ("secrets", "public")
        for path in sorted((folder / name).iterdir())
    }


def test_init_makes_what_is_missing_and_changes_nothing_the_second_time(run, folder):
    status, said = run("store", "init")
    assert (status, said.err) == (0, "")
    assert "database: made" in said.out
    folders = list((folder / "blobs").iterdir())
    assert len(folders) == 256
    assert {stat.S_IMODE(each.stat().st_mode) & 0o777 for each in folders} == {0o770}
    before = files(folder)
    assert sorted(before) == [
        "public/audit.pem",
        "public/portal.pem",
        "public/worker.pem",
        "secrets/audit-key",
        "secrets/portal-key",
        "secrets/worker-key",
    ]
    status, said = run("store", "init", "--json")
    assert (status, json.loads(said.out)) == (0, {"version": {"found": VERSION, "now": VERSION}, "keys": []})
    assert files(folder) == before


def test_what_init_makes_can_be_used_and_is_nobodys_to_read(run, folder):
    run("store", "init")
    settings = load(folder / "nta-milter.toml").settings
    store = open_store(settings)
    token_key = store.public.for_worker(bytes(32), "0" * 32, ())
    assert private_keys("worker", settings).open_worker(token_key, "0" * 32, ()) == bytes(32)
    store.close()
    for path in (folder / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "store.sqlite").stat().st_mode) == 0o660


def test_a_private_key_without_its_public_half_is_not_written_over(run, folder):
    run("store", "init")
    (folder / "public" / "worker.pem").unlink()
    before = (folder / "secrets" / "worker-key").read_bytes()
    status, said = run("store", "init")
    assert status == 2
    assert "worker-key" in said.err
    assert (folder / "secrets" / "worker-key").read_bytes() == before


@pytest.mark.parametrize("name", ["portal", "worker", "audit"])
def test_rotate_puts_a_new_key_before_the_old_ones(run, folder, name):
    run("store", "init")
    secret, public = folder / "secrets" / f"{name}-key", folder / "public" / f"{name}.pem"
    secret.chmod(0o640)
    old_secret, old_public = secret.read_bytes(), public.read_bytes()
    assert run("store", "rotate", name)[0] == 0
    assert secret.read_bytes().endswith(old_secret)
    assert secret.read_bytes().count(b"BEGIN PRIVATE KEY") == 2
    assert stat.S_IMODE(secret.stat().st_mode) == 0o640
    assert public.read_bytes() != old_public
    assert public.read_bytes().endswith(old_public) is (name == "audit")
    if name != "audit":
        keys = PrivateKeys.parse(secret.read_bytes(), name)
        assert keys.key_ids[0] == key_id(getattr(PublicKeys.load(folder / "public"), name))


def test_rotate_without_a_key_and_migrate_without_a_folder_say_what_is_wrong(run, folder):
    status, said = run("store", "rotate", "portal")
    assert (status, "portal-key: cannot be read" in said.err) == (2, True)
    text = (folder / "nta-milter.toml").read_text()
    (folder / "nta-milter.toml").write_text(text.replace("/store.sqlite", "/nowhere/store.sqlite"))
    status, said = run("migrate")
    assert (status, "cannot be made" in said.err) == (75, True)


def test_migrate_tells_both_versions(run):
    status, said = run("migrate", "--json")
    assert (status, json.loads(said.out)) == (0, {"found": 0, "now": VERSION})
    status, said = run("migrate")
    assert (status, said.out) == (0, f"version {VERSION}, nothing to do\n")


def test_without_a_store_there_is_nothing_to_make(tmp_path, capsys):
    file = tmp_path / "nta-milter.toml"
    file.write_text('[policy]\nmode = "always"\n[internal]\ndomains = ["care.test"]\n')
    for words in (("store", "init"), ("migrate",)):
        assert main([*words, "--config", str(file)]) == 2
        assert "store" in capsys.readouterr().err


# outbox


def test_the_outbox_shows_what_waits_and_tries_what_was_set_aside(run, folder):
    from datetime import UTC, datetime, timedelta

    from nta_milter.outbox.addresses import commit_id
    from nta_milter.outbox.queue import Outbox
    from nta_milter.policy.route import Route
    from tests.unit.outbox.conftest import copies, message

    run("store", "init")
    status, said = run("outbox", "list")
    assert (status, said.out) == (0, "")
    assert run("outbox", "retry")[0] == 1
    settings = load(folder / "nta-milter.toml").settings
    store = open_store(settings)
    whole, at = message(), datetime.now(UTC)
    attempt = commit_id(Outbox(store, settings).prepare(whole, copies(whole, Route.DANE), "4X1", at))
    assert f"{attempt} uncommitted, 4X1, since " in run("outbox", "list")[1].out
    store.outgoing.commit(attempt, at)
    status, said = run("outbox", "list")
    assert (status, " waiting: copy for jan@citizen.test, due " in said.out) == (0, True)
    (submission,) = store.handover.claim(at, timedelta(minutes=1))
    store.handover.failed(submission, "said 451", None)
    status, said = run("outbox", "list")
    assert status == 1
    assert said.out == f"{submission.id} shunted: copy for jan@citizen.test, tried 1 times, said 451\n"
    (found,) = json.loads(run("outbox", "list", "--json")[1].out)["pending"]
    assert (found["state"], found["fault"], found["sender"]) == ("shunted", "said 451", "doctor@care.test")
    status, said = run("outbox", "retry")
    assert (status, said.out) == (0, f"{submission.id} is tried again\n")
    assert run("outbox", "retry", submission.id)[0] == 1
    assert run("outbox", "list")[0] == 0
    store.close()
