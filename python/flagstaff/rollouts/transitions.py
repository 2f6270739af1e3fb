"""What a person and the driver both do to a plan. To be called with the row of the plan locked.

Each function writes the plan, its run and an event, in the transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from flagstaff import changes
from flagstaff._attribution import current_author
from flagstaff._tables.database import db
from flagstaff._tables.rows import FlagRow
from flagstaff._text import joined, say
from flagstaff._text.rules import can_grant
from flagstaff.changes.changed import Changed
from flagstaff.rollouts.evidence import present_releases
from flagstaff.rollouts.flag_changes import see_flag
from flagstaff.rollouts.models import GUARDED_FOR, Plan, PlanEvent, State, StepRun

# Nothing writes the others again, so an invalid one does not keep a person from stopping the plan.
_CHANGING = (
    "state",
    "step",
    "due_at",
    "seconds_left",
    "guarded_until",
    "ended_at",
    "run_id",
    "flag_version",
    "seen_flag",
    "trip_run_id",
    "trip_reason",
    "trip_figures",
    "reason",
)


def record(
    plan: Plan,
    kind: PlanEvent.Kind,
    message: str,
    figures: Mapping[str, Any] | None = None,
    *,
    wrote: Sequence[Changed] = (),
) -> None:
    """Records an event of a plan, by the current actor. `figures` are what programs read.

    With the version of the flag that it `wrote`, if any: recent changes show both in one line.
    """
    versions = [change.version for change in wrote if change.written]
    written = {"flag_version": versions[-1]} if versions else {}
    # By its primary key: a router of the project may not know the database of the plan.
    db.rows(PlanEvent).create(
        plan_id=plan.pk,
        kind=kind,
        message=str(message),
        actor=current_author(),
        figures={**(figures or {}), **written},
    )


def save(plan: Plan) -> None:
    """Writes what changes in the row of a plan. Every worker loads the plans again."""
    plan.save(using=db.alias, update_fields=_CHANGING)


def end_run(plan: Plan) -> None:
    """Ends the measuring. The plan is not saved."""
    runs = db.rows(StepRun).filter(plan=plan, ended_at=None)
    runs.update(ended_at=plan.now)
    plan.run_id = None


def end(plan: Plan, state: State, reason: str = "") -> None:
    """Ends the plan and its measuring."""
    end_run(plan)
    plan.state, plan.reason, plan.ended_at = state, str(reason), plan.now
    plan.due_at = plan.guarded_until = None
    save(plan)


def forget_trip(plan: Plan) -> None:
    """Forgets a trip: if it is only stored, it is not carried out. The plan is not saved."""
    plan.trip_run_id, plan.trip_reason, plan.trip_figures = None, "", None


def enter_step(
    plan: Plan,
    index: int,
    *,
    expect_version: int | None = None,
    also: Mapping[str, object] | None = None,
) -> list[Changed]:
    """Sets the rollout of a step, and begins to measure. The dwell time starts now.

    A trip that is stored is not carried out any more. The same change sets the fields of `also`, so
    that one undo takes back all. Returns this change. Raises ConflictError if the flag has another
    version than expected.
    """
    step = plan.read_steps()[index]
    if also:
        fields = {**also, "rollout_percent": step.percent}
        changed = changes.flags.update(plan.key, fields, expect_version=expect_version)
    else:
        changed = changes.flags.set_rollout(plan.key, step.percent, expect_version=expect_version)
    end_run(plan)
    runs = db.rows(StepRun)
    run = runs.create(
        plan_id=plan.pk,
        step=index,
        percent=step.percent,
        started_at=plan.now,
        number=runs.filter(plan_id=plan.pk, step=index).count() + 1,
        releases=present_releases(),
    )
    plan.step, plan.due_at = index, plan.now + timedelta(seconds=step.seconds)
    see_flag(plan, changed.version)
    _measure(plan, run)
    return [changed]


def continue_run(plan: Plan) -> bool:
    """Goes on measuring in the run that a pause has interrupted, for the rest of its dwell time.

    The evidence stays valid, because inside and outside are unmeasured for the same time. Returns
    False without such a run. The flag must be as the plan has seen it.
    """
    runs = db.rows(StepRun)
    run = runs.filter(plan_id=plan.pk, step=plan.step, ended_at=None).first()
    if run is None or plan.seconds_left is None:
        return False
    plan.due_at = plan.now + timedelta(seconds=plan.seconds_left)
    _measure(plan, run)
    return True


def _measure(plan: Plan, run: StepRun) -> None:
    """Lets the workers count for a run, without what was found before, and saves the plan."""
    plan.run_id, plan.seconds_left = run.pk, None
    plan.state, plan.reason, plan.ended_at = State.RUNNING, "", None
    forget_trip(plan)
    plan.guarded_until = plan.now + GUARDED_FOR
    save(plan)


def trip_text(plan: Plan) -> str:
    """Returns that a trip is stored, and why the plan has tripped."""
    return say("run-jobs will roll it back: {why}", why=plan.trip_reason)


def pause(plan: Plan, reason: str) -> None:
    """Pauses a plan. The rollout stays as it is, and nothing is measured until it continues.

    A trip that is stored is still carried out.
    """
    if plan.has_tripped:
        reason = joined(filter(None, [reason, trip_text(plan)]), "; ")
    if plan.due_at is not None:
        plan.seconds_left = max((plan.due_at - plan.now).total_seconds(), 0.0)
    plan.state, plan.reason, plan.run_id = State.PAUSED, str(reason), None
    plan.due_at = plan.guarded_until = None
    save(plan)
    message = say("paused: {why}", why=reason) if reason else say("paused")
    record(plan, PlanEvent.Kind.PAUSED, message)


def rolled_back_fields(flag: FlagRow) -> dict[str, object]:
    """Returns what a roll back writes to a flag: 0 %, and off if a rule can grant it."""
    fields: dict[str, object] = {"rollout_percent": 0}
    return fields | {"enabled": False} if can_grant(flag.rules) else fields


def roll_back(plan: Plan, flag: FlagRow, reason: str) -> list[Changed]:
    """Sets the rollout of the plan's own flag to 0 %, and disables it if a rule can grant it.

    A person who rolls back has forgotten the trip before. Returns these changes.
    """
    is_turned_off = "enabled" in rolled_back_fields(flag)
    # Two changes of one field each: broken rules must not stop them. The list shows the last one.
    changed = [changes.flags.set_rollout(flag.key, 0)]
    if is_turned_off:
        changed.append(changes.flags.disable(flag.key))
    see_flag(plan, changed[-1].version)
    end(plan, State.ROLLED_BACK, reason)
    return changed
