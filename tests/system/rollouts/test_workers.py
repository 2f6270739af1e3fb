"""A trip reaches the workers, and the plan records that they have applied it."""

from __future__ import annotations

import os
import signal
from typing import Any

from flagstaff import changes, rollouts
from flagstaff.rollouts import driver
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import PlanEvent
from tests.support.rollouts import KEY, drive_recently, fail, run_of, see_enough
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
