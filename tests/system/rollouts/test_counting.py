"""Which requests a rollout plan counts, as docs/how-to/rollout-plans.md says."""

from __future__ import annotations

import pytest

from tests.support.measured_plans import KEY, counted, failed_users, start_run
from tests.support.fixtures import Query
from tests.support.workers import Worker

USERS = list(range(100))


@pytest.fixture
def run(query: Query) -> int:
    """The run of a plan that measures."""
    return start_run(query)


def count(url: str, views: list[str]) -> tuple[int, int]:
    """Handles a request per user by each view, and returns the numbers outside and inside."""
    with Worker(url, MEASURE_INTERVAL=0.1) as worker:
        assert worker.ask("ready", 10) is True
        inside = len(worker.ask("survey", KEY, len(USERS)))
        for view in views:
            worker.ask("call", "tests.support.plan_views.requests_by", view, KEY, USERS)
        assert worker.end() == (0, "")
    return len(USERS) - inside, inside


@pytest.mark.parametrize(("view", "fails"), [("request.flags", 0), ("404", 0), ("raises", 1)])
def test_request_that_evaluates_the_flag_is_counted(
    database: str, query: Query, run: int, view: str, fails: int
) -> None:
    outside, inside = count(database, [view])
    assert counted(query, run, "r") == (outside, inside)
    assert failed_users(query, run) == (outside * fails, inside * fails)


def test_permission_of_rest_framework_is_counted(database: str, query: Query, run: int) -> None:
    """Users without the flag get 403, and the view fails for those with it."""
    outside, inside = count(database, ["drf"])
    assert counted(query, run, "r") == (outside, inside)
    assert failed_users(query, run) == (0, inside)


@pytest.mark.parametrize("view", ["all_flags", "explain", "streaming", "thread"])
def test_request_without_an_evaluation_of_its_own_is_not_counted(
    database: str, query: Query, run: int, view: str
) -> None:
    # The last requests are counted, so the worker has written.
    assert counted(query, run, "r") == (0, 0)
    expected = count(database, [view, "404"])
    assert counted(query, run, "r") == expected
