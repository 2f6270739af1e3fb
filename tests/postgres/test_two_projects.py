"""Two projects with a schema each in one database: neither waits for the other, or loads for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import flagstaff
from tests.postgres.conftest import Query
from tests.workers import Worker

NEW_CHECKOUT = ["flag_enabled", "new_checkout", 3]


def loads() -> int:
    """Runs in the worker."""
    return flagstaff.status().loads


def propagation() -> tuple[bool, int, int]:
    """Whether all workers have the change, and how many have it or not. Runs in the worker."""
    found = flagstaff.wait_for_workers(2)
    return found.complete, found.applied, len(found.pending)


@pytest.fixture
def other_project(database: str) -> str:
    """The address of another schema of the same database, with the tables of another project."""
    url = make_conninfo(database, options="-c search_path=other")
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("CREATE SCHEMA other")
    with Worker(url) as migrating:
        migrating.ask("migrate")
    return url


@pytest.fixture
def others_worker(other_project: str) -> Iterator[Worker]:
    with Worker(other_project) as worker:
        assert worker.ask("ready", 10) is True
        yield worker


def test_change_of_another_project_does_not_load(
    database: str, others_worker: Worker, other_project: str, query: Query
) -> None:
    with Worker(database, POLL_INTERVAL=3600) as worker:
        worker.ask("ready", 10)
        before = worker.ask("status")["loads"]
        for key in "abcde":
            with psycopg.connect(other_project, autocommit=True) as session:
                session.execute(
                    "INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent) "
                    "VALUES (%s, true, 100)",
                    [key],
                )
            others_worker.sees(["flag_enabled", key], True, within=5)
        query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
        worker.sees(NEW_CHECKOUT, True, within=5)
        # The result changes just before the number of loads.
        worker.sees(["call", f"{__name__}.loads"], before + 1, within=5)


def test_notification_of_an_unknown_table_still_loads(database: str, query: Query) -> None:
    # As the functions of an older version send it, and those of a table that was replaced.
    with Worker(database, POLL_INTERVAL=3600) as worker:
        worker.ask("ready", 10)
        for payload in ("", "1", "4294967295", "99999999999999999999", "no number"):
            before = worker.ask("status")["loads"]
            query("SELECT pg_notify('flagstaff_v1', %s)", payload)
            worker.sees(["call", f"{__name__}.loads"], before + 1, within=5)


def test_wait_leaves_out_workers_of_another_project(
    worker: Worker, others_worker: Worker, query: Query
) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 100")
    found: Any = worker.ask("call", f"{__name__}.propagation")
    assert found == [True, 1, 0]
    # The same from the other side.
    assert others_worker.ask("call", f"{__name__}.propagation") == [True, 1, 0]


def test_worker_of_a_replaced_token_table_is_expected_to_load(worker: Worker, query: Query) -> None:
    # As "pg_restore --clean" does: the worker's table is gone, and its name has another one.
    query("CREATE TABLE kept (LIKE flagstaff_token INCLUDING ALL)")
    query("BEGIN; DROP TABLE flagstaff_token; ALTER TABLE kept RENAME TO flagstaff_token; COMMIT")
    found = worker.ask("call", f"{__name__}.propagation")
    assert found == [True, 1, 0]
