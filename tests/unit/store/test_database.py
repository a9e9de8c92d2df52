import multiprocessing
import os
import signal
import stat
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Column, Integer, inspect, select, text

from nta_milter.errors import ConfigurationError, StoreUnavailable
from nta_milter.store import migrations
from nta_milter.store.database import Database
from nta_milter.store.migrations import migrate
from nta_milter.store.schema import VERSION, factors, metadata, rates, schema_version
from tests.unit.store.conftest import AT, CONTENT, LONG

ADDED = {2: "deliveries DROP COLUMN queue_id", 3: "blobs DROP COLUMN content"}
"""What undoes the step to each version."""


def put_back(database, version):
    """Make the schema what it was in an earlier version."""
    with database.transaction() as connection:
        for number in range(VERSION, version, -1):
            connection.execute(text(f"ALTER TABLE {ADDED[number]}"))
        connection.execute(schema_version.update().values(version=version))


@pytest.fixture
def empty(url):
    opened = Database(url)
    opened.create()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "is not a database URL"),
        ("mysql://care.test/x", "neither sqlite nor postgresql"),
        ("", "is not a database URL"),
        ("postgresql+nothing://x/y", "is not a database URL"),
    ],
)
def test_a_wrong_url_is_named(url, words):
    with pytest.raises(ConfigurationError, match=words):
        Database(url)


def test_a_database_that_cannot_be_reached_is_unavailable_and_shows_no_password(tmp_path):
    for url in (
        f"sqlite:///{tmp_path}/nowhere/store.sqlite",
        f"postgresql://nta:canary@/nta?host={tmp_path}",
    ):
        database = Database(url)
        with pytest.raises(StoreUnavailable) as raised, database.transaction():
            pass
        assert "canary" not in str(raised.value)
        with pytest.raises(StoreUnavailable), database.reading():
            pass
        database.close()


def test_what_raises_inside_a_transaction_undoes_it(database):
    def fail():
        with database.transaction() as connection:
            connection.execute(rates.insert().values(bucket="x", began_at=AT, count=1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.reading() as connection:
        assert connection.execute(select(rates.c.bucket)).all() == []


def test_moments_come_back_exactly(database):
    at = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
    with database.transaction() as connection:
        connection.execute(rates.insert().values(bucket="x", began_at=at, count=1))
        assert connection.execute(select(rates.c.began_at)).scalar() == at


def test_a_reader_does_not_wait_for_a_writer(database):
    with database.transaction() as writer:
        writer.execute(rates.insert().values(bucket="x", began_at=AT, count=1))
        with database.reading() as reader:
            assert reader.execute(select(rates.c.bucket)).all() == []


def test_many_writers_of_sqlite_wait_for_each_other(database):
    def write(number):
        for each in range(10):
            with database.transaction() as connection:
                bucket = f"{number}-{each}"
                connection.execute(rates.insert().values(bucket=bucket, began_at=AT, count=1))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as connection:
        assert len(connection.execute(select(rates.c.bucket)).all()) == 80


def test_a_database_that_is_not_there_is_not_made_by_looking(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/store.sqlite")
    with pytest.raises(ConfigurationError, match="run nta-milter store init"):
        migrations.require(database)
    with pytest.raises(StoreUnavailable, match="unable to open"):
        migrations.version(database)
    assert list(tmp_path.iterdir()) == []


# Migration


def tables(database):
    with database.reading() as connection:
        found = inspect(connection)
        return {
            name: sorted(column["name"] for column in found.get_columns(name))
            for name in found.get_table_names()
        }


def test_an_empty_database_gets_every_table_and_the_version(empty):
    assert migrations.version(empty) == 0
    with pytest.raises(ConfigurationError, match="run nta-milter migrate"):
        migrations.require(empty)
    assert migrate(empty) == 0
    assert migrations.version(empty) == VERSION
    assert tables(empty) == {
        table.name: sorted(column.name for column in table.columns) for table in metadata.sorted_tables
    }
    migrations.require(empty)
    assert migrate(empty) == VERSION


def test_steps_run_in_order_from_the_version_found(empty):
    migrate(empty)
    done = []
    steps = {number: (lambda _, number=number: done.append(number)) for number in range(VERSION, VERSION + 4)}
    assert migrate(empty, steps, VERSION + 2) == VERSION
    assert done == [VERSION + 1, VERSION + 2]
    assert migrate(empty, steps, VERSION + 3) == VERSION + 2
    assert done == [VERSION + 1, VERSION + 2, VERSION + 3]
    assert migrations.version(empty) == VERSION + 3


def test_deliveries_of_version_1_get_their_queue_ids(database, make):
    made = make("portal", "dane")
    made.prepared()
    put_back(database, 1)
    assert migrate(database) == 1
    found = made.store.handover.list_deliveries(message_id=made.new.id)
    assert [delivery.queue_id for delivery in found] == ["4X1", "4X1"]
    migrations.require(database)


def test_blobs_of_version_2_stay_and_new_ones_go_into_rows(database, store, make):
    old = make("dane", content=LONG).released()
    put_back(database, 2)
    assert migrate(database) == 2
    new = make("dane", digest="other").released()
    for made, content in ((old, LONG), (new, CONTENT)):
        with store.open(made.new.id, made.new.blobs[0].id, made.key) as found:
            assert found.read() == content
    assert [name for name, _ in store.blobs.listed()] == [old.new.blobs[0].id]


def test_a_step_that_fails_undoes_all_of_them(empty):
    migrate(empty)

    def add(connection):
        connection.execute(text("ALTER TABLE rates ADD COLUMN more INTEGER"))

    def fail(connection):
        connection.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(StoreUnavailable):
        migrate(empty, {VERSION + 1: add, VERSION + 2: fail}, VERSION + 2)
    assert migrations.version(empty) == VERSION
    assert "more" not in tables(empty)["rates"]
    migrate(empty, {VERSION + 1: add}, VERSION + 1)
    assert "more" in tables(empty)["rates"]


def test_a_database_that_is_newer_is_refused_and_stays_as_it_is(empty):
    migrate(empty)
    with empty.transaction() as connection:
        connection.execute(schema_version.update().values(version=VERSION + 1))
    for refusing in (migrate, migrations.require):
        with pytest.raises(ConfigurationError, match="a newer nta-milter has been here") as refused:
            refusing(empty)
        assert "migrate" not in refused.value.message
    assert migrations.version(empty) == VERSION + 1


def test_a_database_that_is_older_is_for_migrate(empty):
    migrate(empty)
    put_back(empty, VERSION - 1)
    with pytest.raises(ConfigurationError, match=f"has version {VERSION - 1} .* run nta-milter migrate$"):
        migrations.require(empty)
    assert migrate(empty) == VERSION - 1
    migrations.require(empty)


def test_processes_that_migrate_at_once_do_it_once(empty, url):
    steps = []

    def step(_):
        steps.append(1)
        time.sleep(0.05)

    def run():
        opened = Database(url)
        migrate(opened, {VERSION + 1: step}, VERSION + 1)
        opened.close()

    migrate(empty)
    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps == [1]


def test_sqlites_file_is_shared_with_the_group_alone(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/store.sqlite")
    migrate(database)
    with database.transaction() as connection:
        connection.execute(rates.insert().values(bucket="x", began_at=AT, count=1))
        for name in ("store.sqlite", "store.sqlite-wal", "store.sqlite-shm"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o660
    database.close()


def test_every_table_of_the_schema_has_a_primary_key():
    for table in metadata.sorted_tables:
        if table is not schema_version:
            assert list(table.primary_key.columns)
    assert isinstance(factors.c.address, Column)
    assert isinstance(schema_version.c.version.type, Integer)


# Crash


def _write_until_killed(url, ready):
    database = Database(url)
    number = 0
    while True:
        with database.transaction() as connection:
            for part in ("a", "b"):
                connection.execute(rates.insert().values(bucket=f"{number}{part}", began_at=AT, count=number))
        number += 1
        ready.value = number


@pytest.mark.chaos
def test_a_writer_that_is_killed_leaves_whole_transactions(database, tmp_path):
    url = database.url
    context = multiprocessing.get_context("spawn")
    for _ in range(3):
        confirmed = context.Value("i", 0)
        writer = context.Process(target=_write_until_killed, args=(url, confirmed))
        with database.transaction() as connection:
            connection.execute(rates.delete())
        writer.start()
        while confirmed.value < 20:
            time.sleep(0.005)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        end = datetime.now(UTC) + timedelta(seconds=10)
        while True:
            with database.reading() as connection:
                buckets = set(connection.execute(select(rates.c.bucket)).scalars())
            if len(buckets) % 2 == 0 or datetime.now(UTC) > end:
                break
        numbers = {int(bucket[:-1]) for bucket in buckets}
        assert buckets == {f"{number}{part}" for number in numbers for part in "ab"}
        assert len(numbers) >= confirmed.value
