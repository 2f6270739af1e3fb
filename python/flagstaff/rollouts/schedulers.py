"""Who has scheduled the start of a plan, and whether this user may still release the flag."""

from __future__ import annotations

from typing import Any

from django.db import Error, transaction
from django.db.models import Value
from django.db.models.functions import Replace

from flagstaff._tables.rows import FlagRow
from flagstaff._tables.user_lookup import actor_table
from flagstaff.conf import conf
from flagstaff.models import Change
from flagstaff.rollouts.models import Plan, PlanEvent

# The ends of stored texts.
_STARTED = "; scheduled by user %(pk)s"
_REFUSED = (
    "user %(pk)s, who scheduled it, no longer has the permission to change or toggle the flag; "
    "start it yourself"
)
_DELETED = "the user who scheduled it no longer exists; start it yourself"


def scheduled_text(plan: Plan) -> str:
    """Returns who scheduled the start, as the end of the reason: empty if that is unknown.

    Users are named by their primary key, because the history keeps the text.
    """
    if plan.scheduled_by is not None:
        return _STARTED % {"pk": plan.scheduled_by}
    scheduled = PlanEvent.objects.using(conf.database).filter(
        plan_id=plan.pk, kind=PlanEvent.Kind.SCHEDULED
    )
    actor = scheduled.order_by("-id").values_list("actor", flat=True).first() or ""
    if actor and _is_user(actor):
        return _STARTED % {"pk": actor}
    return f"; scheduled by {' '.join(actor.split())}" if actor else ""


def problem_of_scheduler(plan: Plan, flag: FlagRow) -> str | None:
    """Returns that the user who scheduled the start has no right to it any more, or None.

    Code and commands are trusted.
    """
    if plan.scheduled_by is None:
        return None
    try:
        with transaction.atomic(using=actor_table().database):
            user = _user(plan.scheduled_by)
    except Error:
        return "run-jobs cannot read the user who scheduled it; start it yourself"
    if user is None:
        return _DELETED
    # Where users schedule plans, the admin is installed.
    from flagstaff.admin.flag_permissions import user_may_toggle  # noqa: PLC0415

    if user_may_toggle(user, flag):
        return None
    return _REFUSED % {"pk": plan.scheduled_by}


def _is_user(actor: str) -> bool:
    try:
        with transaction.atomic(using=actor_table().database):
            return actor in actor_table().names([actor])
    except Error:
        # The role of run-jobs may not read users.
        return False


def forget_scheduler(pk: str) -> None:
    """Removes a deleted user from the plans that the user has scheduled, and from their texts."""
    plans = Plan._base_manager.using(conf.database)
    # Not None: the start needs somebody who has the right.
    plans.filter(scheduled_by=pk).update(scheduled_by="")
    events = PlanEvent._base_manager.using(conf.database)
    history = Change._base_manager.using(conf.database).filter(source="plan")
    for rows, field in ((plans, "reason"), (events, "text"), (history, "reason")):
        for old, new in ((_STARTED, "; scheduled by a deleted user"), (_REFUSED, _DELETED)):
            text = old % {"pk": pk}
            found = rows.filter(**{f"{field}__endswith": text})
            found.update(**{field: Replace(field, Value(text), Value(new))})


def _user(pk: str) -> Any:
    """Returns the user, who may be inactive, or None."""
    table = actor_table()
    parsed = table.parse_canonical(pk)
    if parsed is None:
        return None
    return table.rows.filter(**{table.field.name: parsed}).first()
