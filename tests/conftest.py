"""Fixtures of all tests: a PostgreSQL server, and a fresh interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import connections
from pytest_django import DjangoDbBlocker

from tests.support.migrated_database import create_migrated_database
from tests.support.parameters import split_by_parameters
from tools.database_url import parse_database_url
from tools.postgres import Postgres
from tools.postgres_account import open_directory, remove_directory

ROOT = Path(__file__).resolve().parent.parent

pytest_plugins = ["tests.support.fixtures"]

# A shell that starts pytest in the background makes it and its children ignore SIGINT, which some
# tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_BLOCKER = pytest.StashKey[DjangoDbBlocker]()


@pytest.fixture(scope="session", autouse=True)
def _store_blocker(request: pytest.FixtureRequest, django_db_blocker: Any) -> None:
    request.config.stash[_BLOCKER] = django_db_blocker


def _flushes_some_apps(item: pytest.Item | None) -> bool:
    if item is None:
        return False
    marker = item.get_closest_marker("django_db")
    apps = marker and marker.kwargs.get("available_apps")
    # Django's own test classes have an attribute.
    return bool(apps or getattr(getattr(item, "cls", None), "available_apps", None))


def _is_transactional(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    fixtures = getattr(item, "fixturenames", ())
    return bool(
        (marker and marker.kwargs.get("transaction"))
        or {"transactional_db", "live_server"}.intersection(fixtures)
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Completes the flush after the last of a group of transactional tests.

    Recreates the content types and permissions that it deleted, and deletes the history that it
    wrote: it is a deletion of all flags. Doing so after each test would take longer than the test.
    """
    yield
    blocker = item.config.stash.get(_BLOCKER, None)
    # Before the first test that is not skipped, and after the last test, there is no database.
    if blocker is None or nextitem is None:
        return
    with blocker.unblock():
        if _flushes_some_apps(item) and not _flushes_some_apps(nextitem):
            emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
        if _is_transactional(item) and not _is_transactional(nextitem):
            with connections["default"].cursor() as cursor:
                cursor.execute("DELETE FROM flagstaff_change")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Selects the parameters, and runs the longest files first, before and after other plugins."""
    items[:], left_out = split_by_parameters(items)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    yield
    _put_longest_files_first(items)


def _put_longest_files_first(items: list[pytest.Item]) -> None:
    """Parallel processes then finish together.

    The longest time limit in a file shows how long it takes.
    """
    limits: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        limit = float(marker.args[0]) if marker else 0.0
        limits[item.path] = max(limit, limits.get(item.path, 0.0))
    items.sort(
        key=lambda item: (-limits[item.path], item.get_closest_marker("django_db") is not None)
    )


class RunIsolated(Protocol):
    """Runs a Python script in a fresh interpreter and returns its output."""

    def __call__(self, script: str, *arguments: str, **environment: str) -> str: ...


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
) -> Iterator[None]:
    """Starts a server for the session's database, unless DATABASE_URL is set or none is needed."""
    if os.environ.get("DATABASE_URL") or connections["default"].vendor != "postgresql":
        yield
        return
    with Postgres() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", server.url)
        connections["default"].settings_dict.update(parse_database_url(server.url))
        yield


@pytest.fixture
def postgres_server() -> Iterator[Postgres]:
    """A server for one test, which may stop and kill it."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_cluster() -> Iterator[Path]:
    """The data directory of a stopped server. Its database `migrated` has all tables."""
    directory = open_directory()
    try:
        with Postgres(directory) as server:
            create_migrated_database(server)
        yield directory / "data"
    finally:
        remove_directory(directory)


@pytest.fixture(scope="module")
def module_postgres_server(migrated_cluster: Path) -> Iterator[Postgres]:
    """A server for the tests of one file. A copied cluster starts sooner than a new one."""
    directory = open_directory()
    try:
        # Unlike shutil, cp keeps the owner, which is the account of the server.
        subprocess.run(["cp", "-a", migrated_cluster, directory / "data"], check=True)
        with Postgres(directory) as server:
            yield server
    finally:
        remove_directory(directory)


@pytest.fixture
def run_isolated() -> RunIsolated:
    """Runs tests of process-wide state in their own process."""

    def run(script: str, *arguments: str, **environment: str) -> str:
        result = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", script, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if result.returncode != 0:
            shown = f"exit status {result.returncode}\n{result.stdout}{result.stderr}"
            pytest.fail(shown, pytrace=False)
        return result.stdout

    return run
