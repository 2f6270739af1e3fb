"""The connections that count against the limits of the server."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from flagstaff._workers import connection_limits
from flagstaff._workers.connection_limits import ConnectionUse, connection_use
from tests.support.fake_workers import Join, join
from tests.support.sql import rows

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]


def use_of(workers: int) -> ConnectionUse:
    found = connection_use(connection, workers)
    assert found
    return found


def test_sessions_of_workers_count_in_all_databases(join: Join) -> None:
    before = use_of(0).limit
    join()
    join(database="postgres")
    join().set_name("flagstaff")
    after = use_of(0).limit
    assert after.workers == before.workers + 3
    assert (after.django, after.others) == (before.django, before.others)


def test_other_sessions_are_of_django_in_its_database_and_of_others_elsewhere(join: Join) -> None:
    before = use_of(0).limit
    join().set_name("manage.py")
    join(database="postgres").set_name("psql")
    after = use_of(0).limit
    assert (after.django, after.others) == (before.django + 1, before.others + 1)
    assert after.workers == before.workers


def test_slots_are_those_that_are_not_reserved() -> None:
    [[slots]] = rows(
        "SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END) "
        "FROM pg_settings WHERE name IN "
        "('max_connections', 'superuser_reserved_connections', 'reserved_connections')"
    )
    assert use_of(0).limit.slots == slots


def test_each_worker_needs_a_connection_or_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    assert use_of(64).django == 64
    monkeypatch.setattr(connection_limits, "pool_size", lambda _pool: 10)
    assert use_of(64).django == 640


@pytest.mark.parametrize("name", ["is_pooled", "_is_same_server"])
def test_need_of_django_behind_a_pooler_or_at_another_server_is_not_known(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: Any = {"is_pooled": lambda *_: True, "_is_same_server": lambda *_: False}
    monkeypatch.setattr(connection_limits, name, other[name])
    use = use_of(640)
    assert (use.per_worker, use.fits) == (0, True)


def test_sqlite_has_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    assert connection_use(connection, 1) is None
