"""The database that tests of several processes copy, and the clusters that servers are copies of.

A parallel run creates each cluster once. As a command, `python -m tests.support.migrated_database`
creates that of the run with this database.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from tests.support.other_runs import start_sequences
from tests.support.python_processes import run_python
from tools.postgres import Postgres
from tools.postgres_account import open_directory, remove_directory

#: It has all tables, and no rows.
MIGRATED = "migrated"
#: The settings whose tables it has.
SETTINGS = "tests.support.settings"
#: The directory with the clusters of a parallel run, which `tests.support.own_server` sets.
VARIABLE = "TEST_CLUSTERS"


@contextmanager
def cluster(name: str, fill: Callable[[Postgres], None]) -> Iterator[Path]:
    """Yields the data directory of a stopped server that `fill` has filled.

    The first process of a parallel run that needs it creates it, and the others wait.
    """
    clusters = os.environ.get(VARIABLE)
    if clusters is None:
        directory = open_directory()
        try:
            yield _create(directory, fill)
        finally:
            remove_directory(directory)
        return
    directory = Path(clusters) / name
    with (Path(clusters) / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = Path(clusters) / f"{name}.done"
        if not done.exists():
            remove_directory(directory)
            _create(directory, fill)
            done.touch()
    yield directory / "data"


def _create(directory: Path, fill: Callable[[Postgres], None]) -> Path:
    with Postgres(directory) as server:
        fill(server)
    return directory / "data"


def migrated_cluster_of_run() -> Path | None:
    """Returns the data directory of the run's cluster with the database; None: it has none."""
    if VARIABLE not in os.environ:
        return None
    with cluster(MIGRATED, create_migrated_database) as data:
        return data


def create_migrated_database(server: Postgres) -> None:
    """Creates the database and its tables. Does nothing where it exists. Blocks for seconds."""
    with psycopg.connect(server.url, autocommit=True) as session:
        exists = "SELECT FROM pg_database WHERE datname = %s"
        if session.execute(exists, [MIGRATED]).fetchone() is not None:
            return
        session.execute(f"CREATE DATABASE {MIGRATED}".encode())
    run_python(
        make_conninfo(server.url, dbname=MIGRATED), "-m", "django", "migrate", "--verbosity=0"
    )
    with psycopg.connect(server.url, dbname=MIGRATED, autocommit=True) as session:
        session.execute(start_sequences(first=1).encode())


if __name__ == "__main__":
    migrated_cluster_of_run()
