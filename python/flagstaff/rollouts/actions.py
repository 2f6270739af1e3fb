"""The actions of rollout plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final

from django.utils.translation import gettext_lazy as _

from flagstaff._tables.rows import FlagRow, flag_row
from flagstaff._words.rule_parts import can_grant
from flagstaff._words.text import Text
from flagstaff.actions import Action, Done, Outlook, Question, action
from flagstaff.actions.arguments import Argument, Parsed, Several, YesNo
from flagstaff.changes import Undo
from flagstaff.changes.changed import quoted_command
from flagstaff.changes.consequence import Consequence, needs_question
from flagstaff.changes.preview import rolled_back
from flagstaff.history.kinds import Kind
from flagstaff.history.log import version_of
from flagstaff.rollouts import plans
from flagstaff.rollouts.guards import parse_guard
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.planned_steps import PlannedSteps, planned_steps
from flagstaff.rollouts.status import plan_record
from flagstaff.rollouts.steps import USUAL, parse_step
from flagstaff.rollouts.traffic import notes_of

#: The kind of row, and the verb that has the actions.
PLAN: Final = "plan"
# Whoever may turn a flag on and off may use its plan.
_action = partial(action, PLAN, right="toggle")

_Steps = Annotated[
    Sequence[str] | None,
    Several(
        Text(
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
        Text(
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
        Text(
            "a step also passes after this many users with the flag, if the guards see no sign of "
            "harm; by default {users}",
            users=USUAL.required_users,
        ),
        "N",
        int,
    ),
]
_Compare = Annotated[
    str | None,
    Argument(
        Text(
            "what the guards compare: users, requests (if users with the flag make more of them), "
            "or by default both"
        ),
        "COMPARISON",
    ),
]
_IgnoreReleases = Annotated[
    bool | None,
    YesNo(
        Text(
            "let a step go on when a new build appears: a bad build can then pass with what the "
            "build before has shown"
        )
    ),
]
_Enable = Annotated[bool, YesNo("also enable the flag, in the same change as the first step")]


def _ahead(write: Callable[..., Plan], key: str, **arguments: Any) -> PlannedSteps:
    """Returns what the next and the last step of a plan do to the users."""
    flag, before = flag_row(key), plans.find_plan(key)
    version, plan_version = version_of(Kind.FLAG, flag.pk), "" if before is None else before.version
    with rolled_back():
        plan = write(key, **arguments)
    enables = arguments.get("enable", False) and not flag.enabled
    ahead = planned_steps(flag, plan.read_steps(), plan.step or 0, enable=enables)
    return replace(ahead, version=version, plan_version=plan_version)


def _question(write: Callable[..., Plan], key: str, **arguments: Any) -> Question | None:
    """Returns what a person confirms: nothing if no user gains the flag."""
    ahead = _ahead(write, key, **arguments)
    if not (ahead.enabling or needs_question(ahead.last, Consequence.MORE)):
        return None
    lines = [f"{label}: {now} → {after}" for label, now, after in ahead.rows]
    return Question(" ".join([*ahead.notes, "Go on?"]), lines, ahead.text_to_type, ahead.seen)


def _outlook(write: Callable[..., Plan], key: str, **arguments: Any) -> Outlook:
    return _ahead(write, key, **arguments).outlook


def _done(
    plan: Plan, undo: str, *options: str, notes: Iterable[str] = (), instead: str = ""
) -> Done:
    """Returns what was done, and the action that takes it back.

    `instead` says what that action does, if it does not bring back the flag as it was.
    """
    record = plan_record(plan)
    texts = [f"{plan.key}: {record['events'][-1]['text']}"]
    command = Undo((PLAN, undo, plan.key, *options))
    return Done(plan.key, texts, record, command, instead=instead, notes=[*notes])


def _unless_new(flag: FlagRow) -> str:
    """Returns what a roll back does, unless it leaves the flag as it is before the start."""
    is_new = flag.enabled and not flag.rollout_percent and not can_grant(flag.rules)
    return "" if is_new else "sets the rollout to 0 %"


@_action(
    "plan create new_checkout --step 5:1h --step 50:1d --step 100",
    "plan create new_checkout --guard errors,limit=1.5 --guard latency=0.5,action=hold",
    creates=True,
    label=_("Plan a rollout"),
    button=_("Create plan"),
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
    return _done(plan, "delete", "--yes", notes=notes_of(plan, flag_row(key), 0, has_traffic=False))


@_action(
    "plan start new_checkout",
    "plan start new_checkout --step 5:1h --step 100 --guard errors --guard latency=0.5",
    question=partial(_question, plans.start),
    outlook=partial(_outlook, plans.start),
    label=_("Start"),
    button=_("Start the plan of %(key)s"),
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
            expect_version=expect_version,
        )
        notes = [*notes_of(plan, flag_row(key), 0)]
    return _done(plan, "roll-back", notes=notes, instead=instead)


@_action(
    "plan pause new_checkout --wait",
    'plan pause new_checkout --reason "support is busy"',
    always_runs=True,
    label=_("Pause"),
    button=_("Pause the plan of %(key)s"),
)
def pause(key: str) -> Done:
    """Pause the plan: the rollout stays as it is, and nothing is measured."""
    return _done(plans.pause(key), "resume")


@_action(
    "plan resume new_checkout",
    "plan resume new_checkout --wait",
    question=partial(_question, plans.resume),
    outlook=partial(_outlook, plans.resume),
    label=_("Resume"),
    button=_("Resume the plan of %(key)s"),
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
    if before is not None and before.state == State.PAUSED:
        return _done(plan, "pause")
    return _done(plan, "roll-back", instead=instead)


@_action(
    "plan roll-back new_checkout",
    'plan roll-back new_checkout --reason "orders fail" --no-wait',
    waits_for_workers=True,
    always_runs=True,
    label=_("Roll back"),
    button=_("Roll back %(key)s"),
)
def roll_back(key: str) -> Done:
    """Set the rollout to 0 %, disable a flag that a rule can grant, and wait for the workers.

    Nothing delays it: no question, no reason.
    """
    plan = plans.rollback(key)
    is_as_before = plan.step == 0 and plan.flag is not None and plan.flag.enabled
    instead = "" if is_as_before else "begins it again at its first step"
    return _done(plan, "resume", instead=instead)


def _deletion(key: str) -> Question | None:
    if plans.find_plan(key) is None:
        return None
    return Question(f"Delete the rollout plan of {key} and its events?")


@_action(
    "plan delete new_checkout --yes",
    "plan delete new_checkout --dry-run",
    question=_deletion,
    asks_always=True,
    deletes=True,
    label=_("Delete"),
    button=_("Delete the plan of %(key)s"),
)
def delete(key: str) -> Done:
    """Delete the plan with its counts and events.

    Pause a plan that runs first. The rollout stays as it is.
    """
    plans.delete(key)
    again = quoted_command(PLAN, "create", key)
    text = f"{key}: the rollout plan was deleted; the rollout stays as it is; plan again: {again}"
    return Done(key, [text], {"key": key, "deleted": True})


#: In the order of the help.
ACTIONS: tuple[Action, ...] = (create, start, pause, resume, roll_back, delete)
