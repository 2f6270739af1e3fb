"""`impact` over a million users, as ratios to a bare count of the same table in the same run.

    python -m benches.impact          (beside a DATABASE_URL; `make bench` runs all)

Users have integers or UUIDs for primary keys. Their table was filled just now, so that no vacuum
has seen it, and is then vacuumed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __package__ != "benches":
    sys.path[:0] = [str(ROOT)]

import psycopg  # noqa: E402 (the path comes first)
from psycopg.conninfo import make_conninfo  # noqa: E402

USERS, ROUNDS = 1_000_000, 5
KINDS = {
    "integers": ("tests.settings", "n"),
    "UUIDs": ("tests.apps.settings_uuid", "pg_catalog.gen_random_uuid()"),
}
# What is in a user's row; each model has some of it.
COLUMNS = {
    "username": "'user ' || n",
    "password": "repeat('x', 88)",
    "first_name": "'Ada'",
    "last_name": "'Lovelace'",
    "email": "'user' || n || '@example.com'",
    "is_superuser": "false",
    "is_staff": "false",
    "is_active": "true",
    "date_joined": "now()",
}


def main() -> None:
    """Measure each kind in a process and a database of its own, for each has its user model."""
    url = os.environ["DATABASE_URL"]
    for name, (settings, _) in KINDS.items():
        database = f"impact_{name.lower()}"
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(f"DROP DATABASE IF EXISTS {database}".encode())
            session.execute(f"CREATE DATABASE {database}".encode())
            own = {
                "DATABASE_URL": make_conninfo(url, dbname=database),
                "DJANGO_SETTINGS_MODULE": settings,
            }
            command = [sys.executable, "-m", "benches.impact", name]
            try:
                subprocess.run(command, cwd=ROOT, env=os.environ | own, check=True)
            finally:
                session.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())


def measure(name: str) -> None:
    """Fill the table and count, before and after a vacuum."""
    import django  # noqa: PLC0415

    django.setup()
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    from flagstaff.models import FeatureFlag  # noqa: PLC0415

    call_command("migrate", run_syncdb=True, verbosity=0)
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=10)
    table = connection.ops.quote_name(get_user_model()._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        columns = {"id": KINDS[name][1]} | {
            field.column: COLUMNS[field.column]
            for field in get_user_model()._meta.local_concrete_fields
            if field.column in COLUMNS
        }
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "  # noqa: S608 (names of our own)
            f"SELECT {', '.join(columns.values())} FROM generate_series(1, {USERS}) AS n"
        )
        show(f"{USERS:,} {name}, filled just now", cursor, table)
        cursor.execute(f"VACUUM ANALYZE {table}")
        show(f"{USERS:,} {name}, vacuumed", cursor, table)


def show(title: str, cursor: Any, table: str) -> None:
    """Print how long each takes: the first time, and the median of some times after it."""
    from flagstaff import impact  # noqa: PLC0415

    def ask() -> int:
        return impact("new_checkout", 50, timeout=60).users

    def count() -> int:
        cursor.execute(f"SELECT count(id) FROM {table}")  # noqa: S608 (the model's own table)
        return int(cursor.fetchone()[0])

    print(title)
    first, asked = times(ask)
    _, counted = times(count)
    ratio = f"ratio {asked / counted:.1f}"
    print(f"  impact       first {first:5.2f} s   median {asked:5.2f} s   {ratio}")
    print(f"  count(pk)                   median {counted:5.2f} s", flush=True)


def times(act: Callable[[], int]) -> tuple[float, float]:
    """The seconds of the first time, and the median of all."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.monotonic()
        assert act() == USERS  # noqa: S101 (what is measured must be right)
        taken.append(time.monotonic() - begun)
    return taken[0], median(taken)


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
