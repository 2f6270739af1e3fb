"""The verb `plan`: plan list, show, and the actions."""

from __future__ import annotations

from flagstaff._tables.rows import uncached
from flagstaff.cli.action_verbs import action_verbs
from flagstaff.cli.options import add_key
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, verb, verb_group
from flagstaff.exceptions import UnknownPlanError
from flagstaff.rollouts import plans
from flagstaff.rollouts.actions import PLAN
from flagstaff.rollouts.models import WATCHED_STATES, Plan
from flagstaff.rollouts.status import (
    EVENT_COLUMNS,
    LIST_COLUMNS,
    PLAN_COLUMNS,
    plan_record,
    plan_summary,
)
from flagstaff.rollouts.transitions import with_flags


@verb("plan list", "plan list --json")
def list_(_options: Options, out: Output) -> None:
    """List all rollout plans, those that run first."""
    rows = uncached(Plan.objects.order_by("key"))
    shown = sorted(with_flags(rows), key=lambda plan: plan.state not in WATCHED_STATES)
    out.records(LIST_COLUMNS, [*map(plan_summary, shown)], empty="there is no rollout plan")


@verb("plan show new_checkout", "plan show new_checkout --json", arguments=(add_key,))
def show(options: Options, out: Output) -> None:
    """Show the plan of a flag, its evidence and its events."""
    plan = plans.find_plan(options["key"])
    if plan is None:
        raise UnknownPlanError(plans.no_plan_text(options["key"]))
    record = plan_record(plan)
    out.record(PLAN_COLUMNS, record)
    if not out.is_json:
        out.line("")
        out.records(EVENT_COLUMNS, record["events"])


VERBS = (
    verb_group(
        PLAN,
        "show and change the rollout plans of flags",
        list_,
        show,
        *action_verbs(PLAN),
        topic=Topic.ROLLOUTS,
    ),
)
