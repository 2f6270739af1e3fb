"""The triggers make no writer wait for another, cause no deadlock, and write few entries."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

pytestmark = pytest.mark.timeout(180)

# One thread runs both transactions, so a wait for the other one would never end.
NO_WAIT = "-c lock_timeout=5s"
WRITE = "UPDATE flagstaff_featureflag SET enabled = NOT enabled WHERE key = %s"


@pytest.fixture
def flags(database: str) -> str:
    """A database with a flag for each writer."""
    with psycopg.connect(database) as session:
        session.execute(
            "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent)"
            " SELECT 'flag_' || number, true, 50 FROM generate_series(0, 199) AS number"
        )
    return database


@pytest.fixture
def writers(flags: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """Two sessions that fail if they wait for a lock."""
    with (
        psycopg.connect(flags, options=NO_WAIT) as first,
        psycopg.connect(flags, options=NO_WAIT) as second,
    ):
        yield first, second


@pytest.mark.parametrize(
    "level",
    [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ],
    ids=["read committed", "repeatable read"],
)
def test_write_does_not_wait_for_another_open_transaction(
    level: psycopg.IsolationLevel, writers: tuple[psycopg.Connection, psycopg.Connection]
) -> None:
    first, second = writers
    for session in writers:
        session.isolation_level = level
    for _ in range(20):
        first.execute(WRITE, ["flag_1"])
        second.execute(WRITE, ["flag_2"])
        second.commit()
        # Another flag after the other writer's: would deadlock on a shared version row.
        first.execute(WRITE, ["flag_3"])
        first.commit()


def test_commit_does_not_wait_for_another_open_transaction(
    writers: tuple[psycopg.Connection, psycopg.Connection],
) -> None:
    first, second = writers
    for _ in range(20):
        first.execute(WRITE, ["flag_1"])
        second.execute(WRITE, ["flag_2"])
        second.commit()
        first.rollback()


USERS = 100_000
CREATE_USERS = f"""
INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff,
    is_active, date_joined)
SELECT 'user ' || n, '', '', '', '', false, false, true, now()
FROM generate_series(1, {USERS}) AS n
"""
ADD = """
INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
SELECT f.id, u.id FROM flagstaff_featureflag AS f, auth_user AS u WHERE f.key = 'flag_1'
"""
REMOVE = "DELETE FROM flagstaff_featureflag_allowed_users"
ENTRIES = "SELECT action, jsonb_array_length(old), jsonb_array_length(new) FROM flagstaff_change"


def test_adding_and_removing_many_users_writes_one_entry_each(flags: str) -> None:
    with psycopg.connect(flags, autocommit=True) as session:
        session.execute(CREATE_USERS.encode())
        session.execute(ADD)
        session.execute(REMOVE)
        entries = session.execute(f"{ENTRIES} WHERE relation = 'm' ORDER BY id".encode()).fetchall()
    assert entries == [("insert", 0, USERS), ("delete", USERS, 0)]
