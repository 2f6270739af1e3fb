"""What an edit changes in a plan, and what the state of the plan allows."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff.exceptions import InvalidPlanError, PlanError
from flagstaff.rollouts.editing import Edit, edit_of, version_of_plan
from flagstaff.rollouts.guards import guards_as_json, valid_guards
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.steps import steps_as_json, valid_steps

STEPS = ["5:1h", "25:1h", "100"]


def plan(state: State = State.RUNNING, step: int | None = 1, *guards: str) -> Plan:
    return Plan(
        key="new_checkout",
        state=state,
        step=step,
        steps=steps_as_json(valid_steps(STEPS)),
        guards=guards_as_json(valid_guards(guards or ["errors"])),
        required_users=1000,
    )


def edited(found: Plan, steps: Any = None, guards: Any = None, required_users: Any = None) -> Edit:
    return edit_of(found, steps, guards, required_users)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("errors", "errors,limit=1.5"),
        ("errors,tolerated=1.5", "errors"),
        ("errors,action=hold", "errors"),
        ("latency=2", "latency=1"),
        ("latency=2,action=hold", "latency=1,limit=1.2"),
    ],
)
def test_running_plan_accepts_a_tighter_guard_only(old: str, new: str) -> None:
    found = edited(plan(State.RUNNING, 1, old), guards=[new])
    [change] = found.changes
    old_text, new_text = map(str, (*valid_guards([old]), *valid_guards([new])))
    assert change == f"guard {old_text} → {new_text}"
    assert found.changes_guards
    with pytest.raises(PlanError) as refused:
        edited(plan(State.HOLDING, 1, new), guards=[old])
    assert str(refused.value).endswith(
        f"{old_text} is looser than {new_text}; pause it first: "
        '"manage.py flags plan pause new_checkout"'
    )
    # A person has paused it.
    assert edited(plan(State.PAUSED, 1, new), guards=[old]).changes_guards


def test_running_plan_accepts_another_guard_and_keeps_all() -> None:
    two = ["errors", "latency=0.5"]
    found = edited(plan(), guards=["latency=0.5", "errors"])
    assert found.changes == ("guard latency=0.5,limit=2,action=rollback added",)
    for others in (["errors"], ["latency=0.5"], []):
        with pytest.raises(PlanError, match="would be removed"):
            edited(plan(State.RUNNING, 1, *two), guards=others)
    found = edited(plan(State.PAUSED, 1, *two), guards=["errors"])
    assert found.changes == ("guard latency=0.5,limit=2,action=rollback removed",)


def test_guards_in_another_order_are_the_same() -> None:
    found = edited(plan(State.RUNNING, 1, "errors", "latency=1"), guards=["latency=1", "errors"])
    assert (found.changes, found.changes_guards) == ((), False)
    assert [guard.kind for guard in found.guards] == ["errors", "latency"]


def test_latency_guards_are_paired_from_the_shortest_time_on() -> None:
    before = plan(State.RUNNING, 1, "latency=0.5", "latency=2")
    found = edited(before, guards=["latency=2", "latency=1", "latency=0.4"])
    texts = [str(change) for change in found.changes]
    assert len(texts) == 2
    assert "latency=1,limit=2,action=rollback added" in texts[0]
    assert texts[1].startswith("guard latency=0.5,")


def test_steps_that_have_begun_stay_while_the_plan_runs() -> None:
    found = edited(plan(), steps=["5:1h", "25:1h", "60:2h", "100"])
    [change] = found.changes
    assert change == (
        "steps 5 % for 1 h, 25 % for 1 h, 100 % → 5 % for 1 h, 25 % for 1 h, 60 % for 2 h, 100 %"
    )
    assert not found.changes_guards
    with pytest.raises(PlanError, match=r"present step, 25 % for 1 h, must stay; pause it first"):
        edited(plan(), steps=["5:1h", "25:2h", "100"])
    with pytest.raises(PlanError, match="at step 2, so the steps before must stay: 5 % for 1 h"):
        edited(plan(), steps=["4:1h", "25:1h", "100"])
    with pytest.raises(PlanError, match="needs at least so many steps"):
        edited(plan(), steps=["5:1h"])


def test_paused_plan_can_have_another_present_step_but_no_other_past() -> None:
    paused = plan(State.PAUSED)
    assert edited(paused, steps=["5:1h", "20:2h", "100"]).changes
    with pytest.raises(PlanError, match="steps before must stay"):
        edited(paused, steps=["4:1h", "25:1h", "100"])
    assert edited(plan(State.PENDING, None), steps=["50:1h"]).changes


def test_required_users_are_only_raised_while_the_plan_runs() -> None:
    assert edited(plan(), required_users=2000).changes == ("required users 1,000 → 2,000",)
    with pytest.raises(PlanError, match="can only be raised, and 900 is below 1,000"):
        edited(plan(), required_users=900)
    assert edited(plan(State.PENDING, None), required_users=900).changes


@pytest.mark.parametrize(
    "parts",
    [
        {"steps": ["25:1h", "5:1h"]},
        {"steps": []},
        {"guards": ["errors", "errors"]},
        {"required_users": 0},
    ],
)
def test_parts_that_are_not_valid_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidPlanError):
        edited(plan(State.PENDING, None), **parts)


def test_version_of_a_plan_differs_with_each_part_that_a_person_edits() -> None:
    versions = {
        version_of_plan(plan(State.PENDING, None)),
        version_of_plan(plan()),
        version_of_plan(plan(State.RUNNING, 1, "errors,limit=3")),
    }
    other = plan()
    other.required_users = 7
    assert len(versions | {version_of_plan(other)}) == 4
    assert version_of_plan(plan()) in versions
