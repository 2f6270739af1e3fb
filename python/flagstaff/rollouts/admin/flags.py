"""What the list, the page and the questions of flags, the overview and the search show of plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db import connections
from django.db.models import Case, Q, Value, When
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._connection.vendor import is_postgresql
from flagstaff.admin.app_pages import AppPages, FlagNote, Level, OverviewLine
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.fallbacks import once
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.rights import may
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidPlanError
from flagstaff.rollouts.admin.texts import (
    attention_text,
    difference_text,
    plan_note,
    state_badge,
    state_name,
    state_sentence,
)
from flagstaff.rollouts.models import ACTIVE_STATES, WATCHED_STATES, Plan, PlanEvent, State


def _notes(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, FlagNote]:
    """Returns the state of active plans, and in red those that were stopped or are unguarded."""
    by_pk, notes = {str(flag.pk): flag for flag in flags}, {}
    for pk, plan in _plans_of(request, flags).items():
        flag = by_pk[pk]
        if text := attention_text(plan, flag):
            notes[pk] = FlagNote(text, is_alarm=True)
        elif plan.state in ACTIVE_STATES:
            notes[pk] = FlagNote(difference_text(plan, flag) or plan_note(plan))
    return notes


def _preview(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, PreviewRow]:
    """Returns what another change of flags does to their plans: one that runs is paused."""
    return {
        pk: PreviewRow(_("plan"), state_name(plan), str(State.PAUSED.label))
        for pk, plan in _plans_of(request, flags).items()
        if plan.state in WATCHED_STATES
    }


def _section(site: AdminSite, request: HttpRequest, flag: Any) -> SafeString:
    """Returns the state of the plan of a flag, and links."""
    plan = _plans_of(request, [flag]).get(str(flag.pk))
    links = []
    if plan is not None and may_view(site, request, Plan):
        links.append((page_url(site, Plan, "change", plan.pk), _("Open the plan")))
    if plan is None or plan.state not in ACTIVE_STATES:
        links += _add_links(site, request, flag)
    html = format_html_join(" · ", '<a href="{}">{}</a>', links)
    if plan is None:
        return format_html("<p>{} {}</p>", _("There is no rollout plan."), html)
    # The head of the page says where flag and plan differ.
    is_as_planned = plan.state in WATCHED_STATES and not difference_text(plan, flag)
    hint = _("Another change of this flag pauses the plan.") if is_as_planned else ""
    sentence = state_sentence(plan)
    return format_html("<p>{} {} {}</p><p>{}</p>", state_badge(plan), sentence, hint, html)


def _plans_of(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, Plan]:
    """Returns the active plan of each flag, or else its last one. One query for a request."""
    return once(request, "plans of flags", partial(_read, flags))


def _read(flags: Sequence[Any]) -> Mapping[str, Plan]:
    pks = {str(flag.pk) for flag in flags}
    every = Plan.objects.defer("salt")
    is_active = Case(When(state__in=ACTIVE_STATES, then=Value(0)), default=Value(1))
    if len(flags) == 1:
        newest = every.filter(flag_pk__in=pks).order_by(is_active, "-id")[:1]
    else:
        # A list shows no plan that has ended well. The others are few: fewer than its flags.
        newest = every.filter(_is_shown()).order_by(is_active, "-id")
    # The first one of each flag counts.
    return {one.flag_pk: one for one in reversed([*newest]) if one.flag_pk in pks}


def _is_shown() -> Q:
    """Selects the active plans, and those that ended and need attention."""
    ended = Plan.objects.needing_attention().order_by()
    return Q(state__in=ACTIVE_STATES) | Q(pk__in=ended.values("pk"))


def _add_links(site: AdminSite, request: HttpRequest, flag: Any) -> list[tuple[str, str]]:
    if not (may_view(site, request, Plan) and may(site, request, "toggle", flag)):
        return []
    return [(f"{page_url(site, Plan, 'add')}?{urlencode({'key': flag.key})}", _("Plan a rollout"))]


# The overview and the search.


def _overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns the lines, by key, if the user may see plans. Makes a query."""
    # On SQLite, no plan starts.
    if not may_view(site, request, Plan) or not is_postgresql(connections[conf.database]):
        return []
    shown = site.get_model_admin(Plan).get_queryset(request).filter(_is_shown())
    kind = str(Plan._meta.verbose_name)
    return [
        OverviewLine(plan.key, text, level, page_url(site, Plan, "change", plan.pk), label, kind)
        for plan in shown.exclude(state=State.PENDING).order_by("key", "pk")
        for level, label, text in _texts(plan)
    ]


def _texts(plan: Plan) -> Iterator[tuple[Level, SafeString, str]]:
    """Yields the level, the label and the text of each line of a plan."""
    label = state_badge(plan)
    try:
        text = state_sentence(plan)
    except InvalidPlanError:
        yield Level.PROBLEM, label, _("The steps of the plan are not valid.")
        return
    if plan.is_unguarded:
        warning = _("No guard can stop the rollout, because run-jobs does not watch the plan.")
        yield Level.PROBLEM, label, f"{warning} {text}"
    elif plan.has_tripped or plan.state == State.ROLLED_BACK:
        yield Level.PROBLEM, label, text
    else:
        # A person who has paused a plan knows it.
        is_as_planned = plan.state == State.RUNNING or not plan.reason_kind
        yield Level.RUNNING if is_as_planned else Level.NOTICE, label, text


def _describe(plan: Plan) -> tuple[SafeString, str]:
    return state_badge(plan), plan.reason


PAGES = AppPages(
    Plan,
    PlanEvent,
    "plan",
    _describe,
    _overview_lines,
    flag_notes=_notes,
    flag_preview=_preview,
    flag_section=_section,
)
