"""Two projects with a schema each in one database: neither sees the other, or waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

import flagstaff
from flagstaff import changes
from flagstaff._engine.lifecycle import close
from flagstaff.contrib.webhooks import deliver
from flagstaff.history import forget_user
from flagstaff.models import FeatureFlag
from tests.support.fixtures import Query, _create
from tests.support.history import flag_history
from tests.support.webhooks import Webhook
from tests.support.workers import Worker
from tools.postgres import Postgres

Projects = tuple[Worker, Worker, Webhook]

NEW_CHECKOUT = ["flag_enabled", "new_checkout", 3]


def loads() -> int:
    """Runs in the worker."""
    return flagstaff.status().loads


def propagation() -> tuple[bool, int, int]:
    """Whether all workers have the change, and how many have it or not. Runs in the worker."""
    found = flagstaff.wait_for_workers(30)
    return found.complete, found.applied, len(found.pending)


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


def test_worker_of_a_replaced_token_table_is_expected_to_load(worker: Worker, query: Query) -> None:
    # As "pg_restore --clean" does: the worker's table is gone, and its name has another one.
    query("CREATE TABLE kept (LIKE flagstaff_token INCLUDING ALL)")
    query("BEGIN; DROP TABLE flagstaff_token; ALTER TABLE kept RENAME TO flagstaff_token; COMMIT")
    found = worker.ask("call", f"{__name__}.propagation")
    assert found == [True, 1, 0]


@pytest.fixture(scope="module")
def projects(module_postgres_server: Postgres, migrated: str) -> Iterator[Projects]:
    """A worker of each project, and the receiver of webhooks of both."""
    database = _create(module_postgres_server, migrated)
    with Webhook() as hook:
        receiver = {"ops": hook.settings()}
        with (
            Worker(database, WEBHOOKS=receiver) as first,
            Worker(add_project(database), WEBHOOKS=receiver) as second,
        ):
            yield first, second, hook


def see(worker: Worker, name: str, *arguments: object) -> Any:
    """Returns the result of a function below, called in the worker."""
    return worker.ask("call", f"{__name__}.{name}", *arguments)


def change(key: str, percent: int) -> int | None:
    """Creates the flag if it does not exist, and sets its rollout. Runs in the worker."""
    with flagstaff.acting_as("7"):
        if not FeatureFlag.objects.filter(key=key).exists():
            changes.flags.create(key, enabled=True)
        version = changes.flags.set_rollout(key, percent).version
    connection.close()
    return version


def rollouts(key: str) -> list[list[Any]]:
    """The rollout after each change of the history, newest first, with the actor."""
    found = [
        [one.new, event.actor]
        for event in flag_history(key)
        for one in event.differences
        if one.field == "rollout_percent"
    ]
    connection.close()
    return found


def undo(key: str) -> int:
    changes.flags.undo(key)
    percent = FeatureFlag.objects.get(key=key).rollout_percent
    connection.close()
    return percent


def usage_of(*keys: str) -> list[list[Any]]:
    """Evaluates the flags, reports, and returns the usage of all flags."""
    for key in keys:
        flagstaff.flag_enabled(key, 1)
    close()
    found = sorted([hour.key, hour.count] for hour in flagstaff.usage().hours)
    connection.close()
    return found


def delivered() -> int:
    """Delivers the webhooks, and returns the number of delivered ones."""
    [report] = deliver()
    connection.close()
    return report.delivered


def forget() -> int:
    count = forget_user(7)
    connection.close()
    return count


def test_history_and_undo_of_two_projects_are_separate(projects: Projects) -> None:
    first, second, _hook = projects
    see(first, "change", "history", 10)
    see(second, "change", "history", 20)
    see(first, "change", "history", 30)
    assert see(first, "rollouts", "history") == [[30, "7"], [10, "7"]]
    assert see(second, "rollouts", "history") == [[20, "7"]]
    assert see(first, "undo", "history") == 10
    assert see(second, "rollouts", "history") == [[20, "7"]]


def test_usage_of_two_projects_is_separate(projects: Projects) -> None:
    first, second, _hook = projects
    see(first, "change", "in_first", 10)
    see(second, "change", "in_second", 10)
    assert ["in_first", 2] in see(first, "usage_of", "in_first", "in_first")
    assert see(second, "usage_of", "in_second") == [["in_second", 1]]


def test_webhooks_of_two_projects_are_separate(projects: Projects) -> None:
    first, second, hook = projects
    for worker in (first, second):
        see(worker, "delivered")
    hook.received.clear()
    see(first, "change", "webhook_first", 10)
    see(second, "change", "webhook_second", 10)
    see(second, "delivered")
    assert {one.data["key"] for one in hook.received} == {"webhook_second"}
    see(first, "delivered")
    assert {one.data["key"] for one in hook.received} == {"webhook_first", "webhook_second"}


def test_user_is_forgotten_in_one_project(projects: Projects) -> None:
    first, second, _hook = projects
    see(first, "change", "forgotten", 10)
    see(second, "change", "forgotten", 10)
    assert see(first, "forget") > 0
    assert see(first, "rollouts", "forgotten") == [[10, None]]
    assert see(second, "rollouts", "forgotten") == [[10, "7"]]
