"""An administrator terminates the engine's session repeatedly."""

from __future__ import annotations

from tests.support.fixtures import Query
from tests.support.repeats import repeats
from tests.support.workers import Worker

NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
UPDATE = "UPDATE flagstaff_featureflag SET rollout_percent = %s"
TIMES = repeats(50, 20)


def test_worker_whose_session_is_terminated_fifty_times_misses_no_change(
    worker: Worker, query: Query
) -> None:
    worker.ask("watch", ["get_value", "gateway"])
    took = []
    for number in range(TIMES):
        assert query(TERMINATE) == (True,)
        # Usually committed while the worker is not connected and gets no notification.
        query(UPDATE, 100 * (number % 2 == 0))
        took.append(worker.sees(NEW_CHECKOUT, number % 2 == 0, within=1))
    assert worker.ask("watched") == ["stripe"]
    worker.sees(["mode"], "live", within=1)
    status = worker.ask("status")
    assert status["failures"] == TIMES
    # One load per connection, and at most one per change.
    assert TIMES + 1 <= status["loads"] <= 2 * TIMES + 1


def test_terminated_session_logs_at_most_two_lines(worker: Worker, query: Query) -> None:
    worker.ask("call", "tests.faults.evaluation_load.start", 10_000)
    for number in range(10):
        query(TERMINATE)
        query(UPDATE, 100 * (number % 2 == 0))
        worker.sees(NEW_CHECKOUT, number % 2 == 0, within=1)
    worker.ask("call", "tests.faults.evaluation_load.stop")
    assert len(worker.ask("logged")) <= 20
