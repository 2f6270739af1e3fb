"""The actions of rollout plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Final

from flagstaff._tables.rows import FlagRow, flag_row
from flagstaff._text import say
from flagstaff._text.rules import can_grant
from flagstaff.actions import Action, Done, action
from flagstaff.actions.arguments import Argument, Parsed, Several, YesNo
from flagstaff.changes import Undo
from flagstaff.changes.fields import quoted_command
from flagstaff.rollouts import looks, plans
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.status import plan_record
from flagstaff.rollouts.steps_and_guards import USUAL, parse_guard, parse_step

#: The kind of row, and the verb that has the actions.
PLAN: Final = "plan"
# Whoever may turn a flag on and off may use its plan.
_action = partial(action, PLAN, right="toggle", can_wait=False)

_Steps = Annotated[
    Sequence[str] | None,
    Several(
        say(
            'a step: its percentage and its shortest time, such as "5:1h", each higher than the '
            "one before; by default those that fit the users of the flag, such as 5, 25, 50 and "
            "100 percent"
        ),
        "PERCENT:TIME",
        parse_step,
    ),
]
_Guards = Annotated[
    Sequence[str] | None,
    Several(
        say(
            'a guard: "errors", "latency=0.5" (in seconds) or "function=shop.guards.orders", and '
            "after commas limit=2 (times as often as without the flag) or action=hold; by default "
            "errors"
        ),
        "GUARD",
        parse_guard,
    ),
]
_RequiredUsers = Annotated[
    int | None,
    Parsed(
        say(
            "after this many users with the flag, a step whose time is over passes even if too few "
            "of them have failed for a comparison, unless the guards see a sign of harm; by "
            "default {users}",
            users=USUAL.required_users,
        ),
        "N",
        int,
    ),
]
_Compare = Annotated[
    str | None,
    Argument(
        say(
            "what the guards compare: users, requests (if users with the flag make more of them), "
            "or by default both"
        ),
        "COMPARISON",
    ),
]
_IgnoreReleases = Annotated[
    bool | None,
    YesNo(
        say(
            "let a step go on when a new build appears: a bad build can then pass with what the "
            "build before has shown"
        )
    ),
]
_Enable = Annotated[bool, YesNo("also enable the flag, in the same change as the first step")]

_DeleteBucketRules = Annotated[
    bool,
    YesNo(
        "also delete the rules that select by the bucket of the flag, in the same change: the plan "
        "compares their users then"
    ),
]


def _done(plan: Plan, undo: str, *options: str, instead: str = "") -> Done:
    """Returns what was done, and the action that takes it back.

    `instead` says what that action does, if it does not bring back the flag as it was.
    """
    record = plan_record(plan)
    texts = [f"{plan.key}: {record['events'][-1]['text']}"]
    command = Undo((PLAN, undo, plan.key, *options))
    return Done(plan.key, texts, record, command, instead=instead)


def _unless_new(flag: FlagRow) -> str:
    """Returns what a roll back does, unless it leaves the flag as it is before the start."""
    is_new = flag.enabled and not flag.rollout_percent and not can_grant(flag.rules)
    return "" if is_new else "sets the rollout to 0 %"


@_action(
    "plan create new_checkout --step 5:1h --step 50:1d --step 100",
    "plan create new_checkout --guard errors,limit=1.5 --guard latency=0.5,action=hold",
    creates=True,
    look=looks.look_at_creation,
    label=say("Plan a rollout").lazy,
    button=say("Create plan"),
)
def create(  # noqa: PLR0913, PLR0917 (what a plan is)
    key: str,
    steps: _Steps = None,
    guards: _Guards = None,
    required_users: _RequiredUsers = None,
    compare: _Compare = None,
    ignore_releases: _IgnoreReleases = None,
) -> Done:
    """Create a plan for a flag without starting it.

    Workers begin to measure.
    """
    plan = plans.create(
        key,
        steps,
        guards=guards,
        required_users=required_users,
        compare=compare,
        ignore_releases=ignore_releases,
    )
    return _done(plan, "delete", "--yes")


@_action(
    "plan start new_checkout",
    "plan start new_checkout --step 5:1h --step 100 --guard errors --guard latency=0.5",
    look=looks.look_at_start,
    can_wait=True,
    present=plans.present,
    stands_on=(plans.EXPECT_PLAN,),
    label=say("Start").lazy,
    button=say("Start the plan of {key}"),
)
def start(  # noqa: PLR0913, PLR0917 (the plan, and the conditions of its start)
    key: str,
    steps: _Steps = None,
    guards: _Guards = None,
    required_users: _RequiredUsers = None,
    compare: _Compare = None,
    ignore_releases: _IgnoreReleases = None,
    *,
    enable: _Enable = False,
    delete_bucket_rules: _DeleteBucketRules = False,
    expect_version: int | None = None,
    expect_plan: str | None = None,
) -> Done:
    """Start the plan of a flag, or create one and start it.

    The steps and guards of a plan that exists cannot change: delete it, and create another.
    """
    with plans.unchanged(key, expect_plan):
        instead = _unless_new(flag_row(key))
        plan = plans.start(
            key,
            steps,
            guards=guards,
            required_users=required_users,
            compare=compare,
            ignore_releases=ignore_releases,
            enable=enable,
            delete_bucket_rules=delete_bucket_rules,
            expect_version=expect_version,
        )
    return _done(plan, "roll-back", instead=instead)


@_action(
    "plan pause new_checkout --wait",
    'plan pause new_checkout --reason "support is busy"',
    always_runs=True,
    look=looks.look_at_pause,
    label=say("Pause").lazy,
    button=say("Pause the plan of {key}"),
)
def pause(key: str) -> Done:
    """Pause the plan: the rollout stays as it is, and nothing is measured."""
    return _done(plans.pause(key), "resume")


@_action(
    "plan resume new_checkout",
    "plan resume new_checkout --wait",
    look=looks.look_at_resume,
    can_wait=True,
    present=plans.present,
    stands_on=(plans.EXPECT_PLAN,),
    label=say("Resume").lazy,
    button=say("Resume the plan of {key}"),
)
def resume(
    key: str,
    *,
    expect_version: int | None = None,
    expect_plan: str | None = None,
) -> Done:
    """Continue a paused plan at its step, or a rolled back one at its first step.

    A paused plan keeps what it has counted, unless the flag was changed meanwhile.
    """
    with plans.unchanged(key, expect_plan) as before:
        instead = _unless_new(flag_row(key))
        plan = plans.resume(key, expect_version=expect_version)
    if before is not None and before.state != State.ROLLED_BACK:
        return _done(plan, "pause")
    return _done(plan, "roll-back", instead=instead)


@_action(
    "plan roll-back new_checkout",
    'plan roll-back new_checkout --reason "orders fail" --no-wait',
    waits_for_workers=True,
    always_runs=True,
    look=looks.look_at_roll_back,
    label=say("Roll back to 0 %").lazy,
    button=say("Roll back {key} to 0 %"),
)
def roll_back(key: str) -> Done:
    """Set the rollout to 0 %, disable a flag that a rule can grant, and wait for the workers.

    Nothing delays it: no question, no reason.
    """
    plan, before, changed = plans.rolled_back(key)
    instead = ""
    if plan.step != 0:
        instead = "begins it again at its first step"
    elif before == State.PAUSED:
        instead = "lets it run, although it was paused"
    done = replace(_done(plan, "resume", instead=instead), changed=changed)
    if plan.flag is None or not plan.flag.enabled:
        # It has to be turned on first.
        return replace(done, undo=None, instead="")
    return done


@_action(
    "plan delete new_checkout --yes",
    "plan delete new_checkout --dry-run",
    look=looks.look_at_deletion,
    deletes=True,
    keeps_reason=False,
    label=say("Delete").lazy,
    button=say("Delete the plan of {key}"),
)
def delete(key: str) -> Done:
    """Delete the plan with its counts.

    Pause a plan that runs first. The rollout stays as it is, and the events stay in the history.
    """
    plans.delete(key)
    again = quoted_command(PLAN, "create", key)
    text = f"{key}: the rollout plan was deleted; the rollout stays as it is; plan again: {again}"
    return Done(key, [text], {"key": key, "deleted": True})


#: In the order of the help.
ACTIONS: tuple[Action, ...] = (create, start, pause, resume, roll_back, delete)
