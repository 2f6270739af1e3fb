"""A kill always arrives: rules that cannot be read never hide the other columns of a flag."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.db import connection

import flagstaff
from flagstaff.models import FeatureFlag
from tests.support.workers import Worker, address, calling

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
FLAGS = "flagstaff_featureflag"
# The present rules are true for every user without a plan, which is every user of these tests.
GOOD = '[{"conditions": [{"attribute": "plan", "operator": "isnull", "values": [true]}]}]'
# The present rules match nobody, so the other columns decide.
NOBODY = GOOD.replace("true", "false")
UNREADABLE = {
    "not a list": "'{\"conditions\": []}'",
    "null": "'null'",
    "no conditions": "'[{}]'",
    "a newer operator": "'" + GOOD.replace("isnull", "near") + "'",
    "a newer member": "'" + GOOD.replace("}]}]", '}], "from": 1}]') + "'",
    "deeply nested": "(repeat('[', 500) || repeat(']', 500))::jsonb",
}
ALICE = """
INSERT INTO auth_user (id, username, password, is_superuser, is_staff, is_active, first_name,
    last_name, email, date_joined)
VALUES (42, 'alice', '', false, false, true, '', '', '', now())
"""
ENABLED: list[Any] = ["flag_enabled", KEY, 42]
Sql = Callable[..., Any]


@pytest.fixture
def url(transactional_db: None) -> str:
    return address(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])


@pytest.fixture
def sql(url: str) -> Iterator[Sql]:
    """Runs SQL over a connection of its own, as psql does."""
    with closing(psycopg.connect(url, autocommit=True)) as session:
        yield lambda statement: session.execute(statement.encode())


@pytest.fixture(scope="module")
def started_workers(django_db_setup: None) -> Iterator[list[Worker]]:
    """Workers that listen, and one that only polls."""
    url = address(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])
    with (
        Worker(url, POLL_INTERVAL=60) as first,
        Worker(url, POLL_INTERVAL=60) as other,
        Worker(url, LISTEN=False, POLL_INTERVAL=0.2) as polling,
    ):
        yield [first, other, polling]


@pytest.fixture
def workers(started_workers: list[Worker], flag: FeatureFlag) -> list[Worker]:
    """Workers that have loaded the flag."""
    for worker in started_workers:
        worker.ask("refresh")
    return started_workers


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key=KEY, enabled=True)


def all_see(workers: list[Worker], result: bool) -> None:
    for worker in workers:
        worker.sees(ENABLED, result, within=1.0)


def consequence_of_problem() -> str | None:
    """What happens because rules or conditions cannot be read. Runs in the worker."""
    for problem in flagstaff.status().problems:
        return problem.partition(" cannot be read, so ")[2].partition(":")[0]
    return None


@pytest.fixture
def unreadable(request: pytest.FixtureRequest, sql: Sql, workers: list[Worker]) -> None:
    """The rules of the flag cannot be read; the last good ones match nobody."""
    sql(f"UPDATE {FLAGS} SET rules = '{NOBODY}'")
    for worker in workers:
        worker.ask("refresh")
    sql(f"UPDATE {FLAGS} SET rollout_percent = 100")
    sql(f"UPDATE {FLAGS} SET rules = {request.param}")
    for worker in workers:
        worker.sees(calling(consequence_of_problem), "its last good rules stay", within=5)


@pytest.mark.usefixtures("unreadable")
@pytest.mark.parametrize("unreadable", UNREADABLE.values(), ids=UNREADABLE, indirect=True)
def test_other_columns_of_a_flag_with_unreadable_rules_arrive_in_every_worker(
    sql: Sql, workers: list[Worker]
) -> None:
    all_see(workers, result=True)
    sql(f"UPDATE {FLAGS} SET rollout_percent = 0")
    all_see(workers, result=False)
    sql(ALICE)
    sql(f"INSERT INTO {FLAGS}_allowed_users (featureflag_id, user_id) SELECT id, 42 FROM {FLAGS}")
    all_see(workers, result=True)
    sql(f"UPDATE {FLAGS} SET enabled = false")
    all_see(workers, result=False)
    assert workers[0].ask("explain", KEY, 42)["reason"] == "DISABLED"


def test_new_worker_cannot_evaluate_unreadable_rules_but_the_kill_arrives(
    sql: Sql, url: str, flag: FeatureFlag
) -> None:
    for number, rules in enumerate(UNREADABLE.values()):
        sql(
            f"INSERT INTO {FLAGS} (key, enabled, rollout_percent, rules) "
            f"SELECT 'flag {number}', true, 100, {rules}"
        )
    keys = [f"flag {number}" for number in range(len(UNREADABLE))]
    with Worker(url).loaded() as worker:
        assert [worker.ask("reason_of", key, 42) for key in keys] == ["ERROR"] * len(keys)
        for key, problem in zip(keys, worker.ask("problems"), strict=True):
            start = (
                f'the rules of flag "{key}" cannot be read, so it returns the default of the call: '
            )
            assert problem.startswith(start)
        sql(f"UPDATE {FLAGS} SET enabled = false")
        for key in keys:
            worker.sees(["reason_of", key, 42], "DISABLED", within=1.0)


@pytest.mark.parametrize("conditions", ["'{}'", "'[]'"])
def test_segment_with_unreadable_conditions_does_not_hide_a_kill(
    conditions: str, sql: Sql, workers: list[Worker]
) -> None:
    is_free = '[{"attribute": "plan", "operator": "isnull", "values": [true]}]'
    sql(f"INSERT INTO flagstaff_segment (key, conditions) VALUES ('free', '{is_free}')")
    sql(f'UPDATE {FLAGS} SET rules = \'[{{"conditions": [{{"segment": "free"}}]}}]\'')
    all_see(workers, result=True)
    sql(f"UPDATE flagstaff_segment SET conditions = {conditions}")
    for worker in workers:
        while not worker.ask("problems"):
            pass
        assert len(worker.ask("problems")) == 1
        assert worker.ask(*ENABLED) is True
    sql(f"UPDATE {FLAGS} SET enabled = false")
    all_see(workers, result=False)
