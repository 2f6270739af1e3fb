"""Which running plans no driver watches."""

from __future__ import annotations

from django.db import connections
from django.db.models import Q

from flagstaff.conf import conf
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import Plan, State

__all__ = ["unguarded_plans"]


def unguarded_plans() -> list[Plan]:
    """Returns the running and holding plans that no driver has watched for five minutes.

    That is so if run-jobs has stopped, and also if it fails for one plan. Makes a query, and
    returns none on other databases than PostgreSQL, where no plan starts.
    """
    if connections[conf.database].vendor != "postgresql":
        return []
    watched = Q(state__in=(State.RUNNING, State.HOLDING))
    is_over = Q(guarded_until=None) | Q(guarded_until__lt=ClockTimestamp())
    return list(Plan.objects.using(conf.database).filter(watched & is_over).order_by("key"))
