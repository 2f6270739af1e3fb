"""django-cachalot and django-cacheops: what flagstaff reads comes from the database.

Both cache queries of the ORM and notice writes of the ORM only, not those of SQL and triggers.
"""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User

from flagstaff import changes
from flagstaff.exceptions import ConflictError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, browser_of, column, page
from tests.support.fixtures import create_database
from tests.support.history import flag_history
from tests.support.plans import rollout
from tests.support.terminals import document, ok
from tests.support.workers import Worker
from tools.postgres import Postgres

Execute = Callable[[str], None]


@pytest.fixture(scope="module", params=["cachalot", "cacheops"])
def _process(
    request: pytest.FixtureRequest, module_postgres_server: Postgres, migrated: str
) -> Iterator[tuple[str, Worker]]:
    url = create_database(module_postgres_server, migrated)
    with Worker(url, project=f"tests.faults.settings_{request.param}") as worker:
        worker.call(create_users)
        yield url, worker


@pytest.fixture
def cached(_process: tuple[str, Worker]) -> Worker:
    """A process of a project with the cache."""
    return _process[1]


@pytest.fixture
def execute(_process: tuple[str, Worker]) -> Execute:
    """Runs SQL that the cache does not notice."""
    url, _worker = _process

    def run(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(statement.encode())

    return run


# These functions run in the process with the cache, and the commands of the terminal, too.


def create_users() -> None:
    for name in ("anna", "boss"):
        User.objects.create_superuser(name)


def create(key: str) -> None:
    changes.flags.create(key, enabled=True, rollout_percent=10)


def count_events(key: str) -> int:
    return len(flag_history(key))


def set_rollout(key: str, percent: int, expect_version: int | None = None) -> Any:
    try:
        changed = changes.flags.set_rollout(key, percent, expect_version=expect_version)
    except ConflictError:
        return "conflict"
    return [changed.old, changed.new, changed.written]


def get_page(key: str, view: str, query: str = "") -> str:
    """The HTML of a page of a flag, or of the list."""
    pk = FeatureFlag.objects.get(key=key).pk
    return page(browser_of("boss"), f"{FLAGS}{query or f'{pk}/{view}/'}")


def test_cache_is_in_use(cached: Worker, execute: Execute) -> None:
    cached.call(create, "cached")
    assert cached.call(rollout, "cached") == 10
    execute("UPDATE flagstaff_featureflag SET rollout_percent = 20 WHERE key = 'cached'")
    assert cached.call(rollout, "cached") == 10


@pytest.mark.parametrize("by", ["code", "sql"])
def test_expected_version_that_is_old_is_a_conflict(
    by: str, cached: Worker, execute: Execute
) -> None:
    key = f"changed_by_{by}"
    cached.call(create, key)
    seen = cached.call(flag_version, key)
    assert cached.call(count_events, key) == 1
    if by == "code":
        cached.call(set_rollout, key, 20)
    else:
        execute(f"UPDATE flagstaff_featureflag SET rollout_percent = 20 WHERE key = '{key}'")
    assert cached.call(count_events, key) == 2
    assert cached.call(set_rollout, key, 50, seen) == "conflict"


def test_command_shows_a_change_by_sql(cached: Worker, execute: Execute) -> None:
    cached.call(create, "shown")
    assert cached.call(document, "show", "shown")["rollout_percent"] == 10
    execute("UPDATE flagstaff_featureflag SET rollout_percent = 20 WHERE key = 'shown'")
    assert cached.call(document, "show", "shown")["rollout_percent"] == 20
    present = {"rollout_percent": 20}
    assert cached.call(set_rollout, "shown", 20) == [present, present, False]


def test_undo_reverts_a_change_by_sql(cached: Worker, execute: Execute) -> None:
    cached.call(create, "undone")
    cached.call(set_rollout, "undone", 20)
    assert cached.call(document, "undo", "undone")["new"] == {"rollout_percent": 10}
    execute("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'undone'")
    assert cached.call(document, "undo", "undone")["new"] == {"enabled": True}


def test_allowed_users_by_sql_are_seen(cached: Worker, execute: Execute) -> None:
    def allowed() -> list[int]:
        return [user["pk"] for user in cached.call(document, "show", "allowed")["allowed_users"]]

    cached.call(create, "allowed")
    cached.call(ok, "allow allowed anna")
    assert allowed() == [1]
    table = "flagstaff_featureflag_allowed_users"
    flag = "(SELECT id FROM flagstaff_featureflag WHERE key = 'allowed')"
    execute(f"UPDATE {table} SET user_id = 2 WHERE featureflag_id = {flag}")
    cached.call(ok, "allow allowed anna")
    assert allowed() == [1, 2]
    execute(f"DELETE FROM {table} WHERE featureflag_id = {flag}")
    assert allowed() == []


def test_flag_is_deleted_with_allowed_users_by_sql(cached: Worker, execute: Execute) -> None:
    cached.call(create, "deleted")
    # Django reads what it would delete.
    cached.call(get_page, "deleted", "delete")
    execute(
        "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id) "
        "SELECT id, 2 FROM flagstaff_featureflag WHERE key = 'deleted'"
    )
    cached.call(ok, "delete deleted --yes")


def test_admin_shows_a_change_by_sql(cached: Worker, execute: Execute) -> None:
    def shown() -> list[Any]:
        """The number of changes on the history page, and the states in the list."""
        history = cached.call(get_page, "admin", "history")
        listed = cached.call(get_page, "admin", "", "?q=admin")
        return [history.count('id="version-'), column(listed, "state")]

    cached.call(create, "admin")
    assert shown() == [1, ["rollout 10 %"]]
    execute("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'admin'")
    assert shown() == [2, ["off 10 % when on"]]
