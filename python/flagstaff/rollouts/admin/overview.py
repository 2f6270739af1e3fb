"""The rollout plans on the overview: those that run, and those that need attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.contrib.admin import AdminSite
from django.db import connections
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._connection.vendor import is_postgresql
from flagstaff._extensions import Level, OverviewLine
from flagstaff._tables.rows import all_rows, uncached
from flagstaff.admin.links import may_view, page_url
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts import messages
from flagstaff.rollouts.admin.texts import state_name, state_sentence, time_of, with_time
from flagstaff.rollouts.flag_changes import what_decides_about
from flagstaff.rollouts.models import Plan, State
from flagstaff.rollouts.unguarded import is_unguarded


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns the lines, by key, if the user may see plans. Makes up to three queries."""
    # On SQLite, no plan starts.
    if not may_view(site, request, Plan) or not is_postgresql(connections[conf.database]):
        return []
    plans = _plans()
    changed = _changed_since([plan for plan in plans if plan.state == State.ROLLED_BACK])
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
        for level, label, text in _texts(plan, time_of(plan))
    ]


def _plans() -> list[Plan]:
    """Returns the plans that have started, and the last ones of flags if they have tripped."""
    plans = Plan.objects.using(conf.database)
    newer = plans.filter(flag_pk=OuterRef("flag_pk"), pk__gt=OuterRef("pk"))
    has_tripped = Q(state=State.ROLLED_BACK, reason__code=messages.TRIPPED.code) & ~Exists(newer)
    wanted = plans.filter(
        Q(state__in=[State.RUNNING, State.HOLDING, State.PAUSED]) | has_tripped
    ).defer("salt")
    return list(with_time(uncached(wanted)).order_by("key", "pk"))


def _changed_since(plans: Sequence[Plan]) -> set[int]:
    """Returns those of the ended plans whose flags were changed or deleted since: somebody acted.

    Makes up to two queries.
    """
    if not plans:
        return set()
    flags = list(all_rows(conf.flag_model).filter(key__in=[plan.key for plan in plans]))
    decides = zip(flags, what_decides_about(flags), strict=True)
    present = {str(flag.pk): found for flag, found in decides}
    return {plan.pk for plan in plans if present.get(plan.flag_pk) != plan.seen_flag}


def _texts(plan: Plan, now: datetime) -> Iterator[tuple[Level, str, str]]:
    """Yields the level, the label and the text of each line of a plan."""
    try:
        text = state_sentence(plan, now)
    except InvalidPlanError:
        yield Level.PROBLEM, state_name(plan), _("The steps of the plan are not valid.")
        return
    if is_unguarded(plan, now):
        warning = _("No guard can stop the rollout, because run-jobs does not watch the plan.")
        yield Level.PROBLEM, _("unguarded"), warning
    if plan.has_tripped or plan.state == State.ROLLED_BACK:
        yield Level.PROBLEM, state_name(plan), text
    elif plan.state == State.RUNNING:
        yield Level.RUNNING, state_name(plan), text
    else:
        yield Level.NOTICE, state_name(plan), text
