"""The warnings at the top of a plan's page: the plan is unguarded, or the flag is off."""

from __future__ import annotations

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff._words.text import local_number
from flagstaff.admin.words import badge
from flagstaff.changes.changed import quoted_command
from flagstaff.rollouts.first_step import smallest_first_step, users_of_site
from flagstaff.rollouts.guards import guards_from_json, numbered
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.stored import steps_of
from flagstaff.rollouts.unguarded import driver_is_running, is_unguarded

_ALL = 100


def unguarded_label() -> SafeString:
    """Returns a label for lists."""
    return badge("unguarded", _("unguarded"))


def warnings_of(plan: Plan, flag: FlagRow | None, now: datetime) -> list[SafeString | str]:
    """Returns the warnings. Makes a query for a plan that has not started."""
    found: list[SafeString | str] = []
    if is_unguarded(plan, now):
        found.append(
            _run(
                _(
                    "Unguarded: run-jobs does not watch this plan, so no guard can stop the "
                    "rollout. Start {command}, or pause the plan."
                )
            )
        )
    elif plan.state in {State.PENDING, State.PAUSED} and not driver_is_running():
        found.append(
            _run(_("The plan cannot start, because run-jobs does not run. Start {command}."))
        )
    if flag is None and plan.state not in {State.DONE, State.ROLLED_BACK}:
        found.append(_("The flag no longer exists. Delete this plan."))
    elif flag is not None and not flag.enabled and plan.step is not None:
        if plan.state in {State.PAUSED, State.ROLLED_BACK}:
            found.append(
                _(
                    "The flag is off. To go on, set its rollout to 0 %, turn it on, and open this "
                    "page again."
                )
            )
        elif plan.state != State.DONE:
            found.append(_("The flag is off, so the rollout has no effect."))
    return found


def nothing_to_compare(plan: Plan, index: int) -> str:
    """Returns that guards cannot compare in any step from this index on; empty if they can."""
    steps = steps_of(plan)[index:]
    if any(step.percent < _ALL for step in steps) or not numbered(guards_from_json(plan.guards)):
        return ""
    return _(
        "At 100 % all users have the flag, so the guards cannot compare. Add a step below 100 %."
    )


def too_few_users(plan: Plan, flag: FlagRow, index: int) -> str:
    """Returns that the step at this index cannot reach the required users. Makes a query.

    Empty if it can, or if the users cannot be counted.
    """
    percent = steps_of(plan)[index].percent
    users = users_of_site(flag, _ALL * plan.required_users)
    if not users or percent >= smallest_first_step(users, plan.required_users):
        return ""
    text = _(
        "%(percent)s %% of %(users)s users are %(reached)s, fewer than the required %(required)s: "
        "this step can only pass if the guards rule out harm."
    )
    return text % {
        "percent": percent,
        "users": local_number(users),
        "reached": local_number(users * percent // _ALL),
        "required": local_number(plan.required_users),
    }


def _run(text: str) -> SafeString:
    command = quoted_command("run-jobs", "--loop").strip('"')
    return format_html(text, command=format_html("<code>{}</code>", command))
