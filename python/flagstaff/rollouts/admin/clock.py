"""Plans together with the time of the database's clock, in one query."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import Plan

_NAME = "flagstaff_now"


def with_time(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Returns the same plans. `time_of` gives the time at which each was read."""
    return plans.annotate(**{_NAME: ClockTimestamp()})


def time_of(plan: Plan) -> datetime:
    """Returns the time of the database's clock at which the plan was read."""
    now: datetime = vars(plan)[_NAME]
    return now
