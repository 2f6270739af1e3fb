"""Whether run-jobs watches the plans: the last run of a driver, and the plans without one."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connections
from django.db.models import Q

from flagstaff._connection.vendor import is_postgresql
from flagstaff.conf import conf
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import WATCHED_STATES, DriverRun, Plan

#: A plan is unguarded if no driver has run for this time.
GUARDED_FOR = timedelta(minutes=5)


def driver_is_running() -> bool:
    """Whether a driver has run in the last five minutes. Makes a query."""
    recent = DriverRun.objects.using(conf.database).filter(
        last_run_at__gte=ClockTimestamp() - GUARDED_FOR
    )
    return bool(recent.exists())


def is_unguarded(plan: Plan, now: datetime) -> bool:
    """Whether no driver has watched a running or holding plan for five minutes. Makes no query."""
    until = plan.guarded_until
    return plan.state in WATCHED_STATES and (until is None or until < now)


def unguarded_plans() -> list[Plan]:
    """Returns the plans that `is_unguarded` is true for. Makes a query.

    Returns none on SQLite, where no plan starts.
    """
    if not is_postgresql(connections[conf.database]):
        return []
    return list(Plan.objects.using(conf.database).filter(unguarded()).order_by("key"))


def unguarded() -> Q:
    """Returns the condition that selects the plans that `is_unguarded` is true for."""
    is_over = Q(guarded_until=None) | Q(guarded_until__lt=ClockTimestamp())
    return Q(state__in=WATCHED_STATES) & is_over
