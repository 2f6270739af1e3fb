"""The verb `plan`: create, start, pause, resume, jump, rollback, delete, status."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import cast

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils.dateparse import parse_datetime

from flagstaff._tables.rows import FlagRow, find_row, flag_row
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.preview import rolled_back
from flagstaff.cli.support.argument_types import count, percent
from flagstaff.cli.support.change_arguments import (
    add_attribution,
    add_key,
    add_yes,
    may_ask,
    require_confirmation,
)
from flagstaff.cli.support.consequence import GO_ON, row_of, seen_version
from flagstaff.cli.support.errors import UNKNOWN
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb, add_verbs, missing_key_hint
from flagstaff.cli.support.wait import add_wait, finish
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, InvalidPlanError, UnknownFlagError, UnknownPlanError
from flagstaff.history.kinds import Kind
from flagstaff.rollouts import plans, refusal_messages
from flagstaff.rollouts.clock import database_now
from flagstaff.rollouts.conditions import rules_can_grant
from flagstaff.rollouts.first_step import first_step_of
from flagstaff.rollouts.guards import CALLABLE, Guard, guards_from_json, parse_guard
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.releasing import planned_steps
from flagstaff.rollouts.status import (
    EVENT_COLUMNS,
    PLAN_COLUMNS,
    forecast_lines,
    newest_event,
    plan_record,
)
from flagstaff.rollouts.steps import Step, parse_step
from flagstaff.rollouts.transitions import steps_of

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
        help='a guard: "errors", "latency=0.5" or "call=shop.guards.orders", and after commas '
        "limit=2, tolerated=1 or action=hold; can be repeated. Without guards: errors",
    )
    parser.add_argument(
        "--required-users",
        type=count(1),
        metavar="N",
        help="a step also passes after this many users inside, if the guards see no sign of "
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
    create = partial(
        plans.create,
        options["key"],
        options["steps"],
        guards=("errors",) if guards is None else guards,
        required_users=plans.REQUIRED_USERS if users is None else users,
        starts_at=options["at"],
    )
    plan = create() if options["at"] is None else _confirmed(create, options, out)
    _explain(plan, out)
    _report(plan, out, options)


def _start(options: Options, out: Output) -> None:
    measured = plans.find_plan(options["key"])
    for line in forecast_lines(measured) if measured else ():
        out.message(line)
    start = partial(
        plans.start,
        options["key"],
        options["steps"],
        guards=options["guards"],
        required_users=options["required_users"],
        starts_at=options["at"],
    )
    plan = _confirmed(start, options, out)
    _explain(plan, out)
    _report(plan, out, options)


def _changing(change: Callable[[str], Plan]) -> Callable[[Options, Output], None]:
    def run(options: Options, out: Output) -> None:
        _report(change(options["key"]), out, options)

    return run


def _resume(options: Options, out: Output) -> None:
    _report(_confirmed(partial(plans.resume, options["key"]), options, out), out, options)


def _jump(options: Options, out: Output) -> None:
    jump = partial(plans.jump, options["key"], options["percent"])
    _report(_confirmed(jump, options, out), out, options)


def _confirmed(write: Callable[..., Plan], options: Options, out: Output) -> Plan:
    """Releases the flag to the steps of a plan, on a terminal after a question.

    `write` gets `expect_version`. Blocks until the answer. Raises CommandError if it is no, and
    ConflictError if the flag or the plan has been changed since the question.
    """
    if not may_ask(options, out):
        return write()
    version = seen_version(row_of(Kind.FLAG, options["key"]))
    with rolled_back():
        preview = write()
    flag = flag_row(options["key"])
    ahead = planned_steps(flag, steps_of(preview), preview.step or 0)
    if ahead.consequence >= Consequence.WIDENS:
        for label, now, after in ahead.rows:
            out.message(f"{label}: {now} → {after}")
        text = " ".join([*ahead.notes, GO_ON])
        require_confirmation(text, options, out, typed=ahead.text_to_type)
    with transaction.atomic(using=conf.database):
        plan = write(expect_version=version)
        if (plan.steps, plan.step) != (preview.steps, preview.step):
            problem = refusal_messages.CHANGED_SINCE_QUESTION(key=plan.key)
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
    out.record(PLAN_COLUMNS, record)
    if not out.is_json:
        for line in record["forecast"]:
            out.line(line)
        out.line("")
        out.records(EVENT_COLUMNS, record["events"])


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
            f"without failures to compare, a step needs {plan.required_users:,} users inside: at "
            f"{first.percent} %, these are about {users:,} users of the flag"
        )
        smallest = None if flag is None else first_step_of(flag, plan.required_users)
        if smallest is not None and smallest > first.percent:
            out.message(
                f"this site has too few users for that: a first step below {smallest} % can only "
                f"end by a guard that trips; begin with {smallest} %, or lower --required-users"
            )
    guards = guards_from_json(plan.guards)
    has_all = steps_of(plan)[-1].percent == _ALL
    if has_all and not any(guard.kind == CALLABLE for guard in guards):
        out.message("at 100 % no user is outside, so no guard watches the last step")


def _report(plan: Plan, out: Output, options: Options) -> None:
    event = newest_event(plan)
    if event is not None:
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


def _add_arguments(parser: CommandParser) -> None:
    add_key(parser)
    add_verbs(parser, _ACTIONS, dest="action")


def _run(options: Options, out: Output) -> None:
    try:
        _BY_NAME[options["action"] or _STATUS].run(options, out)
    except (UnknownFlagError, UnknownPlanError) as error:
        if advice := missing_key_hint(options, _ACTIONS):
            raise CommandError(f"{error}{advice}", returncode=UNKNOWN) from error
        raise


PLAN = Verb(
    name="plan",
    help="show or change the rollout plan of a flag",
    examples=("plan new_checkout", *(line for action in _ACTIONS for line in action.examples)),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.ROLLOUTS,
)
