"""Plans, workers and run-jobs in processes of their own: trips, new builds and hung guards."""

from threading import Event
from typing import Any

from flagstaff import changes, rollouts
from flagstaff.rollouts import driver
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import PlanEvent
from tests.support.fixtures import Query
from tests.support.plan_requests import requests
from tests.support.plans import KEY, drive_recently, harm, run_of, wait_for_count
from tests.support.python_processes import run_python
from tests.support.workers import Worker, suspended

#: The bucket of this user is 2.
USER = 1


# These functions run in the process of the driver.


def start() -> None:
    drive_recently()
    changes.flags.set_rollout(KEY, 0)
    rollouts.start(KEY, ["5:1h"])


def trip(wait: float = driver._WAIT) -> list[str]:
    driver._WAIT = wait
    harm()
    return [report.state for report in run_plans()]


def drive() -> list[str]:
    return [report.text for report in run_plans() if report.is_news]


def hang(_plan: object) -> bool:
    """A function guard that never returns."""
    return Event().wait()


def last_event() -> dict[str, Any]:
    event = PlanEvent.objects.latest("id")
    return {"kind": event.kind, "text": event.message, "figures": event.figures}


def test_trip_is_confirmed_by_the_workers(database: str, worker: Worker) -> None:
    with Worker(database) as other:
        other.call(start)
        assert worker.sees(["flag_enabled", KEY, USER], True, within=5)
        assert other.call(trip) == ["rolled_back"]
        event = other.call(last_event)
    assert event["kind"] == "propagated"
    assert event["text"].startswith("Applied by 1 of 1 worker after ")
    assert event["figures"]["complete"] is True
    assert worker.ask("flag_enabled", KEY, USER) is False


def test_worker_that_does_not_confirm_a_trip_is_recorded(database: str, worker: Worker) -> None:
    with Worker(database) as other:
        other.call(start)
        assert worker.sees(["flag_enabled", KEY, USER], True, within=5)
        with suspended(worker):
            assert other.call(trip, 0.1) == ["rolled_back"]
        event = other.call(last_event)
    assert event["text"].startswith("Applied by 0 of 1 worker within ")
    assert [worker["mode"] for worker in event["figures"]["pending"]] == ["live"]


def test_worker_that_reports_a_new_release_starts_the_step_again(
    database: str, query: Query
) -> None:
    def count_request(worker: Worker, total: int) -> None:
        """Handles a request of a user with the flag, and waits until the worker has reported it."""
        assert worker.ask("ready", 10) is True
        worker.call(requests, KEY, [USER])
        wait_for_count(query, (0, total), other.call(run_of), "r")

    with Worker(database) as other, Worker(database, RELEASE="v1", MEASURE_INTERVAL=0.1) as old:
        other.call(start)
        count_request(old, 1)
        assert other.call(drive) == []
        with Worker(database, RELEASE="v2", MEASURE_INTERVAL=0.1) as new:
            count_request(new, 2)
            assert other.call(drive) == ["step 1 starts again: a new release appeared: v2"]


RUN_JOBS_WITH_A_HUNG_GUARD = f"""
import django
django.setup()
from django.core.management import call_command
from flagstaff import rollouts
from flagstaff.rollouts import evidence
from tests.support.plans import drive_recently
evidence.MAX_SECONDS = 0.1
drive_recently()
rollouts.start("{KEY}", ["50:1h"], guards=["function={__name__}.hang"])
call_command("flags", "run-jobs")
"""


def test_run_jobs_ends_although_a_guard_never_returns(database: str) -> None:
    printed = run_python(database, "-c", RUN_JOBS_WITH_A_HUNG_GUARD).stdout
    assert "hang did not return within 0.1 s" in printed
