"""What the core of flagstaff reads and calls of rollout plans."""

from __future__ import annotations

from collections.abc import Collection

from flagstaff._tables.database import db
from flagstaff._tables.user_lookup import forget_actor
from flagstaff.rollouts.models import Plan, PlanEvent


def forget_user(pk: str) -> None:
    """Removes a deleted user as the actor of plans and their events."""
    for model in (Plan, PlanEvent):
        forget_actor(model._base_manager.using(db.alias), pk)


def planned_flags() -> Collection[str]:
    """Returns the primary keys of flags with an active plan. Makes one query."""
    return list(Plan.objects.active().order_by().values_list("flag_pk", flat=True))
