"""Two projects with a schema each in one database: neither sees the other, or waits for it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import flagstaff
from flagstaff import changes
from flagstaff._engine.lifecycle import close
from flagstaff.contrib.webhooks import deliver
from flagstaff.history import forget_user
from flagstaff.models import FeatureFlag
from tests.support.fixtures import Query, create_database
from tests.support.history import flag_history
from tests.support.terminals import ok
from tests.support.webhooks import Webhook
from tests.support.workers import Worker
from tools.postgres import Postgres

Projects = tuple[Worker, Worker, Webhook]

NEW_CHECKOUT = ["flag_enabled", "new_checkout", 3]


def propagation() -> tuple[bool, int, int]:
    """Whether all workers have the change, and how many have it or not. Runs in the worker."""
    propagated = flagstaff.wait_for_workers(30)
    return propagated.complete, propagated.applied, len(propagated.pending)


@pytest.fixture
def other_project(database: str) -> str:
    """The address of another schema of the same database, with the tables of another project."""
    return add_project(database)


def add_project(database: str) -> str:
    url = make_conninfo(database, options="-c search_path=other")
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("CREATE SCHEMA other")
    with Worker(url) as migrating:
        migrating.ask("migrate")
    return url


@pytest.fixture
def others_worker(other_project: str) -> Iterator[Worker]:
    with Worker(other_project).loaded() as worker:
        yield worker


def test_change_of_another_project_does_not_load(
    database: str, others_worker: Worker, other_project: str, query: Query
) -> None:
    with Worker(database, POLL_INTERVAL=3600).loaded() as worker:
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
        worker.sees(["field", "loads"], before + 1, within=5)


def test_worker_of_a_replaced_token_table_is_expected_to_load(worker: Worker, query: Query) -> None:
    # As "pg_restore --clean" does: the worker's table is gone, and its name has another one.
    query("CREATE TABLE kept (LIKE flagstaff_token INCLUDING ALL)")
    query("BEGIN; DROP TABLE flagstaff_token; ALTER TABLE kept RENAME TO flagstaff_token; COMMIT")
    propagated = worker.call(propagation)
    assert propagated == [True, 1, 0]


@pytest.fixture(scope="module")
def projects(module_postgres_server: Postgres, migrated: str) -> Iterator[Projects]:
    """A worker of each project, and the receiver of webhooks of both."""
    database = create_database(module_postgres_server, migrated)
    with Webhook() as hook:
        receiver = {"ops": hook.settings()}
        with (
            Worker(database, WEBHOOKS=receiver) as first,
            Worker(add_project(database), WEBHOOKS=receiver) as second,
        ):
            yield first, second, hook


# These functions run in the workers.


def change(key: str, percent: int) -> None:
    """Creates the flag if it does not exist, and sets its rollout."""
    with flagstaff.acting_as("7"):
        if not FeatureFlag.objects.filter(key=key).exists():
            changes.flags.create(key, enabled=True)
        changes.flags.set_rollout(key, percent)


def rollouts(key: str) -> list[list[Any]]:
    """The rollout after each change of the history, newest first, with the actor."""
    return [
        [difference.new, event.actor]
        for event in flag_history(key)
        for difference in event.differences
        if difference.field == "rollout_percent"
    ]


def usage_of(*keys: str) -> list[list[Any]]:
    """Evaluates the flags, reports, and returns the usage of all flags."""
    for key in keys:
        flagstaff.flag_enabled(key, 1)
    close()
    return sorted([hour.key, hour.count] for hour in flagstaff.usage().hours)


def send_webhooks() -> None:
    deliver()


def test_history_and_undo_of_two_projects_are_separate(projects: Projects) -> None:
    first, second, _hook = projects
    first.call(change, "history", 10)
    second.call(change, "history", 20)
    first.call(change, "history", 30)
    assert first.call(rollouts, "history") == [[30, "7"], [10, "7"]]
    assert second.call(rollouts, "history") == [[20, "7"]]
    first.call(ok, "undo history")
    assert [percent for percent, _actor in first.call(rollouts, "history")] == [10, 30, 10]
    assert second.call(rollouts, "history") == [[20, "7"]]


def test_usage_of_two_projects_is_separate(projects: Projects) -> None:
    first, second, _hook = projects
    first.call(change, "in_first", 10)
    second.call(change, "in_second", 10)
    assert ["in_first", 2] in first.call(usage_of, "in_first", "in_first")
    assert second.call(usage_of, "in_second") == [["in_second", 1]]


def test_webhooks_of_two_projects_are_separate(projects: Projects) -> None:
    first, second, hook = projects
    for worker in (first, second):
        worker.call(send_webhooks)
    hook.received.clear()
    first.call(change, "webhook_first", 10)
    second.call(change, "webhook_second", 10)
    second.call(send_webhooks)
    assert {request.data["key"] for request in hook.received} == {"webhook_second"}
    first.call(send_webhooks)
    assert {request.data["key"] for request in hook.received} == {"webhook_first", "webhook_second"}


def test_user_is_forgotten_in_one_project(projects: Projects) -> None:
    first, second, _hook = projects
    first.call(change, "forgotten", 10)
    second.call(change, "forgotten", 10)
    assert first.call(forget_user, 7) > 0
    assert first.call(rollouts, "forgotten") == [[10, None]]
    assert second.call(rollouts, "forgotten") == [[10, "7"]]
