"""The warnings at the top of a plan's page: the plan is unguarded, or the flag is off."""

from __future__ import annotations

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._tables.rows import FlagRow
from flagstaff.changes.changed import quoted_command
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.unguarded import driver_is_running, is_unguarded


def unguarded_label() -> SafeString:
    """Returns a label for lists."""
    return format_html('<span class="flagstaff-state flagstaff-tripped">{}</span>', _("unguarded"))


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
    elif flag is not None and not flag.enabled and plan.state in {State.PENDING, State.PAUSED}:
        found.append(_("The plan cannot start, because the flag is off. Turn the flag on first."))
    elif flag is not None and not flag.enabled and plan.state != State.ROLLED_BACK:
        found.append(_("The flag is off, so the rollout has no effect."))
    return found


def _run(text: str) -> SafeString:
    command = quoted_command("run-jobs", "--loop").strip('"')
    return format_html(text, command=format_html("<code>{}</code>", command))
