"""`manage.py flags plan`, and the plans of `run-jobs`."""

import getpass
import json
import platform
import re
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError

from flagstaff import changes
from flagstaff.cli import action_verbs
from flagstaff.contrib.webhooks import delivering
from flagstaff.exceptions import NoHistoryError
from flagstaff.models import FeatureFlag
from flagstaff.rollouts import hooks as plan_jobs
from flagstaff.rollouts import plans
from flagstaff.rollouts.models import Plan, State
from tests.support.admin_pages import production
from tests.support.fixtures import COMMITTED
from tests.support.history import flag_history
from tests.support.plans import (
    KEY,
    RULES,
    drive_recently,
    end_dwell_time,
    fail,
    harm,
    leave_unguarded,
    make_flag,
    pass_step,
    plan_of,
    rollout,
    run_of,
    see_enough,
)
from tests.support.terminals import Ran, asked, document, flags, ok, run, typed, undo_of

pytestmark = pytest.mark.usefixtures("flag")

START = f"plan start {KEY} --step 5:1h --step 25:1h --step 100"


def test_start_creates_and_starts_a_plan_and_says_what_it_can_see() -> None:
    FeatureFlag.objects.update(rules=RULES)
    options = "--guard errors --guard latency=0.5,action=hold --required-users 50"
    message = ok(f"{START} {options} --as-name deploy --reason release").err
    assert "new_checkout: started: rollout 0 → 5 %; reason: release\n" in message
    assert "No guard watches the last step, at 100 %.\n" in message
    assert "A rule can grant the flag, so a roll back also turns it off.\n" in message
    assert "A step passes when its time is over and 50 users with the flag were counted" in message
    plan = plan_of()
    assert (plan.state, plan.required_users, rollout()) == (State.RUNNING, 50, 5)
    assert plan.guards == ["errors,limit=2,action=rollback", "latency=0.5,limit=2,action=hold"]
    [event, *_] = flag_history(KEY)
    assert (event.actor, event.source, event.reason) == ("deploy", "command", "release")
    assert plan.actor == "deploy"


def test_start_without_an_actor_names_the_system_user_and_the_host() -> None:
    ok(START)
    assert plan_of().actor == f"command ({getpass.getuser()}@{platform.node()})"


def test_plan_that_gives_a_flag_to_users_shows_the_next_and_the_last_step_and_asks() -> None:
    User.objects.all().delete()
    User.objects.create(username="alice")
    before = [*Plan.objects.all()]
    ran = asked(START, "n")
    assert (ran.status, [*Plan.objects.all()], rollout()) == (2, before, 0)
    question, last = ran.err.splitlines()[-2:]
    assert question.endswith("its last step, 100 %, without another confirmation. Go on? [y/N]")
    assert last == "CommandError: cancelled; nothing was changed"
    assert "users at the last step, 100 %: 0 of 1 → 1 of 1\n" in ran.err
    assert asked(START, "y").status == 0
    assert rollout() == 5
    assert asked(f"plan roll-back {KEY}").status == 0
    assert asked(f"plan resume {KEY}", "y").status == 0
    assert rollout() == 5
    plans.pause(KEY)
    plans.delete(KEY)
    FeatureFlag.objects.update(enabled=False, rollout_percent=60)
    ran = asked(f"{START} --enable", "y")
    assert "The flag is turned on." in ran.err
    assert f"{KEY}: started: rollout 0 → 5 %; the flag is turned on\n" in ran.err
    assert FeatureFlag.objects.get().enabled


def test_start_of_a_plan_by_which_no_user_gains_the_flag_is_not_asked_about() -> None:
    User.objects.all().delete()
    # In bucket 51.
    User.objects.create(pk=2, username="bob")
    assert asked(f"plan start {KEY} --step 5:1h --step 52:1h", "n").status == 2
    assert asked(f"plan start {KEY} --step 5:1h --step 51:1h").status == 0


@pytest.mark.parametrize("times", [1, 3])
def test_start_without_a_question_looks_again_at_a_flag_that_was_changed(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    confirm, texts = action_verbs.confirm, [f"change {number}" for number in range(times)]

    def change_after_the_look(*arguments: Any) -> bool:
        has_asked = confirm(*arguments)
        if texts:
            changes.flags.update(KEY, {"description": texts.pop()})
        return has_asked

    monkeypatch.setattr(action_verbs, "confirm", change_after_the_look)
    ran = run(START)
    if times == 1:
        assert (ran.status, rollout()) == (0, 5)
    else:
        assert (ran.status, rollout()) == (4, 0)
        assert "read the flag again" in ran.err
        assert not Plan.objects.exists()


def test_start_in_production_needs_the_typed_key_and_no_change_meanwhile(settings: Any) -> None:
    production(settings)
    assert run(START).err.endswith("not a terminal: pass --yes to confirm\n")
    # The last step decides that the key is typed.
    ran = asked(START, "y")
    assert (ran.status, rollout(), Plan.objects.exists()) == (2, 0, False)
    assert f"not confirmed: type {KEY} exactly; nothing was changed" in ran.err

    def change_the_flag() -> str:
        changes.flags.update(KEY, {"description": "One"})
        return KEY

    def replace_the_plan() -> str:
        plans.delete(KEY)
        plans.create(KEY, ["50:1h", "100"])
        return KEY

    ran = asked(START, change_the_flag)
    assert (ran.status, rollout(), Plan.objects.exists()) == (4, 0, False)
    assert f"refused: {KEY} has version" in ran.err
    assert asked(f"plan create {KEY}").status == 0
    ran = asked(f"plan start {KEY}", replace_the_plan)
    assert (ran.status, rollout()) == (4, 0)
    assert "has been changed since the question; run the command again" in ran.err


PAUSE, RESUME, ROLL_BACK = (f"plan {action} {KEY}" for action in ("pause", "resume", "roll-back"))
TO_ZERO, AGAIN = "sets the rollout to 0 %", "begins it again at its first step"
TURNED_OFF = "the flag was turned off, because a rule can grant it"


@pytest.mark.parametrize(
    ("fields", "before", "line", "instead"),
    [
        ({}, [], START, ""),
        ({"rollout_percent": 3}, [], START, TO_ZERO),
        ({"rules": RULES}, [], START, TO_ZERO),
        ({"enabled": False}, [], f"{START} --enable", TO_ZERO),
        ({}, [START], PAUSE, ""),
        ({}, [START, PAUSE], RESUME, ""),
        ({}, [START, ROLL_BACK], RESUME, ""),
        ({}, [START], ROLL_BACK, ""),
        ({}, [START, "run-jobs"], ROLL_BACK, AGAIN),
        # An undo would run on to 100 %.
        ({}, [START, PAUSE], ROLL_BACK, "lets it run, although it was paused"),
        ({"rules": RULES}, [START], ROLL_BACK, TURNED_OFF),
    ],
)
def test_printed_undo_brings_back_the_flag_or_a_message_says_what_the_next_command_does(
    fields: dict[str, Any], before: list[str], line: str, instead: str
) -> None:
    FeatureFlag.objects.update(**fields)
    for earlier in before:
        if earlier == "run-jobs":
            pass_step()
        ok(earlier)
    [old] = FeatureFlag.objects.values("enabled", "rollout_percent")
    messages = ok(line).err
    assert instead in messages
    assert ("undo: " in messages) is not bool(instead)
    if not instead:
        ok(undo_of(messages))
        assert [*FeatureFlag.objects.values("enabled", "rollout_percent")] == [old]


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("start", 1, "the following arguments are required: KEY"),
        (f"start {KEY} --step five", 4, "'five' is not a step"),
        (f"start {KEY} --required-users many", 2, "required_users: expected a number such as"),
        (f"pause {KEY}", 5, "has no rollout plan"),
        (f"show {KEY}", 5, "has no rollout plan"),
        (f"start {KEY}", 4, 'start "manage.py flags run-jobs --loop" and try again'),
        (f"halt {KEY}", 1, "there is no action 'halt'; --help lists all actions"),
    ],
)
def test_impossible_line_is_refused_with_what_to_do(line: str, status: int, message: str) -> None:
    drive_recently(minutes=6)
    ran = run(f"plan {line}")
    assert (ran.status, message in ran.err) == (status, True), ran.err


def test_status_shows_the_state_the_evidence_and_the_events() -> None:
    ok(START)
    see_enough()
    fail(run_of(), inside=True, users=3)
    fail(run_of(), inside=False, users=7)
    shown = typed(f"flags plan show {KEY}")
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines() if "  " in line)
    assert (lines["state"], lines["steps"]) == ("running", "[5:1h] 25:1h 100")
    assert (lines["unguarded"], lines["guards"]) == ("no", "errors,limit=2,action=rollback")
    assert "started: rollout 0 → 5 %" in shown
    record = document("plan", "show", KEY)
    evidence, failed = record["evidence"], record["evidence"]["guards"][0]["failed"]
    assert (failed["inside"], failed["outside"], failed["left_out"]) == (3, 7, 0)
    assert evidence["users_inside"] == pytest.approx(1200, rel=0.05)
    assert (record["reason"], record["unguarded"]) == (None, False)
    assert [event["kind"] for event in record["events"]] == ["created", "started"]
    leave_unguarded()
    assert document("plan", "show", KEY)["unguarded"] is True


def test_json_of_a_start_has_the_plan_and_that_of_a_hold_says_why() -> None:
    started = document(*START.split())
    assert (started["key"], started["state"], started["step"]) == (KEY, "running", 1)
    assert [event["kind"] for event in started["events"]] == ["created", "started"]
    end_dwell_time()
    ok("run-jobs")
    record = document("plan", "show", KEY)
    text = "waits for data: no request or task of a user with the flag has ended yet"
    assert (record["reason"], record["evidence"]["why"]) == (text, text)
    assert record["events"][-1]["text"] == f"held: {text}"
    assert re.search(f"^reason +{text}$", typed(f"flags plan show {KEY}"), re.MULTILINE)


def test_run_jobs_drives_the_plans_and_a_trip_is_no_failure() -> None:
    ok(START)
    pass_step()
    ran = flags("run-jobs")
    assert (ran.status, rollout()) == (0, 25)
    _header, line = ran.out.splitlines()
    assert line.startswith(f"{KEY}\trunning\tstep\tstep 2 of 3: rollout 5 → 25 %; ")
    harm()
    ran = flags("run-jobs", "--json")
    report = json.loads(ran.out)
    assert (ran.status, report["deliveries"]) == (0, [])
    [plan] = report["plans"]
    assert (plan["plan"], plan["event"], plan["state"]) == (KEY, "tripped", "rolled_back")
    assert plan["text"].startswith("rolled back: errors")


def test_plan_that_cannot_be_driven_fails_run_jobs() -> None:
    ok(START)
    Plan.objects.update(steps=[])
    ran = flags("run-jobs")
    assert ran.status == 1
    assert "plans: 1 of 1 had an error; the next run tries again" in ran.err


def test_error_of_the_deliveries_does_not_stop_the_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    ok(START)
    pass_step()

    def fail_to_deliver(**options: Any) -> None:
        raise NoHistoryError

    monkeypatch.setattr(delivering, "deliver", fail_to_deliver)
    ran = flags("run-jobs", "--json")
    assert (ran.status, rollout()) == (1, 25)
    assert [*json.loads(ran.out)] == ["plans"]


@COMMITTED
def test_error_of_the_plans_stops_neither_the_deliveries_nor_the_loop(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    def fail_to_drive(*, stop: Event | None = None) -> None:
        if stop is not None:
            stop.set()
        raise DatabaseError("relation is missing")

    monkeypatch.setattr(plan_jobs, "run_plans", fail_to_drive)
    ran = flags("run-jobs", "--json")
    assert (ran.status, json.loads(ran.out)) == (1, {"deliveries": []})
    # The server's own text may quote rows.
    assert ran.err == "CommandError: DatabaseError\n"
    settings.DEBUG = True
    assert "relation is missing" in flags("run-jobs").err
    ran = flags("run-jobs", "--loop", "0.001")
    assert ran.status == 0
    error = "plans: database error, will try again: DatabaseError"
    assert ran.err.splitlines() == ["running jobs", error]


# The loop closes its connection after each round.
@COMMITTED
def test_loop_prints_a_line_for_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    ok(START)
    pass_step()
    rounds = iter(range(3))

    def deliver(*, stop: Event) -> list[Any]:
        if next(rounds) == 2:
            stop.set()
        return []

    monkeypatch.setattr(delivering, "deliver", deliver)
    ran = flags("run-jobs", "--loop", "0.001")
    [line] = ran.out.splitlines()
    assert line.startswith(f"plan {KEY}\tstate running\tevent step\ttext step 2 of 3: rollout 5 →")
    assert ran.err == "running jobs\n"


def test_plans_lists_those_that_run_first() -> None:
    assert flags("plan", "list") == Ran(0, "", "there is no rollout plan\n")
    make_flag("a_pending")
    plans.create("a_pending", ["5:1h", "100"])
    ok(START)
    states = [(plan["key"], plan["state"]) for plan in document("plan", "list")]
    assert states == [(KEY, "running"), ("a_pending", "pending")]
