"""What the triggers cost whoever writes: no waiting for others, no deadlock, little time."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from statistics import median

import psycopg
import pytest

from tests.repeats import repeats
from tools.postgres import Postgres

pytestmark = pytest.mark.timeout(180)

# A machine that has nothing else to do needs half of it.
AT_ONCE = 0.05 * 2
LEAST_RATE = 0.7
SECONDS = repeats(2, 1)
MOST_OF_A_CROWD = 2.0
TABLES = (
    "flagstaff_featureflag",
    "flagstaff_featureflag_allowed_users",
    "flagstaff_keyvaluestore",
)
# Each of eight clients has a flag of its own, and thinks before it commits: for 5 ms on a machine
# that has nothing else to do, so that it is not the processors that are measured.
WRITE = r"""
BEGIN;
UPDATE flagstaff_featureflag SET enabled = NOT enabled WHERE key = 'flag_:client_id';
\sleep 10 ms
COMMIT;
"""


@pytest.fixture
def flags(database: str) -> str:
    """A database with a flag for each writer."""
    with psycopg.connect(database) as session:
        session.execute(
            "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)"
            " SELECT 'flag_' || number, true, 50 FROM generate_series(0, 199) AS number"
        )
    return database


def seconds(session: psycopg.Connection[object], key: str) -> float:
    """What a write of this flag takes."""
    begun = time.monotonic()
    session.execute("UPDATE flagstaff_featureflag SET enabled = NOT enabled WHERE key = %s", [key])
    return time.monotonic() - begun


@pytest.mark.parametrize(
    "level",
    [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ],
    ids=["read committed", "repeatable read"],
)
def test_a_write_does_not_wait_for_an_open_one(level: psycopg.IsolationLevel, flags: str) -> None:
    with psycopg.connect(flags) as first, psycopg.connect(flags) as second:
        for session in (first, second):
            session.isolation_level = level
        for _ in range(20):
            seconds(first, "flag_1")
            assert seconds(second, "flag_2") < AT_ONCE
            second.commit()
            # What had deadlocked with one row for the version: one flag more, after the other's.
            assert seconds(first, "flag_3") < AT_ONCE
            first.commit()


def test_commits_of_two_writers_do_not_wait_for_each_other(flags: str) -> None:
    with psycopg.connect(flags) as first, psycopg.connect(flags) as second:
        for _ in range(20):
            seconds(first, "flag_1")
            seconds(second, "flag_2")
            begun = time.monotonic()
            second.commit()
            assert time.monotonic() - begun < AT_ONCE
            first.rollback()


def test_eight_writers_keep_most_of_their_rate(
    flags: str, server: Postgres, tmp_path: Path
) -> None:
    script = tmp_path / "write.sql"
    script.write_text(WRITE)
    rates: dict[str, list[float]] = {"ENABLE": [], "DISABLE": []}
    # One after the other, so that both meet the same neighbours.
    for _ in range(4):
        for state, found in rates.items():
            with psycopg.connect(flags) as session:
                for table in TABLES:
                    session.execute(f"ALTER TABLE {table} {state} TRIGGER USER".encode())
            found.append(rate(server, flags, script))
    assert median(rates["ENABLE"]) >= LEAST_RATE * median(rates["DISABLE"]), rates


CROWD = 100_000
PEOPLE = f"""
INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff,
    is_active, date_joined)
SELECT 'guest ' || n, '', '', '', '', false, false, true, now()
FROM generate_series(1, {CROWD}) AS n
"""
ALLOW = """
INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
SELECT f.id, u.id FROM flagstaff_featureflag AS f, auth_user AS u WHERE f.key = 'flag_1'
"""
DENY = "DELETE FROM flagstaff_featureflag_allowed_users"
LISTED = "SELECT action, jsonb_array_length(old), jsonb_array_length(new) FROM flagstaff_change"


def test_crowd_comes_and_goes_in_an_entry_each_and_soon(flags: str) -> None:
    taken: dict[str, list[float]] = {"DISABLE": [], "ENABLE": []}
    with psycopg.connect(flags, autocommit=True) as session:
        session.execute(PEOPLE.encode())
        session.execute("ANALYZE")
        # One after the other, so that both meet the same neighbours.
        for _ in range(3):
            for state, found in taken.items():
                session.execute(f"ALTER TABLE {TABLES[1]} {state} TRIGGER USER".encode())
                begun = time.monotonic()
                session.execute(ALLOW)
                found.append(time.monotonic() - begun)
                session.execute(DENY)
                session.execute(f"VACUUM {TABLES[1]}".encode())
        entries = session.execute(f"{LISTED} WHERE relation = 'm' ORDER BY id".encode()).fetchall()
    assert entries == [("insert", 0, CROWD), ("delete", CROWD, 0)] * 3
    assert min(taken["ENABLE"]) <= MOST_OF_A_CROWD * min(taken["DISABLE"]), taken


def rate(server: Postgres, database: str, script: Path) -> float:
    """Transactions a second of eight clients, none of which may have failed."""
    options = ["--no-vacuum", "--client=8", f"--time={SECONDS}", f"--file={script}"]
    ran = subprocess.run(
        [server.programs / "pgbench", *options, database],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"failed transactions: 0 ", ran.stdout), ran.stdout
    found = re.search(r"tps = ([\d.]+)", ran.stdout)
    assert found, ran.stdout
    return float(found[1])
