"""The impact of a rollout over a million users, as ratios to a bare count of the same table.

    python -m benches.impact          (beside a DATABASE_URL; `make bench` runs all)

Users have integers or UUIDs as primary keys. The first figures are of a table that was just filled,
the second of the same table after a vacuum.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from statistics import median

import psycopg
from psycopg.conninfo import make_conninfo

from benches._project import execute, run_bench

USERS, ROUNDS = 1_000_000, 5
KINDS = {
    "integers": ("tests.support.settings", "n"),
    "UUIDs": ("tests.support.apps.settings_uuid", "pg_catalog.gen_random_uuid()"),
}
# The columns of a user; each model has some of them.
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
    """Measures each kind in its own process and database, because each has its own user model."""
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
            try:
                print(run_bench("impact", name, **own), end="", flush=True)
            finally:
                session.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())


def measure(name: str) -> None:
    """Fills the table and counts, before and after a vacuum."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection

    from flagstaff.models import FeatureFlag

    call_command("migrate", run_syncdb=True, verbosity=0)
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=10)
    table = connection.ops.quote_name(get_user_model()._meta.db_table)
    columns = {"id": KINDS[name][1]} | {
        field.column: COLUMNS[field.column]
        for field in get_user_model()._meta.local_concrete_fields
        if field.column in COLUMNS
    }
    execute(
        f"ALTER TABLE {table} SET (autovacuum_enabled = false)",
        f"INSERT INTO {table} ({', '.join(columns)}) "  # noqa: S608 (constant names)
        f"SELECT {', '.join(columns.values())} FROM generate_series(1, {USERS}) AS n",
    )
    show(f"{USERS:,} {name}, just filled", table)
    execute(f"VACUUM ANALYZE {table}")
    show(f"{USERS:,} {name}, vacuumed", table)


def show(title: str, table: str) -> None:
    """Prints the first duration and the median of each."""
    from flagstaff._tables.rows import Kind
    from flagstaff.changes.impact import impact
    from flagstaff.changes.row_states import RowState
    from flagstaff.models import FeatureFlag

    def run_impact() -> int:
        now = RowState(Kind.FLAG, FeatureFlag.objects.get())
        [effect] = impact([now], [now.after({"rollout_percent": 50})], timeout=60).values()
        # A sample.
        return round(effect.users or 0, -5)

    def count() -> int:
        [number] = execute(f"SELECT count(id) FROM {table}")  # noqa: S608 (the model's own table)
        return int(number)

    print(title)
    first, impact_median = times(run_impact)
    _, count_median = times(count)
    ratio = f"ratio {impact_median / count_median:.1f}"
    print(f"  impact       first {first:5.2f} s   median {impact_median:5.2f} s   {ratio}")
    print(f"  count(pk)                   median {count_median:5.2f} s")


def times(run: Callable[[], int]) -> tuple[float, float]:
    """Returns the first duration and the median of all, in seconds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.monotonic()
        assert run() == USERS  # noqa: S101 (checks what is measured)
        taken.append(time.monotonic() - started)
    return taken[0], median(taken)


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
