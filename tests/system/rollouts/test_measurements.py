"""Workers measure a rollout plan: the users, requests and failures on both sides of the rollout."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from tests.support.fixtures import Query
from tests.support.measured_plans import (
    KEY,
    TIMEOUT,
    counted,
    failed_users,
    start_run,
    wait_for_count,
)
from tests.support.workers import Worker
from tools.limits import seconds

#: Of the users from 0 to 299, those with the flag at 33 %.
USERS = list(range(300))
HUNDRED = USERS[:100]


@pytest.fixture
def run(query: Query) -> int:
    """The run of a plan that measures, with a latency guard that no request passes."""
    return start_run(query)


def ready_worker(url: str, **settings: Any) -> Worker:
    worker = Worker(url, MEASURE_INTERVAL=0.1, **settings)
    assert worker.ask("ready", 10) is True
    return worker


def request(worker: Worker, users: list[Any], status: int = 200, how: str = "requests") -> None:
    worker.ask("call", f"tests.support.plan_requests.{how}", KEY, users, status)


def sides(worker: Worker) -> tuple[int, int]:
    inside = len(worker.ask("survey", KEY, len(USERS)))
    return len(USERS) - inside, inside


@pytest.mark.parametrize("how", ["requests", "requests_async"])
def test_requests_are_counted_by_side(database: str, query: Query, run: int, how: str) -> None:
    with ready_worker(database) as worker:
        expected = sides(worker)
        request(worker, USERS, how=how)
        wait_for_count(query, expected, run, "r")
    assert counted(query, run, "f") == (0, 0)
    assert failed_users(query, run) == (0, 0)
    # All requests exceed the limit of the latency guard.
    assert failed_users(query, run, guard=2) == expected
    assert query("SELECT sum(count)::int FROM flagstaff_rollouts_signalcount WHERE kind = 'l'") == (
        len(USERS),
    )


@pytest.mark.parametrize("how", ["requests", "requests_async"])
def test_request_that_waits_for_the_first_load_is_counted(
    database: str, query: Query, run: int, how: str
) -> None:
    with Worker(database) as worker:
        request(worker, USERS, how=how)
        expected = sides(worker)
    assert counted(query, run, "r") == expected


def test_sum_of_all_workers_is_exact(database: str, query: Query, run: int) -> None:
    workers = [ready_worker(database) for _ in range(3)]
    outside, inside = sides(workers[0])
    for _ in range(2):
        for worker in workers:
            worker.send("call", "tests.support.plan_requests.requests", KEY, USERS, 500)
        for worker in workers:
            worker.receive()
    assert [worker.end() for worker in workers] == [(0, "")] * 3
    assert counted(query, run, "r") == counted(query, run, "f") == (6 * outside, 6 * inside)
    # Each user is seen and fails in all workers, and counts once.
    assert failed_users(query, run) == (outside, inside)
    raised = query(
        "SELECT count(*) FILTER (WHERE NOT inside), count(*) FILTER (WHERE inside) "
        "FROM flagstaff_rollouts_seenregister"
    )
    assert 0.9 * outside < raised[0] <= outside
    assert 0.9 * inside < raised[1] <= inside
    stopped = query("SELECT count(*), count(stopped_at) FROM flagstaff_rollouts_signalworker")
    assert stopped == (3, 3)


def test_killed_worker_is_known_as_lost(database: str, query: Query, run: int) -> None:
    worker = ready_worker(database)
    request(worker, USERS)
    wait_for_count(query, sides(worker), run, "r")
    worker.end(signal.SIGKILL)
    assert query("SELECT count(*), count(stopped_at) FROM flagstaff_rollouts_signalworker") == (
        1,
        0,
    )


def test_evaluation_outside_of_a_request_is_not_counted(
    database: str, query: Query, run: int
) -> None:
    with ready_worker(database) as worker:
        sides(worker)
    assert query("SELECT count(*) FROM flagstaff_rollouts_signalworker") == (0,)


def test_allowed_user_and_user_of_a_rule_are_on_neither_side(
    database: str, query: Query, run: int
) -> None:
    query(
        "UPDATE flagstaff_featureflag SET rules = "
        '\'[{"name": "", "conditions": [{"attribute": "is_authenticated", "operator": "in", '
        '"values": [true]}], "rollout_percent": 50}]\' RETURNING id'
    )
    with ready_worker(database) as worker:
        request(worker, USERS)
        request(worker, [None])
    assert query("SELECT count(*) FROM flagstaff_rollouts_signalcount") == (0,)


def test_plan_that_has_not_started_measures_at_0_percent(database: str, query: Query) -> None:
    query("UPDATE flagstaff_featureflag SET rollout_percent = 0 RETURNING id")
    run = start_run(query, state="pending")
    with ready_worker(database) as worker:
        request(worker, USERS)
    assert counted(query, run, "r") == (len(USERS), 0)


def test_run_that_was_deleted_does_not_stop_the_others(
    database: str, query: Query, run: int
) -> None:
    with ready_worker(database) as worker:
        request(worker, USERS)
        wait_for_count(query, sides(worker), run, "r")
        for table in ("signalcount", "seenregister", "failedunit", "steprun", "plan"):
            query(f"DELETE FROM flagstaff_rollouts_{table} RETURNING true")
        request(worker, USERS)
        following = start_run(query)
        worker.ask("refresh")
        request(worker, USERS)
        wait_for_count(query, sides(worker), following, "r")


def test_refused_flush_is_written_once_the_table_is_back(
    database: str, query: Query, run: int
) -> None:
    with ready_worker(database) as worker:
        query("ALTER TABLE flagstaff_rollouts_failedunit RENAME TO moved")
        request(worker, USERS, status=500)
        expected = sides(worker)
        refused = "this worker cannot write the counts of rollout plans: a table is missing"
        worker.sees(
            ["call", "tests.support.plan_requests.has_problem", refused], True, within=TIMEOUT
        )
        query("ALTER TABLE moved RENAME TO flagstaff_rollouts_failedunit")
        wait_for_count(query, expected, run, "r")
    assert failed_users(query, run) == expected


def test_values_that_overflow_are_dropped_and_the_next_are_written(
    database: str, query: Query, run: int
) -> None:
    query(
        "INSERT INTO flagstaff_rollouts_signalcount (run_id, inside, kind, number, count) "
        "VALUES (%s, true, 'f', 0, 9223372036854775807) RETURNING id",
        run,
    )
    with ready_worker(database) as worker:
        request(worker, USERS, status=500)
        deadline = time.monotonic() + seconds(TIMEOUT)
        while counted(query, run, "r") == (0, 0):
            assert time.monotonic() < deadline
            request(worker, USERS[:10])


def test_plan_without_a_driver_is_a_problem_of_the_status(
    database: str, query: Query, run: int
) -> None:
    with ready_worker(database) as worker:
        assert worker.ask("status")["problems"] == []
        # Times that no plan has do not prevent the load.
        for until in ("now", "infinity", "-infinity"):
            query("UPDATE flagstaff_rollouts_plan SET guarded_until = %s RETURNING id", until)
            worker.ask("refresh")
            (problem,) = worker.ask("status")["problems"]
            assert problem == (
                'the rollout plan of flag "new_checkout" is unguarded, because run-jobs has not '
                'watched it for about five minutes: run "manage.py flags run-jobs" to watch it '
                "now, or to see the error"
            )


# Which requests are counted, as docs/how-to/rollout-plans.md says.


def count(url: str, views: list[str]) -> tuple[int, int]:
    """Handles a request per user by each view, and returns the numbers outside and inside."""
    with ready_worker(url) as worker:
        inside = len(worker.ask("survey", KEY, len(HUNDRED)))
        for view in views:
            worker.ask("call", "tests.support.plan_views.requests_by", view, KEY, HUNDRED)
        assert worker.end() == (0, "")
    return len(HUNDRED) - inside, inside


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
