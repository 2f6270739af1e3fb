"""Fixtures of all tests: a PostgreSQL server, and a fresh interpreter."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_timeout
from django.db import connections

from tests.support.flush import install
from tests.support.migrated_database import (
    MIGRATED,
    SETTINGS,
    cluster,
    create_migrated_database,
    migrated_cluster_of_run,
)
from tests.support.other_runs import FIRST_PK, put_in_order, start_sequences
from tests.support.parameters import split_by_parameters
from tests.support.python_processes import count_patiently
from tools.database_url import parse_database_url
from tools.limits import CHILD, seconds
from tools.postgres import Postgres

ROOT = Path(__file__).resolve().parent.parent

pytest_plugins = ["tests.support.fixtures"]

# A shell that starts pytest in the background makes it and its children ignore SIGINT, which some
# tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Any:
    """Scales the time limit of a test, in its mark or in pyproject.toml, to this machine."""
    scaled = settings._replace(timeout=seconds(settings.timeout))
    return pytest_timeout.pytest_timeout_set_timer(item, scaled)


@pytest.fixture(scope="session", autouse=True)
def _fast_flush() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _patient_counts() -> Iterator[None]:
    from flagstaff.changes import impact

    count_patiently()
    with pytest.MonkeyPatch.context() as patch:
        # Users are read by ranges of pages, of which the dead rows of other tests make more.
        patch.setattr(impact, "_PAGES", 1_000_000)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begins no test at the end of an hour, which may be that of a day, a month or a year."""
    left = -time.time() % 3600
    # Many processes would make it a quarter of an hour.
    if left < min(seconds(10), 60):
        time.sleep(left)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Stops the garbage collector meanwhile: all that is made stays, and it took a sixth."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Leaves the collected tests out of the garbage collections, which are made less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks what stands below tests/system, which `make test` selects by this mark.

    What stands below tests/database has the database, unless its mark says how.
    """
    # Much faster than the parents of its path.
    if item.nodeid.startswith("tests/system/"):
        item.add_marker("system")
    elif item.nodeid.startswith("tests/database/") and item.get_closest_marker("django_db") is None:
        item.add_marker("django_db")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    """Selects the parameters, and runs the longest files first, before and after other plugins."""
    items[:], left_out = split_by_parameters(items)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    _mark_most_cases(items)
    yield
    if order := os.environ.get("TEST_ORDER"):
        put_in_order(items, order)
    # A run of one process keeps the order of its arguments.
    elif "PYTEST_XDIST_WORKER" in os.environ:
        _put_longest_files_first(items)


def _mark_most_cases(items: list[pytest.Item]) -> None:
    """Marks the cases that `make test` leaves out of long lists of one kind."""
    seen = Counter[str]()
    for item in items:
        if marker := item.get_closest_marker("one_in"):
            function = item.nodeid.partition("[")[0]
            if seen[function] % marker.args[0]:
                item.add_marker("thorough")
            seen[function] += 1


def _put_longest_files_first(items: list[pytest.Item]) -> None:
    """Parallel processes then finish together.

    The longest time limit in a file shows how long it takes, and then how many tests it has.
    """
    limits: dict[Path, float] = {}
    weights = Counter[Path]()
    for item in items:
        marker = item.get_closest_marker("timeout")
        limit = float(marker.args[0]) if marker else 0.0
        limits[item.path] = max(limit, limits.get(item.path, 0.0))
        # They take about a second, a tenth, and a hundredth.
        if item.get_closest_marker("system"):
            weights[item.path] += 100
        elif item.get_closest_marker("django_db"):
            weights[item.path] += 10
        else:
            weights[item.path] += 1
    items.sort(key=lambda item: (-limits[item.path], -weights[item.path]))


class RunIsolated(Protocol):
    """Runs a Python script in a fresh interpreter and returns its output."""

    def __call__(self, script: str, *arguments: str, **environment: str) -> str: ...


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
) -> Iterator[None]:
    """Starts a server for the session's database, unless DATABASE_URL is set or none is needed."""
    if connections["default"].vendor != "postgresql":
        yield
        return
    template = migrated_cluster_of_run()
    # The tables of another project are others.
    if template is not None and os.environ["DJANGO_SETTINGS_MODULE"] == SETTINGS:
        connections["default"].settings_dict["TEST"]["TEMPLATE"] = MIGRATED
    if os.environ.get("DATABASE_URL"):
        yield
        return
    with Postgres(template=template) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", server.url)
        connections["default"].settings_dict.update(parse_database_url(server.url))
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Leaves the first primary keys to the rows whose keys the tests give."""
    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        if connections["default"].vendor == "postgresql":
            cursor.execute(start_sequences(first=FIRST_PK))


@pytest.fixture(scope="session")
def migrated_cluster() -> Iterator[Path]:
    """The data directory of a stopped server. Its database `migrated` has all tables."""
    with cluster(MIGRATED, create_migrated_database) as data:
        yield data


@pytest.fixture(scope="module")
def module_postgres_server(migrated_cluster: Path) -> Iterator[Postgres]:
    """A server for the tests of one file. A copied cluster starts sooner than a new one."""
    with Postgres(template=migrated_cluster) as server:
        yield server


@pytest.fixture
def run_isolated() -> RunIsolated:
    """Runs tests of process-wide state in their own process."""

    def run(script: str, *arguments: str, **environment: str) -> str:
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds(CHILD),
            check=False,
        )
        if result.returncode != 0:
            shown = f"exit status {result.returncode}\n{result.stdout}{result.stderr}"
            pytest.fail(shown, pytrace=False)
        return result.stdout

    return run
