"""`manage.py flags plan`, and the plans of `run-jobs`."""

from __future__ import annotations

import json
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import DatabaseError

from flagstaff import changes
from flagstaff.cli.verbs import jobs
from flagstaff.exceptions import NoWebhooksError
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from flagstaff.rollouts import jobs as plan_jobs
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import Plan, PlanEvent, State
from tests.support.rollouts import (
    KEY,
    drive_recently,
    end_dwell_time,
    fail,
    make_flag,
    plan_of,
    rollout,
    run_of,
    see,
    see_enough,
)
from tests.support.terminals import Ran, document, flags, run, typed

pytestmark = pytest.mark.django_db(transaction=True)

START = f"plan {KEY} start --step 5:1h --step 25:1h --step 100"
RULES = [{"name": "all", "conditions": [], "rollout_percent": 100}]


@pytest.fixture(autouse=True)
def flag(db: None) -> FeatureFlag:
    drive_recently()
    return make_flag()


def ok(line: str) -> str:
    """Runs a line that succeeds, and returns its messages."""
    ran = run(line)
    assert ran.status == 0, ran.err
    return ran.err


def refused(line: str) -> Ran:
    ran = run(line)
    assert ran.status != 0
    return ran


def test_start_creates_and_starts_a_plan() -> None:
    message = ok(f"{START} --guard errors --guard latency=0.5,action=hold --required-users 50")
    assert "new_checkout: started: rollout 0 → 5 %\n" in message
    plan = plan_of()
    assert (plan.state, plan.required_users, rollout()) == (State.RUNNING, 50, 5)
    assert [guard["kind"] for guard in plan.guards] == ["errors", "latency"]


def test_start_says_what_no_guard_watches() -> None:
    assert "at 100 % no user is outside" in ok(START)


def test_start_says_how_many_users_the_first_step_needs() -> None:
    assert "at 5 %, these are about 20,000 users of the flag" in ok(START)


def test_start_says_that_a_trip_will_disable_the_flag() -> None:
    FeatureFlag.objects.update(rules=RULES)
    message = ok(START)
    assert "a rule can grant the flag, so a guard that trips also disables the flag\n" in message


def test_start_with_json_prints_the_plan() -> None:
    found = document(*START.split())
    assert (found["key"], found["state"], found["step"]) == (KEY, "running", 1)
    assert [event["kind"] for event in found["events"]] == ["created", "started"]


def test_start_attributes_the_change() -> None:
    ok(f"{START} --as-name deploy --reason release")
    [event, *_] = flag_history(KEY)
    assert (event.actor, event.source, event.reason) == ("deploy", "command", "release")
    assert plan_of().actor == "deploy"


def test_start_with_wait_waits_for_the_workers() -> None:
    # The tests evaluate without workers.
    assert "evaluations query the database, so there is nothing to wait for" in ok(
        f"{START} --wait 0"
    )
    assert document("plan", KEY, "jump", "25", "--wait")["propagation"]["complete"] is True


def test_start_at_a_time_schedules_the_plan() -> None:
    ok(f'{START} --at "2126-01-01 12:00+00:00"')
    found = document("plan", KEY, "status")
    assert (found["state"], found["starts_at"], rollout()) == ("pending", "2126-01-01T12:00:00Z", 0)


def test_start_at_a_time_that_is_past_says_when_the_plan_starts() -> None:
    said = ok(f'{START} --at "2020-01-01 12:00"')
    assert "the time of the start is past, so the next run of run-jobs starts the plan\n" in said
    assert rollout() == 0


def test_rollback_of_a_plan_that_is_done_names_the_command_that_turns_the_flag_off() -> None:
    ok(f"plan {KEY} start --step 100")
    flags("run-jobs")
    assert (
        'possible next: "manage.py flags off new_checkout"' in refused(f"plan {KEY} rollback").err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("start --step 5", "step 5 % has no time"),
        ("start --step five", "'five' is not a step"),
        ("start --guard traffic", "'traffic' is not a guard"),
        ("start --guard latency=fast", "'fast' of 'latency=fast' is not a number; write a number"),
        ("start --at soon", "expected a time such as"),
        ("start --at 2026-13-01", "expected a time such as"),
        ("start --required-users 0", "expected a whole number of at least 1, not '0'"),
        ("jump 5", "has no rollout plan"),
        ("halt", "there is no action 'halt'; --help lists all actions"),
    ],
)
def test_invalid_argument_is_refused(arguments: str, message: str) -> None:
    assert message in refused(f"plan {KEY} {arguments}").err


def test_plan_without_a_driver_is_refused_with_the_command() -> None:
    drive_recently(minutes=6)
    ran = refused(START)
    assert ran.status == 4
    assert 'start "manage.py flags run-jobs --loop" and try again' in ran.err


def test_flag_without_a_plan_has_an_exit_status_of_its_own() -> None:
    assert refused(f"plan {KEY}").status == 5
    assert refused("plan new_chekout status").status == 5


def test_plan_is_created_started_paused_resumed_and_deleted() -> None:
    ok(f"plan {KEY} create --step 5:1h --step 100")
    assert rollout() == 0
    ok(f"plan {KEY} start")
    assert "new_checkout: paused: support is busy\n" in ok(
        f'plan {KEY} pause --reason "support is busy"'
    )
    assert "resumed at step 1" in ok(f"plan {KEY} resume")
    assert "jumped to step 2: rollout 5 → 100 %" in ok(f"plan {KEY} jump 100%")
    assert "rolled back: rollout 0 %\n" in ok(f"plan {KEY} rollback")
    assert "was deleted" in ok(f"plan {KEY} delete --yes")
    assert not Plan.objects.exists()


def test_delete_asks_for_confirmation() -> None:
    ok(f"plan {KEY} create")
    assert "not a terminal: pass --yes to confirm" in refused(f"plan {KEY} delete").err


def test_status_shows_the_evidence_and_the_events() -> None:
    ok(START)
    see_enough()
    shown = typed(f"flags plan {KEY}")
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines() if "  " in line)
    assert (lines["state"], lines["steps"], lines["unguarded"]) == (
        "running",
        "[5 %] 25 % 100 %",
        "no",
    )
    assert lines["guards"] == "errors,limit=2,action=rollback"
    assert "started: rollout 0 → 5 %" in shown


def test_pending_plan_shows_what_each_step_can_see() -> None:
    ok(f"plan {KEY} create --step 5:1h --step 100")
    assert "No user was counted yet" in run(f"plan {KEY} status").out
    see(run_of(), inside=False, users=4000)
    shown = run(f"plan {KEY} status").out
    assert "5 %:" in shown
    assert "The brake trips at" in shown
    assert "100 %: no user is outside" in ok(f"plan {KEY} start")
    assert document("plan", KEY, "status")["forecast"] == []


def test_status_says_that_no_driver_watches_the_plan() -> None:
    ok(START)
    assert document("plan", KEY, "status")["unguarded"] is False
    Plan.objects.update(guarded_until=ClockTimestamp() - timedelta(seconds=1))
    assert document("plan", KEY, "status")["unguarded"] is True


def test_status_as_json_has_the_figures() -> None:
    ok(START)
    see_enough()
    fail(run_of(), inside=True, users=3)
    fail(run_of(), inside=False, users=7)
    evidence = document("plan", KEY, "status")["evidence"]
    assert evidence["guards"][0]["failed"] == {"inside": 3, "outside": 7}
    assert evidence["users_inside"] == pytest.approx(1200, rel=0.05)


@pytest.mark.parametrize("broken", [{"steps": "x"}, {"step": 99}, {"guards": [{"unknown": 1}]}])
def test_plan_that_cannot_be_read_is_shown_and_stopped(broken: dict[str, object]) -> None:
    ok(START)
    Plan.objects.update(**broken)
    assert "create the plan again" in document("plan", KEY, "status")["evidence"]["why"]
    ok(f"plan {KEY}")
    assert "paused" in ok(f"plan {KEY} pause")
    assert "rolled back: rollout 0 %" in ok(f"plan {KEY} rollback")
    ok(f"plan {KEY} delete --yes")


def test_help_lists_the_verb_and_its_actions() -> None:
    listed = run("plan").err
    assert "the following arguments are required: KEY" in listed


def test_run_jobs_drives_the_plans() -> None:
    ok(START)
    see_enough()
    end_dwell_time()
    ran = flags("run-jobs")
    assert (ran.status, rollout()) == (0, 25)
    [line] = ran.out.splitlines()
    assert line.startswith(f"{KEY}\trunning\t2\t25\tstep\tstep 2 of 3: rollout 5 → 25 %; ")


def test_trip_is_no_failure_of_run_jobs() -> None:
    ok(START)
    see_enough()
    fail(run_of(), inside=True, users=300)
    found = json.loads(flags("run-jobs", "--json").out)
    assert found["deliveries"] == []
    [plan] = found["plans"]
    assert (plan["plan"], plan["event"], plan["state"]) == (KEY, "tripped", "rolled_back")
    assert flags("run-jobs").status == 0


def test_plan_that_cannot_be_driven_fails_run_jobs() -> None:
    ok(START)
    Plan.objects.update(steps=[])
    ran = flags("run-jobs")
    assert ran.status == 1
    assert "plans: 1 of 1 had an error; the next run tries again" in ran.err


def test_error_of_the_deliveries_does_not_stop_the_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    ok(START)
    see_enough()
    end_dwell_time()

    def fail_to_deliver(**options: Any) -> None:
        raise NoWebhooksError

    monkeypatch.setattr(jobs, "deliver", fail_to_deliver)
    ran = flags("run-jobs", "--json")
    assert (ran.status, rollout()) == (1, 25)
    assert [*json.loads(ran.out)] == ["plans"]


def test_error_of_the_plans_does_not_stop_the_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_to_drive(**options: Any) -> None:
        raise DatabaseError("relation is missing")

    monkeypatch.setattr(plan_jobs, "run_plans", fail_to_drive)
    ran = flags("run-jobs", "--json")
    assert (ran.status, json.loads(ran.out)) == (1, {"deliveries": []})
    assert "relation is missing" in ran.err


def test_loop_prints_a_line_for_each_plan_that_did_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ok(START)
    see_enough()
    end_dwell_time()
    rounds = iter(range(3))

    def deliver(*, stop: Event) -> list[Any]:
        if next(rounds) == 2:
            stop.set()
        return []

    monkeypatch.setattr(jobs, "deliver", deliver)
    ran = flags("run-jobs", "--loop", "0.001")
    [line] = ran.out.splitlines()
    assert line.startswith(f"{KEY}\tstep\tstep 2 of 3: rollout 5 → 25 %; ")
    assert ran.err == "running jobs\n"


def test_loop_survives_an_error_of_the_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_to_drive(*, stop: Event) -> None:
        stop.set()
        raise DatabaseError("hunter2")

    monkeypatch.setattr(plan_jobs, "run_plans", fail_to_drive)
    ran = flags("run-jobs", "--loop", "0.001")
    assert ran.status == 0
    assert ran.err.splitlines() == [
        "running jobs",
        "plans: database error, will try again: DatabaseError",
    ]


def test_event_of_a_change_by_hand_names_the_user_of_the_shell() -> None:
    ok(START)
    changes.set_rollout(KEY, 60)
    flags("run-jobs")
    assert PlanEvent.objects.latest("id").kind == "paused"
    assert rollout() == 60
