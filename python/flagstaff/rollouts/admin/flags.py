"""What the list, the page and the questions of flags, the overview and the search show of plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import Case, Q, Value, When
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import capfirst

from flagstaff._text import say
from flagstaff.actions.look import Line
from flagstaff.admin.links import overview_line, page_url
from flagstaff.admin.parts import AppPages, Level, Note, OnFlag, OverviewLine
from flagstaff.admin.rights import may, may_view, once
from flagstaff.admin.words import badge
from flagstaff.rollouts.models import ACTIVE_STATES, WATCHED_STATES, Plan, PlanEvent, State
from flagstaff.rollouts.status import rollout_difference, state_name, state_sentence
from flagstaff.rollouts.transitions import with_flags


def _notes(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, Note]:
    """Returns the state of active plans, and of those that need attention."""
    return {
        pk: Note(_note(plan), _level(plan))
        for pk, plan in _plans_of(request, flags).items()
        if plan.needs_attention or plan.state in ACTIVE_STATES
    }


def _note(plan: Plan) -> str:
    """Returns the state, and why it is so if somebody should look at the plan."""
    text = state_name(plan)[1]
    if plan.trip_reason:
        return say("{reason} (plan: {state})", reason=plan.trip_reason, state=text).local
    if plan.needs_attention or rollout_difference(plan):
        values = {"state": text, "reason": state_sentence(plan)}
        text = say("{state} — {reason}", **values).local
    return say("plan: {state}", state=text).local


def _preview(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, Line]:
    """Returns what another change of flags does to their plans: one that runs is paused.

    Of a plan that has tripped, returns why.
    """
    rows = {}
    for pk, plan in _plans_of(request, flags).items():
        now = str(State(plan.state).label)
        if plan.state in WATCHED_STATES:
            rows[pk] = Line(say("plan").local, now, str(State.PAUSED.label))
        elif plan.trip_reason:
            text = say("{state} — {reason}", state=now, reason=plan.trip_reason).local
            rows[pk] = Line(say("plan").local, text, text)
    return rows


def _on_flag(site: AdminSite, request: HttpRequest, flag: Any) -> OnFlag:
    """Returns the state of the plan of a flag, and the link that plans a rollout."""
    plan = _plans_of(request, [flag]).get(str(flag.pk))
    links = (
        _add_links(site, request, flag) if plan is None or plan.state not in ACTIVE_STATES else []
    )
    if plan is None:
        return OnFlag(links=links)
    hint = ""
    if plan.state in WATCHED_STATES:
        hint = say("Another change of this flag pauses the plan.").local
    sentence = state_sentence(plan)
    label = capfirst(Plan._meta.verbose_name)
    state = badge(*state_name(plan))
    text = format_html("<strong>{}</strong> {} {} {}", label, state, sentence, hint)
    may_open = may_view(site, request, Plan)
    link = (page_url(site, Plan, "change", plan.pk), say("Open the plan").local) if may_open else ()
    return OnFlag(Note(text, _level(plan), link), links)


def _plans_of(request: HttpRequest, flags: Sequence[Any]) -> Mapping[str, Plan]:
    """Returns the active plan of each flag, or else its last one. Few queries for a request."""
    return once(request, "plans of flags", partial(_read, flags))


def _read(flags: Sequence[Any]) -> Mapping[str, Plan]:
    pks = {str(flag.pk) for flag in flags}
    plans = Plan.objects.defer("salt")
    is_active = Case(When(state__in=ACTIVE_STATES, then=Value(0)), default=Value(1))
    if len(flags) == 1:
        newest = plans.filter(flag_pk__in=pks).order_by(is_active, "-id")[:1]
    else:
        # A list shows no plan that has ended well. The others are few: fewer than its flags.
        newest = plans.filter(_is_shown()).order_by(is_active, "-id")
    # The first one of each flag counts.
    first = {plan.flag_pk: plan for plan in reversed([*newest]) if plan.flag_pk in pks}
    return {plan.flag_pk: plan for plan in with_flags(first.values())}


def _is_shown() -> Q:
    """Selects the active plans, and those that ended and need attention."""
    ended = Plan.objects.needing_attention().order_by()
    return Q(state__in=ACTIVE_STATES) | Q(pk__in=ended.values("pk"))


def _add_links(site: AdminSite, request: HttpRequest, flag: Any) -> list[tuple[str, str]]:
    if not (may_view(site, request, Plan) and may(site, request, "toggle", flag)):
        return []
    return [
        (
            f"{page_url(site, Plan, 'add')}?{urlencode({'key': flag.key})}",
            say("Plan a rollout…").local,
        )
    ]


# The overview and the search.


def _overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns the lines, by key."""
    shown = site.get_model_admin(Plan).get_queryset(request).filter(_is_shown())
    return [
        overview_line(site, plan, state_sentence(plan), _level(plan), badge(*state_name(plan)))
        for plan in with_flags(shown.exclude(state=State.PENDING).order_by("key", "pk"))
    ]


def _level(plan: Plan) -> Level:
    if plan.is_unguarded or plan.trip_reason:
        return Level.PROBLEM
    is_over = plan.state == State.ROLLED_BACK
    return Level.NOTICE if plan.needs_attention or is_over else Level.RUNNING


def _describe(plans: Sequence[Plan]) -> list[tuple[str, str]]:
    return [(badge(*state_name(plan)), state_sentence(plan)) for plan in with_flags(plans)]


PAGES = AppPages(
    Plan,
    PlanEvent,
    "plan",
    _describe,
    _overview_lines,
    flag_notes=_notes,
    flag_preview=_preview,
    on_flag=_on_flag,
)
