"""A PostgreSQL of our own for tests: a cluster in a temporary folder, on a unix socket alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2

USER = "postgres"


def programs() -> Path:
    """The folder of initdb and pg_ctl; raises FileNotFoundError where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """A running cluster; the URL of its server without a database name, to be completed by ``database``."""
    folder = Path(tempfile.mkdtemp(prefix="nta-postgresql-"))  # a short path: it holds the socket
    as_user: tuple[str, ...] = ()
    if os.getuid() == 0:
        shutil.chown(folder, USER)
        as_user = ("runuser", "-u", USER, "--")

    def run(*words: str | Path) -> None:
        done = subprocess.run(
            [*as_user, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]}: {done.stdout}{done.stderr}")

    data = folder / "data"
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=200"
    control = programs() / "pg_ctl"
    try:
        run(programs() / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        run(control, "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
        try:
            yield f"postgresql+psycopg2://{USER}@/{{name}}?host={folder}"
        finally:
            run(control, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """An empty database of that name on the cluster; its URL."""
    folder = server.rpartition("host=")[2]

    def execute(statement: str) -> None:
        connection = psycopg2.connect(host=folder, user=USER, dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    execute(f'CREATE DATABASE "{name}"')
    try:
        yield server.format(name=name)
    finally:
        execute(f'DROP DATABASE "{name}" WITH (FORCE)')
