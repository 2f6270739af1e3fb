"""Whether the connections that workers and Django need fit, and the words about it."""

from __future__ import annotations

import pytest

from flagstaff._workers.connection_limits import (
    ConnectionLimit,
    ConnectionUse,
    pool_size,
    tightest,
)
from flagstaff._workers.connection_words import (
    connections_advice,
    connections_line,
    connections_problem,
    connections_texts,
)


def server(workers: int, django: int, others: int = 0) -> ConnectionLimit:
    """The limit of a server with 100 connections, of which 3 are reserved."""
    return ConnectionLimit("server", "", 100, 3, workers, django, others)


def use_of(*limits: ConnectionLimit, workers: int = 0, per_worker: int = 1) -> ConnectionUse:
    found = tightest(limits, workers, per_worker)
    assert found
    return found


def test_connections_that_fit_are_one_line() -> None:
    use = use_of(server(12, 20, 9), workers=12)
    assert connections_texts(use) == [
        "41 of 97 connections: 12 of workers, 20 of Django, 9 of others."
    ]


def test_one_connection_of_django_is_needed_for_each_worker() -> None:
    # 31 of 64 connections of Django were refused.
    use = use_of(server(64, 33), workers=64)
    line, problem, advice = connections_texts(use)
    assert line == "97 of 97 connections: 64 of workers, 33 of Django, 0 of others."
    assert problem == (
        "128 connections are needed, but the server allows 97: workers have 64, Django needs 64 "
        "(1 for each worker), others have 0."
    )
    assert advice == (
        "max_connections must be at least 131. Otherwise connect Django through PgBouncer, or the "
        "workers (DATABASE of FLAGSTAFF), or run fewer workers."
    )


@pytest.mark.parametrize(("others", "fits"), [(57, True), (58, False)])
def test_connections_fit_up_to_the_limit(others: int, fits: bool) -> None:
    use = use_of(server(20, 3, others), workers=20)
    assert use.fits is fits
    assert (connections_problem(use) is None) is fits


def test_each_worker_needs_the_maximum_of_its_pool() -> None:
    assert use_of(server(20, 3), workers=20, per_worker=4).needed == 100


def test_django_needs_at_least_the_connections_that_it_has() -> None:
    # Processes with many threads.
    assert use_of(server(5, 60), workers=5).needed == 65


def test_without_a_known_need_only_open_connections_count() -> None:
    use = use_of(server(64, 20), workers=64, per_worker=0)
    assert (use.needed, use.fits) == (84, True)


def test_server_without_a_free_connection_is_a_problem() -> None:
    use = use_of(server(8, 80, 9), workers=8)
    assert connections_problem(use) == (
        "0 connections are left of the 97 that the server allows: workers have 8, Django has 80, "
        "others have 9."
    )
    assert connections_advice(use).startswith("max_connections must be at least 101. ")


@pytest.mark.parametrize("kind", ["role", "database"])
def test_limit_with_the_least_room_decides(kind: str) -> None:
    limit = ConnectionLimit(kind, "shop", 30, 0, 12, 6, 0)
    use = use_of(server(12, 6, 9), limit, workers=12)
    assert connections_line(use) == (
        f"18 of 30 connections ({kind} shop): 12 of workers, 6 of Django, 0 of others."
    )
    use = use_of(server(18, 6, 9), limit._replace(workers=18), workers=18)
    problem = f"36 connections are needed, but {kind} shop allows 30: workers have 18, "
    assert str(connections_problem(use)).startswith(problem)
    advice = f"CONNECTION LIMIT of {kind} shop must be at least 36. "
    assert connections_advice(use).startswith(advice)


def test_minimum_has_no_thousand_separators() -> None:
    use = use_of(server(900, 0), workers=900)
    assert "must be at least 1803. " in connections_advice(use)


def test_no_limit_has_no_use() -> None:
    assert tightest([], 64, 1) is None


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (None, 1),
        (False, 1),
        (True, 4),
        ({}, 1),
        ({"min_size": 2}, 2),
        ({"min_size": 0, "max_size": 10}, 10),
        ({"timeout": 5, "max_size": None}, 4),
    ],
)
def test_pool_opens_its_maximum_or_its_minimum(pool: object, size: int) -> None:
    assert pool_size(pool) == size
