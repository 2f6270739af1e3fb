"""Plans, workers and run-jobs in processes of their own: trips, new builds and hung guards."""

from __future__ import annotations

import os
import signal
from threading import Event
from typing import Any

from django.core.management import call_command

from flagstaff import changes, rollouts
from flagstaff.rollouts import driver, functions
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import PlanEvent
from tests.support.fixtures import Query
from tests.support.plans import KEY, drive_recently, fail, run_of, see_enough, wait_for_count
from tests.support.python_processes import run_python
from tests.support.workers import Worker

#: The bucket of this user is 2.
USER = 1


# These functions run in the process of the driver.


def start() -> None:
    drive_recently()
    changes.flags.set_rollout(KEY, 0)
    rollouts.start(KEY, ["5:1h"])


def trip() -> list[str]:
    see_enough()
    fail(run_of(), inside=True, users=300)
    return [report.state for report in run_plans()]


def trip_with_a_short_wait() -> list[str]:
    driver._WAIT = 0.1
    return trip()


def drive() -> list[str]:
    return [report.text for report in run_plans() if report.is_news]


def hang(_plan: object) -> bool:
    """A function guard that never returns."""
    return Event().wait()


def run_jobs_with_a_hung_guard() -> None:
    functions.MAX_SECONDS = 0.1
    drive_recently()
    rollouts.start(KEY, ["50:1h"], guards=[f"function={__name__}.hang"])
    call_command("flags", "run-jobs")


def last_event() -> dict[str, Any]:
    event = PlanEvent.objects.latest("id")
    return {"kind": event.kind, "text": event.message, "figures": event.figures}


def call(worker: Worker, name: str) -> Any:
    return worker.ask("call", f"{__name__}.{name}")


def test_trip_is_confirmed_by_the_workers(database: str, worker: Worker) -> None:
    with Worker(database) as other:
        call(other, "start")
        assert worker.sees(["flag_enabled", KEY, USER], True, within=5)
        assert call(other, "trip") == ["rolled_back"]
        event = call(other, "last_event")
    assert event["kind"] == "propagated"
    assert event["text"].startswith("Applied by 1 of 1 workers after ")
    assert event["figures"]["complete"] is True
    assert worker.ask("flag_enabled", KEY, USER) is False


def test_worker_that_does_not_confirm_a_trip_is_recorded(database: str, worker: Worker) -> None:
    with Worker(database) as other:
        call(other, "start")
        assert worker.sees(["flag_enabled", KEY, USER], True, within=5)
        pid = worker.ask("pid")
        os.kill(pid, signal.SIGSTOP)
        try:
            assert call(other, "trip_with_a_short_wait") == ["rolled_back"]
        finally:
            os.kill(pid, signal.SIGCONT)
        event = call(other, "last_event")
    assert event["text"].startswith("Applied by 0 of 1 workers within ")
    assert [one["mode"] for one in event["figures"]["pending"]] == ["live"]


def test_worker_that_reports_a_new_release_starts_the_step_again(
    database: str, query: Query
) -> None:
    def count_request(worker: Worker, total: int) -> None:
        """Handles a request of a user with the flag, and waits until the worker has reported it."""
        assert worker.ask("ready", 10) is True
        worker.ask("call", "tests.support.plan_requests.requests", KEY, [USER])
        wait_for_count(query, (0, total), call(other, "run_of"), "r")

    with Worker(database) as other, Worker(database, RELEASE="v1", MEASURE_INTERVAL=0.1) as old:
        call(other, "start")
        count_request(old, 1)
        assert call(other, "drive") == []
        with Worker(database, RELEASE="v2", MEASURE_INTERVAL=0.1) as new:
            count_request(new, 2)
            assert call(other, "drive") == ["step 1 starts again: a new release appeared: v2"]


def test_run_jobs_ends_although_a_guard_never_returns(database: str) -> None:
    code = (
        f"import django; django.setup(); from {__name__} import run_jobs_with_a_hung_guard; "
        "run_jobs_with_a_hung_guard()"
    )
    assert "hang did not return within 0.1 s" in run_python(database, "-c", code).stdout
