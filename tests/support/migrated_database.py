"""The database that tests of several processes copy: all tables, no rows."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
from psycopg.conninfo import make_conninfo

from tests.support.workers import ROOT
from tools.postgres import Postgres

MIGRATED = "migrated"


def create_migrated_database(server: Postgres) -> None:
    """Creates the database and its tables. Does nothing where it exists. Blocks for seconds."""
    with psycopg.connect(server.url, autocommit=True) as session:
        exists = "SELECT FROM pg_database WHERE datname = %s"
        if session.execute(exists, [MIGRATED]).fetchone() is not None:
            return
        session.execute(f"CREATE DATABASE {MIGRATED}".encode())
    url = make_conninfo(server.url, dbname=MIGRATED)
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity=0"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.support.settings"},
        check=True,
    )
