"""The connections that count against the limits of the server."""

from __future__ import annotations

from collections.abc import Callable
from operator import sub
from typing import Any

import pytest
from django.db import connection

from flagstaff._workers import connection_limits
from flagstaff._workers.connection_limits import ConnectionUse, connection_use
from tests.support.fake_workers import Join, join
from tests.support.sessions import within
from tests.support.sql import rows

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]


def use_of(workers: int) -> ConnectionUse:
    found = connection_use(connection, workers)
    assert found
    return found


def sees(added: tuple[int, int, int], connect: Callable[[], object]) -> bool:
    """Whether these sessions add as many connections of workers, of Django and of others.

    Connects again if not, because a session of another test may end between the two counts.
    """

    def counts() -> tuple[int, int, int]:
        limit = use_of(0).limit
        return limit.workers, limit.django, limit.others

    def is_seen() -> bool:
        before = counts()
        connect()
        return tuple(map(sub, counts(), before)) == added

    return within(2, is_seen)


def test_sessions_of_workers_count_in_all_databases(join: Join) -> None:
    def connect() -> None:
        join()
        join(database="postgres")
        join().set_name("flagstaff")

    assert sees((3, 0, 0), connect)


def test_other_sessions_are_of_django_in_its_database_and_of_others_elsewhere(join: Join) -> None:
    def connect() -> None:
        join().set_name("manage.py")
        join(database="postgres").set_name("psql")

    assert sees((0, 1, 1), connect)


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
