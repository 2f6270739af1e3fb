"""Plans that start on a disabled flag, and turn it on with their first step."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import acting_as, changes, rollouts
from flagstaff.exceptions import InvalidPlanError, PlanError
from flagstaff.models import FeatureFlag
from flagstaff.rollouts.driver import run_plans
from flagstaff.rollouts.models import PlanEvent, State, StepRun
from flagstaff.rollouts.releasing import planned_steps
from flagstaff.rollouts.status import plan_record
from tests.support.fixtures import COMMITTED
from tests.support.history import flag_history
from tests.support.rollouts import KEY, RULES, STEPS, events, make_flag, plan_of
from tests.support.terminals import asked, typed

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def flag(driver: None) -> FeatureFlag:
    """A flag that is disabled at 60 %."""
    return make_flag(enabled=False, rollout_percent=60)


def present() -> tuple[bool, int]:
    found = FeatureFlag.objects.get(key=KEY)
    return found.enabled, found.rollout_percent


@COMMITTED
def test_start_sets_the_first_step_and_turns_the_flag_on_with_one_undo() -> None:
    with acting_as("ana"):
        plan = rollouts.start(KEY, STEPS, enable=True)
    assert (plan.state, plan.step, present()) == (State.RUNNING, 0, (True, 5))
    assert events() == ["created", "started"]
    text = "started: rollout 0 → 5 %; the flag is turned on"
    assert PlanEvent.objects.get(kind="started").message == text
    [event, creation] = flag_history(KEY)
    assert (event.actor, creation.action) == ("ana", "create")
    assert {one.field for one in event.differences} == {"enabled", "rollout_percent"}
    # The driver does not take it for a change by somebody else.
    assert run_plans()[0].state == "running"
    changes.flags.undo(KEY)
    assert present() == (False, 60)


def test_disabled_flag_counts_as_zero_percent_until_it_is_enabled() -> None:
    plan = rollouts.create(KEY)
    assert [step.percent for step in plan.read_steps()] == [1, 5, 25, 50, 100]
    assert StepRun.objects.get().percent == 0
    changes.flags.enable(KEY)
    with pytest.raises(PlanError, match="the first step is 1 %, and new_checkout is at 60 %"):
        rollouts.start(KEY, enable=True)
    rollouts.delete(KEY)
    with pytest.raises(InvalidPlanError, match="begin with a higher step"):
        rollouts.create(KEY, STEPS)


@pytest.mark.parametrize(("rules", "users"), [(RULES, 0), ([], 1)])
def test_event_and_question_say_who_else_gets_the_flag(rules: Any, users: int) -> None:
    FeatureFlag.objects.update(rules=rules)
    flag: Any = FeatureFlag.objects.get()
    flag.allowed_users.set([User.objects.create(username=f"user{n}") for n in range(users)])
    text = "flag is turned on, so its allowed users and the users of its rules have it, too"
    preview = planned_steps(flag, rollouts.create(KEY, STEPS).read_steps(), 0, enable=True)
    assert preview.notes[0] == f"The {text}."
    rollouts.start(KEY, enable=True)
    assert PlanEvent.objects.get(kind="started").message.endswith(f"; the {text}")


# On the terminal.

START = f"plan start {KEY} --step 5:1h --step 100"


def test_start_that_enables_the_flag_is_asked_about() -> None:
    ran = asked(f"{START} --enable", "n")
    assert (ran.status, present()) == (2, (False, 60))
    assert "The flag is turned on. " in ran.err
    assert ran.err.splitlines()[-2].endswith("Go on? [y/N]")
    ran = asked(f"{START} --enable", "y")
    assert (ran.status, present()) == (0, (True, 5))
    assert f"{KEY}: started: rollout 0 → 5 %; the flag is turned on\n" in ran.err


# Where the flag and the plan are.


def status_of_rollout() -> tuple[Any, str]:
    record = plan_record(plan_of())
    differs = record["rollout_differs"]
    lines = typed(f"flags plan show {KEY}").splitlines()
    [line] = [line for line in lines if line.startswith("rollout ")]
    return differs, line.removeprefix("rollout").strip()


def test_status_says_where_flag_and_plan_are_if_they_differ() -> None:
    rollouts.start(KEY, STEPS, enable=True)
    assert status_of_rollout() == (None, "5 %")
    rollouts.pause(KEY)
    changes.flags.set_rollout(KEY, 60)
    text = "flag is at 60 %, plan at 5 %"
    assert status_of_rollout() == (text, text)
    record = plan_record(plan_of())
    assert (record["rollout"], record["percent"], record["enabled"]) == (60, 5, True)
    changes.flags.disable(KEY)
    assert status_of_rollout()[0] == "flag is off, plan at 5 %"
    changes.flags.delete(KEY)
    record = plan_record(plan_of())
    assert (record["rollout"], record["rollout_differs"]) == (None, None)
