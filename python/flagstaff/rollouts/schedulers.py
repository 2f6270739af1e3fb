"""Who has scheduled the start of a plan, and whether this user may still release the flag."""

from __future__ import annotations

from typing import Any

from flagstaff._tables.rows import FlagRow
from flagstaff._tables.user_lookup import actor_table
from flagstaff.conf import conf
from flagstaff.rollouts.models import Plan, PlanEvent

__all__ = ["problem_of_scheduler", "scheduler_of"]


def scheduler_of(plan: Plan) -> str:
    """Returns the actor who scheduled the start, such as "user 7" or "deploy"; "" if unknown.

    Users are named by their primary key, because the history keeps the text.
    """
    if plan.scheduled_by:
        return f"user {plan.scheduled_by}"
    scheduled = PlanEvent.objects.using(conf.database).filter(
        plan_id=plan.pk, kind=PlanEvent.Kind.SCHEDULED
    )
    actor = scheduled.order_by("-id").values_list("actor", flat=True).first() or ""
    is_user = bool(actor) and actor in actor_table().names([actor])
    return f"user {actor}" if is_user else " ".join(actor.split())


def problem_of_scheduler(plan: Plan, flag: FlagRow) -> str | None:
    """Returns that the user who scheduled the start has no right to it any more, or None.

    Code and commands are trusted.
    """
    if plan.scheduled_by is None:
        return None
    user = _user(plan.scheduled_by)
    if user is None:
        return "the user who scheduled it no longer exists; start it yourself"
    # Where users schedule plans, the admin is installed.
    from flagstaff.admin.flag_permissions import user_may_toggle  # noqa: PLC0415

    if user_may_toggle(user, flag):
        return None
    return (
        f"user {plan.scheduled_by}, who scheduled it, may neither change nor toggle the flag any "
        "more; start it yourself"
    )


def _user(pk: str) -> Any:
    """Returns the user, who may be inactive, or None."""
    table = actor_table()
    parsed = table.parse_canonical(pk)
    if parsed is None:
        return None
    return table.rows.filter(**{table.field.name: parsed}).first()
