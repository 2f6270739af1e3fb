"""The triggers make no writer wait for another, and cause no deadlock."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

pytestmark = pytest.mark.timeout(180)

# One thread runs both transactions, so a wait for the other one would never end.
NO_WAIT = "-c lock_timeout=5s"
WRITE = "UPDATE flagstaff_featureflag SET enabled = NOT enabled WHERE key = %s"


@pytest.fixture
def writers(database: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """Two sessions that fail if they wait for a lock."""
    with (
        psycopg.connect(database, options=NO_WAIT) as first,
        psycopg.connect(database, options=NO_WAIT) as second,
    ):
        first.execute(
            "INSERT INTO flagstaff_featureflag (key) VALUES ('flag_1'), ('flag_2'), ('flag_3')"
        )
        first.commit()
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
