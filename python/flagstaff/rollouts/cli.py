"""The verb `plan`: plan list, show, and the actions."""

from __future__ import annotations

from django.core.management.base import CommandParser

from flagstaff._tables.rows import uncached
from flagstaff.cli.support.action_verbs import action_verbs
from flagstaff.cli.support.change_arguments import add_key
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb, verb_group
from flagstaff.conf import conf
from flagstaff.exceptions import UnknownPlanError
from flagstaff.rollouts import plans
from flagstaff.rollouts.actions import PLAN
from flagstaff.rollouts.models import WATCHED_STATES, Plan
from flagstaff.rollouts.status import (
    EVENT_COLUMNS,
    LIST_COLUMNS,
    PLAN_COLUMNS,
    TRIP_COLUMNS,
    plan_record,
    plan_summary,
)
from flagstaff.rollouts.unguarded import unguarded_plans


def _list(_options: Options, out: Output) -> None:
    rows = uncached(Plan.objects.using(conf.database)).order_by("key")
    # What runs now comes first.
    plans_by_key = sorted(rows, key=lambda plan: plan.state not in WATCHED_STATES)
    if not plans_by_key:
        out.message("there is no rollout plan")
    unguarded = {plan.pk for plan in unguarded_plans()}
    records = [plan_summary(plan, unguarded=plan.pk in unguarded) for plan in plans_by_key]
    out.records(LIST_COLUMNS, records)


def _add_flag_key(parser: CommandParser) -> None:
    add_key(parser)


def _show(options: Options, out: Output) -> None:
    plan = plans.find_plan(options["key"])
    if plan is None:
        raise UnknownPlanError(plans.no_plan_text(options["key"]))
    record = plan_record(plan)
    out.record((*PLAN_COLUMNS, *(TRIP_COLUMNS if record["failed_at_trip"] else ())), record)
    if not out.is_json:
        out.line("")
        out.records(EVENT_COLUMNS, record["events"])


_READING = (
    Verb(
        name="list",
        help="list all rollout plans, those that run first",
        examples=("plan list", "plan list --json"),
        run=_list,
    ),
    Verb(
        name="show",
        help="show the plan of a flag, its evidence and its events",
        examples=("plan show new_checkout", "plan show new_checkout --json"),
        add_arguments=_add_flag_key,
        run=_show,
    ),
)
VERBS = (
    verb_group(
        PLAN,
        "show and change the rollout plans of flags",
        *_READING,
        *action_verbs(PLAN),
        topic=Topic.ROLLOUTS,
    ),
)
