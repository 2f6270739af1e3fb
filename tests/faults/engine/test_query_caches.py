"""django-cachalot and django-cacheops: what flagstaff reads comes from the database.

Both cache queries of the ORM and notice writes of the ORM only, not those of SQL and triggers.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from flagstaff import changes
from flagstaff.exceptions import ConflictError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, column, page
from tests.support.fixtures import _create
from tests.support.history import flag_history
from tests.support.workers import Worker
from tools.postgres import Postgres

Execute = Callable[[str], None]
See = Callable[..., Any]


@pytest.fixture(scope="module", params=["cachalot", "cacheops"])
def _process(
    request: pytest.FixtureRequest, module_postgres_server: Postgres, migrated: str
) -> Iterator[tuple[str, Worker]]:
    url = _create(module_postgres_server, migrated)
    with Worker(url, project=f"tests.faults.settings_{request.param}") as worker:
        worker.ask("call", f"{__name__}.create_users")
        yield url, worker


@pytest.fixture
def see(_process: tuple[str, Worker]) -> See:
    """Calls one of the functions below in a process of a project with the cache."""
    _url, worker = _process
    return lambda name, *arguments: worker.ask("call", f"{__name__}.{name}", *arguments)


@pytest.fixture
def execute(_process: tuple[str, Worker]) -> Execute:
    """Runs SQL that the cache does not notice."""
    url, _worker = _process

    def run(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(statement.encode())

    return run


# These functions run in the process with the cache.


def create_users() -> None:
    for name in ("anna", "boss"):
        User.objects.create_superuser(name)


def rollout_in_the_cache(key: str) -> int:
    return FeatureFlag.objects.get(key=key).rollout_percent


def create(key: str) -> int | None:
    return changes.flags.create(key, enabled=True, rollout_percent=10).version


def version(key: str) -> int | None:
    return flag_version(key)


def count_events(key: str) -> int:
    return len(flag_history(key))


def set_rollout(key: str, percent: int, expect_version: int | None = None) -> Any:
    try:
        changed = changes.flags.set_rollout(key, percent, expect_version=expect_version)
    except ConflictError:
        return "conflict"
    return [changed.old, changed.new, changed.written]


def undo(key: str) -> Any:
    return changes.flags.undo(key).new


def delete(key: str) -> bool:
    return changes.flags.delete(key).written


def allow(key: str, *pks: int) -> Any:
    changes.flags.allow(key, pks)
    return command("show", key, "--json")["allowed_users"]


def command(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("flags", *arguments, stdout=out)
    return json.loads(out.getvalue())


def client() -> Client:
    found = Client()
    found.force_login(User.objects.get(username="boss"))
    return found


def delete_page(key: str) -> int:
    flag = FeatureFlag.objects.get(key=key)
    return client().get(f"{FLAGS}{flag.pk}/delete/").status_code


def pages(key: str) -> list[Any]:
    """The number of changes on the history page, and the states in the list."""
    flag, boss = FeatureFlag.objects.get(key=key), client()
    history = page(boss, f"{FLAGS}{flag.pk}/history/")
    return [history.count('id="version-'), column(page(boss, f"{FLAGS}?q={key}"), "state")]


def test_cache_is_in_use(see: See, execute: Execute) -> None:
    see("create", "cached")
    assert see("rollout_in_the_cache", "cached") == 10
    execute("UPDATE flagstaff_featureflag SET rollout_percent = 20 WHERE key = 'cached'")
    assert see("rollout_in_the_cache", "cached") == 10


def test_expected_version_that_is_old_is_a_conflict(see: See) -> None:
    see("create", "expected")
    seen = see("version", "expected")
    see("set_rollout", "expected", 5)
    assert see("set_rollout", "expected", 50, seen) == "conflict"


def test_change_by_sql_is_in_the_history_and_a_conflict(see: See, execute: Execute) -> None:
    see("create", "by_sql")
    seen = see("version", "by_sql")
    assert see("count_events", "by_sql") == 1
    execute("UPDATE flagstaff_featureflag SET rollout_percent = 20 WHERE key = 'by_sql'")
    assert see("count_events", "by_sql") == 2
    assert see("set_rollout", "by_sql", 50, seen) == "conflict"


def test_command_shows_a_change_by_sql(see: See, execute: Execute) -> None:
    see("create", "shown")
    assert see("command", "show", "shown", "--json")["rollout_percent"] == 10
    execute("UPDATE flagstaff_featureflag SET rollout_percent = 20 WHERE key = 'shown'")
    assert see("command", "show", "shown", "--json")["rollout_percent"] == 20
    present = {"rollout_percent": 20}
    assert see("set_rollout", "shown", 20) == [present, present, False]


def test_undo_reverts_a_change_by_sql(see: See, execute: Execute) -> None:
    see("create", "undone")
    see("set_rollout", "undone", 20)
    assert see("undo", "undone") == {"rollout_percent": 10}
    execute("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'undone'")
    assert see("undo", "undone") == {"enabled": True}


def test_allowed_users_by_sql_are_seen(see: See, execute: Execute) -> None:
    see("create", "allowed")
    assert len(see("allow", "allowed", 1)) == 1
    table = "flagstaff_featureflag_allowed_users"
    flag = "(SELECT id FROM flagstaff_featureflag WHERE key = 'allowed')"
    execute(f"UPDATE {table} SET user_id = 2 WHERE featureflag_id = {flag}")
    assert [user["pk"] for user in see("allow", "allowed", 1)] == [1, 2]
    execute(f"DELETE FROM {table} WHERE featureflag_id = {flag}")
    assert see("command", "show", "allowed", "--json")["allowed_users"] == []


def test_flag_is_deleted_with_allowed_users_by_sql(see: See, execute: Execute) -> None:
    see("create", "deleted")
    # Django reads what it would delete.
    see("delete_page", "deleted")
    execute(
        "INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id) "
        "SELECT id, 2 FROM flagstaff_featureflag WHERE key = 'deleted'"
    )
    assert see("delete", "deleted") is True


def test_admin_shows_a_change_by_sql(see: See, execute: Execute) -> None:
    see("create", "admin")
    assert see("pages", "admin") == [1, ["rollout 10 %"]]
    execute("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'admin'")
    assert see("pages", "admin") == [2, ["off 10 %"]]
