"""An administrator ends the engine's session, again and again."""

from __future__ import annotations

from tests.postgres.conftest import Query
from tests.repeats import repeats
from tests.workers import Worker

NEW_CHECKOUT = ["flag_enabled", "new_checkout"]
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
SWITCH = "UPDATE flagstaff_featureflag SET rollout_percent = %s"
TIMES = repeats(50, 20)


def test_session_that_is_terminated_fifty_times_misses_no_change(
    worker: Worker, query: Query
) -> None:
    worker.ask("watch", ["get_value", "gateway"])
    took = []
    for number in range(TIMES):
        assert query(TERMINATE) == (True,)
        # Made in the gap, where it can notify nobody, unless the link is back already.
        query(SWITCH, 100 * (number % 2 == 0))
        took.append(worker.sees(NEW_CHECKOUT, number % 2 == 0, within=1))
    assert worker.ask("watched") == ["stripe"]
    worker.sees(["mode"], "live", within=1)
    status = worker.ask("status")
    assert status["failures"] == TIMES
    # One for each link, and at most one for each change.
    assert TIMES + 1 <= status["loads"] <= 2 * TIMES + 1


def test_each_loss_of_the_link_is_told_of_by_two_lines_at_most(
    worker: Worker, query: Query
) -> None:
    worker.ask("call", "tests.faults.reader.begin", 10_000)
    for number in range(10):
        query(TERMINATE)
        query(SWITCH, 100 * (number % 2 == 0))
        worker.sees(NEW_CHECKOUT, number % 2 == 0, within=1)
    worker.ask("call", "tests.faults.reader.end")
    assert len(worker.ask("logged")) <= 20
