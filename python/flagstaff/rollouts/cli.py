"""The verbs `plans` and `plan` with its actions, such as start, edit, pause and status."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import cast

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils.dateparse import parse_datetime

from flagstaff._tables.rows import FlagRow, find_row, flag_row, uncached
from flagstaff._words.text import Text
from flagstaff.actions.arguments import percent
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.preview import rolled_back
from flagstaff.cli.asking import GO_ON, may_ask, require_confirmation, row_of, seen_version
from flagstaff.cli.errors import UNKNOWN, USAGE
from flagstaff.cli.options import add_attribution, add_key, add_wait, add_yes, count
from flagstaff.cli.output import Output
from flagstaff.cli.verb import (
    Options,
    Topic,
    Verb,
    VerbParser,
    add_verbs,
    means_list,
    missing_key_hint,
)
from flagstaff.cli.wait import finish
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidPlanError, UnknownFlagError, UnknownPlanError
from flagstaff.history.kinds import Kind
from flagstaff.rollouts import plans
from flagstaff.rollouts.clock import database_now
from flagstaff.rollouts.conditions import rules_can_grant
from flagstaff.rollouts.editing import version_of_plan
from flagstaff.rollouts.first_step import first_step_of
from flagstaff.rollouts.guards import FUNCTION, Guard, guards_from_json, parse_guard
from flagstaff.rollouts.models import WATCHED_STATES, Plan, State
from flagstaff.rollouts.releasing import planned_steps
from flagstaff.rollouts.status import (
    EVENT_COLUMNS,
    LIST_COLUMNS,
    PLAN_COLUMNS,
    TRIP_COLUMNS,
    forecast_lines,
    newest_events,
    plan_record,
    plan_summary,
)
from flagstaff.rollouts.steps import Step, parse_step
from flagstaff.rollouts.stored import steps_of
from flagstaff.rollouts.unguarded import unguarded_plans

_ALL = 100
_STATUS = "status"


def _step(text: str) -> Step:
    try:
        return parse_step(text)
    except InvalidPlanError as error:
        raise ArgumentTypeError(str(error)) from error


def _guard(text: str) -> Guard:
    try:
        return parse_guard(text)
    except InvalidPlanError as error:
        raise ArgumentTypeError(str(error)) from error


def _time(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise ArgumentTypeError(f'expected a time such as "2026-11-20 14:00", not {text!r}')
    return found


def _add_steps(parser: CommandParser) -> None:
    parser.add_argument(
        "--step",
        dest="steps",
        action="append",
        type=_step,
        metavar="PERCENT:TIME",
        help='a step: its percentage and its shortest time, such as "5:1h"; can be repeated. '
        "Without steps: 1, 5, 25, 50 and 100 percent",
    )
    parser.add_argument(
        "--guard",
        dest="guards",
        action="append",
        type=_guard,
        metavar="GUARD",
        help='a guard: "errors", "latency=0.5" or "function=shop.guards.orders", and after commas '
        "limit=2 and tolerated=1 (both: times as often as without the flag) or action=hold; can be "
        "repeated. Without guards: errors",
    )
    parser.add_argument(
        "--required-users",
        type=count(1),
        metavar="N",
        help="a step also passes after this many users with the flag, if the guards see no sign of "
        f"harm; the default is {plans.REQUIRED_USERS:,}",
    )
    parser.add_argument(
        "--at",
        type=_time,
        metavar="TIME",
        help='start at this time, such as "2026-11-20 14:00", in the time zone of the settings',
    )
    add_attribution(parser)


def _add_create(parser: CommandParser) -> None:
    _add_steps(parser)
    add_yes(parser)


def _add_start(parser: CommandParser) -> None:
    _add_create(parser)
    add_wait(parser)


def _add_change(parser: CommandParser) -> None:
    add_attribution(parser)
    add_wait(parser)
    add_yes(parser)


def _add_edit(parser: CommandParser) -> None:
    _add_steps(parser)
    add_wait(parser)
    add_yes(parser)


def _add_pause(parser: CommandParser) -> None:
    add_attribution(parser)
    # As for a kill: nothing may delay it.
    parser.set_defaults(needs_reason=False)


def _add_rollback(parser: CommandParser) -> None:
    _add_pause(parser)
    add_wait(parser)


def _add_jump(parser: CommandParser) -> None:
    parser.add_argument("percent", type=percent, metavar="PERCENT", help="the step to go to")
    _add_change(parser)


def _add_delete(parser: CommandParser) -> None:
    add_attribution(parser)
    add_yes(parser)


def _create(options: Options, out: Output) -> None:
    guards, users = options["guards"], options["required_users"]
    enables = options["at"] is not None and _may_enable(options, out)
    create = partial(
        plans.create,
        options["key"],
        options["steps"],
        guards=("errors",) if guards is None else guards,
        required_users=plans.REQUIRED_USERS if users is None else users,
        starts_at=options["at"],
        enable=enables,
    )
    plan = create() if options["at"] is None else _confirmed(create, options, out, enables)
    _explain(plan, out)
    _report(plan, out, options)


def _start(options: Options, out: Output) -> None:
    measured = plans.find_plan(options["key"])
    for line in forecast_lines(measured) if measured else ():
        out.message(line)
    enables = _may_enable(options, out)
    start = partial(
        plans.start,
        options["key"],
        options["steps"],
        guards=options["guards"],
        required_users=options["required_users"],
        starts_at=options["at"],
        enable=enables,
    )
    plan = _confirmed(start, options, out, enables)
    _explain(plan, out)
    _report(plan, out, options)


def _changing(change: Callable[[str], Plan]) -> Callable[[Options, Output], None]:
    def run(options: Options, out: Output) -> None:
        _report(change(options["key"]), out, options)

    return run


def _resume(options: Options, out: Output) -> None:
    plan = plans.find_plan(options["key"])
    enables = plan is not None and plan.step is None and _may_enable(options, out)
    resume = partial(plans.resume, options["key"], enable=enables)
    _report(_confirmed(resume, options, out, enables), out, options)


def _may_enable(options: Options, out: Output) -> bool:
    """Whether the flag is disabled, and a person can confirm that the start enables it.

    A script must say so with --yes: it names a plan, not the flag's switch.
    """
    flag = cast("FlagRow | None", find_row(conf.flag_model, options["key"]))
    if flag is None or flag.enabled:
        return False
    return bool(options["yes"]) or out.is_dry_run or may_ask(options, out)


def _edit(options: Options, out: Output) -> None:
    key, at = options["key"], options["at"]
    given = ("steps", "guards", "required_users", "at")
    if all(options[name] is None for name in given):
        text = "nothing to edit: pass --step, --guard, --required-users or --at"
        raise CommandError(text, returncode=USAGE)
    edit = partial(
        plans.edit,
        key,
        options["steps"],
        guards=options["guards"],
        required_users=options["required_users"],
        starts_at="unchanged" if at is None else at,
    )
    before = plans.find_plan(key)
    if may_ask(options, out) and before is not None:
        version = version_of_plan(before)
        with rolled_back():
            preview = edit()
        if preview.changes:
            _ask_for_edit(preview, options, out)
        edit = partial(edit, expect_plan=version)
    edited = edit()
    if not edited.changes:
        out.message(f"{key}: the plan is like this already")
        finish(plan_record(edited.plan), out, options, written=False)
        return
    _report(edited.plan, out, options)


def _ask_for_edit(preview: plans.Edited, options: Options, out: Output) -> None:
    """Shows what an edit changes, with the users of the next and the last step, and asks."""
    for line in (*preview.changes, preview.starts_again):
        if line:
            out.message(f"{preview.plan.key}: {line}")
    plan, typed, notes = preview.plan, "", []
    is_scheduled = plan.state == State.PENDING and plan.starts_at is not None
    if plan.state in WATCHED_STATES or is_scheduled:
        # It reaches its steps without another question.
        steps = steps_of(plan)
        index = 0 if plan.step is None else min(plan.step + 1, len(steps) - 1)
        flag = flag_row(plan.key)
        ahead = planned_steps(flag, steps, index, enable=plan.enables_flag)
        typed, notes = ahead.text_to_type, ahead.notes
        for label, now, after in ahead.rows:
            out.message(f"{label}: {now} → {after}")
    require_confirmation(" ".join([*notes, GO_ON]), options, out, typed=typed)


def _jump(options: Options, out: Output) -> None:
    jump = partial(plans.jump, options["key"], options["percent"])
    _report(_confirmed(jump, options, out), out, options)


def _confirmed(
    write: Callable[..., Plan],
    options: Options,
    out: Output,
    enables: bool = False,  # noqa: FBT001, FBT002 (as the other functions of this file)
) -> Plan:
    """Releases the flag to the steps of a plan, on a terminal after a question.

    `enables` is whether that also enables the flag. `write` gets `expect_version`. Blocks until the
    answer. Raises CommandError if it is no, and ConflictError if the flag or the plan has been
    changed since the question.
    """
    if not may_ask(options, out):
        return write()
    version = seen_version(row_of(Kind.FLAG, options["key"]))
    with rolled_back():
        preview = write()
    flag = flag_row(options["key"])
    ahead = planned_steps(flag, steps_of(preview), preview.step or 0, enable=enables)
    if enables or ahead.consequence >= Consequence.MORE:
        for label, now, after in ahead.rows:
            out.message(f"{label}: {now} → {after}")
        text = " ".join([*ahead.notes, GO_ON])
        require_confirmation(text, options, out, typed=ahead.text_to_type)
    with transaction.atomic(using=conf.database):
        plan = write(expect_version=version)
        if (plan.steps, plan.step) != (preview.steps, preview.step):
            problem = Text(
                "the rollout plan of {key} has been changed since the question; run the command "
                "again",
                key=plan.key,
            )
            raise ConflictError(problem, key=plan.key)
    return plan


def _delete(options: Options, out: Output) -> None:
    key = options["key"]
    if plans.find_plan(key) is not None:
        require_confirmation(f"Delete the rollout plan of {key} and its events?", options, out)
    plans.delete(key)
    out.message(f"{key}: the rollout plan was deleted; the rollout stays as it is")
    finish({"key": key, "deleted": True}, out, options, written=True)


def _status(options: Options, out: Output) -> None:
    plan = plans.find_plan(options["key"])
    if plan is None:
        raise UnknownPlanError(plans.no_plan_text(options["key"]))
    record = plan_record(plan)
    out.record((*PLAN_COLUMNS, *(TRIP_COLUMNS if record["failed_at_trip"] else ())), record)
    if not out.is_json:
        for line in record["forecast"]:
            out.line(line)
        out.line("")
        out.records(EVENT_COLUMNS, record["events"])


def _list(_options: Options, out: Output) -> None:
    rows = uncached(Plan.objects.using(conf.database)).order_by("key")
    # What runs now comes first.
    plans_by_key = sorted(rows, key=lambda plan: plan.state not in WATCHED_STATES)
    if not plans_by_key:
        out.message("there is no rollout plan")
    unguarded = {plan.pk for plan in unguarded_plans()}
    records = [plan_summary(plan, unguarded=plan.pk in unguarded) for plan in plans_by_key]
    out.records(LIST_COLUMNS, records)


def _explain(plan: Plan, out: Output) -> None:
    """Says what a person should know before the start."""
    flag = cast("FlagRow | None", find_row(conf.flag_model, plan.key))
    if flag is not None and rules_can_grant(flag):
        out.message("a rule can grant the flag, so a guard that trips also disables the flag")
    if plan.starts_at is not None and plan.starts_at <= database_now():
        out.message("the time of the start is past, so the next run of run-jobs starts the plan")
    first = steps_of(plan)[0]
    if plan.state != State.PENDING and first.percent < _ALL:
        users = plan.required_users * _ALL // first.percent
        out.message(
            f"without failures to compare, a step needs {plan.required_users:,} users with the "
            f"flag: at {first.percent} %, about {users:,} users must use the site"
        )
        smallest = None if flag is None else first_step_of(flag, plan.required_users)
        if smallest is not None and smallest > first.percent:
            out.message(
                f"this site has too few users for that: a first step below {smallest} % can only "
                f"pass if the guards rule out harm; begin with {smallest} %, or lower "
                "--required-users"
            )
    guards = guards_from_json(plan.guards)
    has_all = steps_of(plan)[-1].percent == _ALL
    if has_all and not any(guard.kind == FUNCTION for guard in guards):
        out.message("at 100 % all users have the flag, so no guard watches the last step")


def _report(plan: Plan, out: Output, options: Options) -> None:
    for event in newest_events(plan):
        out.message(f"{plan.key}: {event.message}")
    finish(plan_record(plan), out, options, written=True)


_ACTIONS = (
    Verb(
        name="create",
        help="create a plan without starting it",
        examples=("plan new_checkout create --step 5:1h --step 50:1d --step 100",),
        add_arguments=_add_create,
        run=_create,
    ),
    Verb(
        name="start",
        help="start the plan, or create one and start it",
        examples=(
            "plan new_checkout start",
            "plan new_checkout start --step 5:1h --step 100 --guard errors --guard latency=0.5",
            'plan new_checkout start --at "2026-11-20 14:00"',
        ),
        add_arguments=_add_start,
        run=_start,
    ),
    Verb(
        name="edit",
        help="edit the plan: while it runs, later steps and stricter guards",
        examples=(
            "plan new_checkout edit --step 5:1h --step 25:2d --step 100",
            "plan new_checkout edit --guard errors,limit=1.5 --guard latency=0.5",
        ),
        add_arguments=_add_edit,
        run=_edit,
    ),
    Verb(
        name="pause",
        help="pause the plan; the rollout stays as it is",
        examples=('plan new_checkout pause --reason "support is busy"',),
        add_arguments=_add_pause,
        run=_changing(plans.pause),
    ),
    Verb(
        name="resume",
        help="continue a paused plan at its step, or a rolled back one at the first step",
        examples=("plan new_checkout resume",),
        add_arguments=_add_change,
        run=_resume,
    ),
    Verb(
        name="jump",
        help="go to a step at once, forward or back",
        examples=("plan new_checkout jump 50",),
        add_arguments=_add_jump,
        run=_jump,
    ),
    Verb(
        name="rollback",
        help="set the rollout to 0 % at once, and disable a flag that a rule can grant",
        examples=("plan new_checkout rollback --wait",),
        add_arguments=_add_rollback,
        run=_changing(plans.rollback),
    ),
    Verb(
        name="dismiss",
        help="say that a roll back, a hold or a pause was seen; nothing else changes",
        examples=("plan new_checkout dismiss",),
        add_arguments=_add_pause,
        run=_changing(plans.dismiss),
    ),
    Verb(
        name="delete",
        help="delete the plan and its events; the rollout stays as it is",
        examples=("plan new_checkout delete --yes",),
        add_arguments=_add_delete,
        run=_delete,
    ),
    Verb(
        name=_STATUS,
        help="show the plan, its evidence and its events",
        examples=("plan new_checkout status", "plan new_checkout status --json"),
        run=_status,
    ),
)
_BY_NAME = {action.name: action for action in _ACTIONS}


def _add_arguments(parser: VerbParser) -> None:
    add_key(parser)
    add_verbs(parser, _BY_NAME, dest="action")


def _run(options: Options, out: Output) -> None:
    try:
        _BY_NAME[options["action"] or _STATUS].run(options, out)
    except (UnknownFlagError, UnknownPlanError) as error:
        if isinstance(error, UnknownFlagError) and means_list(options):
            _list(options, out)
            return
        if advice := missing_key_hint(options, _ACTIONS):
            raise CommandError(f"{error}{advice}", returncode=UNKNOWN) from error
        raise


PLAN = Verb(
    name="plan",
    help="show or change the rollout plan of a flag",
    examples=(
        "plan list",
        "plan new_checkout",
        *(line for action in _ACTIONS for line in action.examples),
    ),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.ROLLOUTS,
)
PLANS = Verb(
    name="plans",
    help="list all rollout plans, those that run first",
    examples=("plans", "plans --json"),
    run=_list,
    topic=Topic.ROLLOUTS,
)
VERBS = (PLAN, PLANS)
