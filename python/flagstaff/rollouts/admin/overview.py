"""The rollout plans on the overview: those that run, and those that need attention."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.contrib.admin import AdminSite
from django.db import connections
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._connection.vendor import is_postgresql
from flagstaff.admin.app_pages import AppPages, Level, OverviewLine
from flagstaff.admin.links import may_view, page_url
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.admin.flag_parts import FlagPlan
from flagstaff.rollouts.admin.roll_backs import People, people_of, state_sentences
from flagstaff.rollouts.admin.texts import search_texts, state_label, time_of
from flagstaff.rollouts.admin.warnings import unguarded_label
from flagstaff.rollouts.attention import (
    acted_on,
    needing_attention,
    needs_attention,
    rolled_back_by_person,
)
from flagstaff.rollouts.clock import ClockTimestamp
from flagstaff.rollouts.models import Plan, PlanEvent, State
from flagstaff.rollouts.unguarded import is_unguarded

_DAY = timedelta(days=1)


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns the lines, by key, if the user may see plans. Makes up to five queries."""
    # On SQLite, no plan starts.
    if not may_view(site, request, Plan) or not is_postgresql(connections[conf.database]):
        return []
    plans = _plans(site.get_model_admin(Plan).get_queryset(request))
    changed, people = acted_on(plans), people_of(plans)
    return [
        OverviewLine(
            plan.key,
            text,
            level,
            page_url(site, Plan, "change", plan.pk),
            label,
            str(Plan._meta.verbose_name),
        )
        for plan in plans
        if plan.pk not in changed
        for level, label, text in _texts(plan, time_of(plan), people)
    ]


def _plans(plans: QuerySet[Plan]) -> list[Plan]:
    """Returns those that have started, and the last ones of flags if they were rolled back.

    A roll back by a person is shown for a day, one by a guard until somebody acts.
    """
    has_started = Q(state__in=[State.RUNNING, State.HOLDING, State.PAUSED])
    has_tripped = Q(pk__in=needing_attention(plans).order_by().values("pk"))
    by_person = rolled_back_by_person(plans.filter(ended_at__gt=ClockTimestamp() - _DAY))
    is_recent = Q(pk__in=by_person.order_by().values("pk"))
    return list(plans.filter(has_started | has_tripped | is_recent).order_by("key", "pk"))


def _texts(plan: Plan, now: datetime, people: People) -> Iterator[tuple[Level, str, str]]:
    """Yields the level, the label and the text of each line of a plan."""
    try:
        text = " ".join(state_sentences(plan, now, people))
    except InvalidPlanError:
        yield Level.PROBLEM, state_label(plan), _("The steps of the plan are not valid.")
        return
    if is_unguarded(plan, now):
        warning = _("No guard can stop the rollout, because run-jobs does not watch the plan.")
        yield Level.PROBLEM, unguarded_label(), warning
    is_rolled_back = plan.state == State.ROLLED_BACK and needs_attention(plan)
    if plan.has_tripped or is_rolled_back:
        yield Level.PROBLEM, state_label(plan), text
    elif plan.state == State.RUNNING or not needs_attention(plan):
        # A person who has paused a plan, or rolled it back, knows it.
        yield Level.RUNNING, state_label(plan), text
    else:
        yield Level.NOTICE, state_label(plan), text


PAGES = AppPages(Plan, PlanEvent, "plan", search_texts, overview_lines, FlagPlan)
