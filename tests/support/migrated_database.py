"""The database that tests of several processes copy: all tables, no rows."""

import psycopg
from psycopg.conninfo import make_conninfo

from tests.support.other_runs import start_sequences
from tests.support.python_processes import run_python
from tools.postgres import Postgres

MIGRATED = "migrated"


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
