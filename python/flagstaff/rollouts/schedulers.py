"""Who has scheduled the start of a plan, and whether this user may still release the flag."""

from __future__ import annotations

from typing import Any

from django.db import Error, transaction
from django.db.models import Value
from django.db.models.functions import Replace

from flagstaff._tables.rows import FlagRow
from flagstaff._tables.user_lookup import ACTS_AS, actor_table
from flagstaff._words.text import Text, marked
from flagstaff.actions.rights import may_later
from flagstaff.conf import conf
from flagstaff.models import Change
from flagstaff.rollouts.models import Plan, PlanEvent

_STARTED_BY_USER = marked("started: rollout {old} → {new} %; scheduled by user {user}")


def start_message(plan: Plan, old: int, new: int) -> Text:
    """Returns the message of a start at a time, with who scheduled it, if that is known.

    Users are named by their primary key, because the history keeps the text.
    """
    if plan.scheduled_by is not None:
        return Text(_STARTED_BY_USER, old=old, new=new, user=plan.scheduled_by)
    scheduled = PlanEvent.objects.using(conf.database).filter(
        plan_id=plan.pk, kind=PlanEvent.Kind.SCHEDULED
    )
    actor = scheduled.order_by("-id").values_list("actor", flat=True).first() or ""
    user = actor.rpartition(ACTS_AS)[2]
    if user and _is_user(user):
        return Text(_STARTED_BY_USER, old=old, new=new, user=user)
    if actor:
        return Text(
            "started: rollout {old} → {new} %; scheduled by {actor}",
            old=old,
            new=new,
            actor=" ".join(actor.split()),
        )
    return Text("started: rollout {old} → {new} %", old=old, new=new)


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
        return Text("run-jobs cannot read the user who scheduled it; start it yourself")
    if user is None:
        return Text("the user who scheduled it no longer exists; start it yourself")
    if may_later(user, "toggle", flag):
        return None
    return Text(
        "it is not certain that the user who scheduled it may still change or toggle the flag; "
        "start it yourself"
    )


def _is_user(actor: str) -> bool:
    try:
        with transaction.atomic(using=actor_table().database):
            return actor in actor_table().names([actor])
    except Error:
        # The role of run-jobs may not read users.
        return False


def forget_scheduler(pk: str) -> None:
    """Removes a deleted user from the plans that the user has scheduled, and from their texts.

    The event of the start and the history of the flag have the same text.
    """
    plans = Plan._base_manager.using(conf.database)
    # Not None: the start needs somebody who has the right.
    plans.filter(scheduled_by=pk).update(scheduled_by="")
    end = f"; scheduled by user {pk}"
    started = PlanEvent._base_manager.using(conf.database).filter(kind=PlanEvent.Kind.STARTED)
    history = Change._base_manager.using(conf.database).filter(source="plan")
    for rows, field in ((started, "message"), (history, "reason")):
        without_user = Replace(field, Value(end), Value("; scheduled by a deleted user"))
        rows.filter(**{f"{field}__endswith": end}).update(**{field: without_user})


def _user(pk: str) -> Any:
    """Returns the user, who may be inactive, or None."""
    table = actor_table()
    parsed = table.parse_canonical(pk)
    if parsed is None:
        return None
    return table.rows.filter(**{table.field.name: parsed}).first()
