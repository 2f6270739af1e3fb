"""What the pages of flags and of recent changes show of rollout plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.db.models import Case, Model, Value, When
from django.forms import Media
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._extensions import EventQuery, OtherEvent
from flagstaff._words.message import localized
from flagstaff.admin.flag.list.facts import keep_planned
from flagstaff.admin.flag.parts.app_panels import AppPart
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.page import page_of_row
from flagstaff.admin.permissions import may
from flagstaff.admin.recent_changes.rows import filter_events, labelled
from flagstaff.conf import conf
from flagstaff.rollouts.admin.steps_svg import steps_chart
from flagstaff.rollouts.admin.texts import (
    present_percent,
    state_label,
    state_sentence,
    time_of,
    with_time,
)
from flagstaff.rollouts.admin.warnings import unguarded_label
from flagstaff.rollouts.models import ACTIVE_STATES, WATCHED_STATES, Plan, PlanEvent, State
from flagstaff.rollouts.unguarded import is_unguarded


@dataclass(frozen=True)
class _LastPlan:
    """The plan of the flag of a page."""

    plan: Plan | None


class FlagPlan(AppPart):
    """The rollout plan of a flag."""

    app_label = "flagstaff_rollouts"
    keeps_planned = True

    def media(self) -> Media:
        """The stylesheets of the panel."""
        return Media(css={"all": ("flagstaff/charts.css", "flagstaff/rollouts.css")})

    def notes(self, flags: Sequence[Any]) -> Mapping[str, SafeString]:
        """The state of the active plans of these flags. Makes one query."""
        if len(flags) == 1:
            plan = _plan_of(flags[0])
            is_active = plan is not None and plan.state in ACTIVE_STATES
            keep_planned(flags, {str(flags[0].pk)} if is_active else set())
            return {plan.flag_pk: _note(plan, time_of(plan))} if plan and is_active else {}
        active = Plan.objects.using(conf.database).filter(
            flag_pk__in=[str(flag.pk) for flag in flags], state__in=ACTIVE_STATES
        )
        notes = {plan.flag_pk: _note(plan, time_of(plan)) for plan in with_time(active)}
        keep_planned(flags, notes.keys())
        return notes

    def panel(self, request: HttpRequest, flag: Any) -> SafeString:
        """The plan of a flag, and links. Makes one query, and those of the permissions."""
        plan = _plan_of(flag)
        links = _links(self.admin.admin_site, request, flag, plan)
        if plan is None:
            return format_html(
                '<p class="flagstaff-line">{} {}</p>', _("There is no rollout plan."), links
            )
        now = time_of(plan)
        is_watched = plan.state in WATCHED_STATES
        hint = _("Another change of this flag pauses the plan.") if is_watched else ""
        warning = unguarded_label() if is_unguarded(plan, now) else ""
        return format_html(
            '<div class="flagstaff-panel"><p class="flagstaff-line">{} {} {}</p>{}'
            '<p class="flagstaff-line">{} {}</p></div>',
            *(
                state_label(plan),
                warning,
                state_sentence(plan, now),
                steps_chart(plan, now),
                hint,
                links,
            ),
        )


def _plan_of(flag: Model) -> Plan | None:
    """Returns the active plan of a flag, or else its last one. One query for a page."""
    page = page_of_row(flag)
    return (page.once(_LastPlan, partial(_read, flag)) if page else _read(flag)).plan


def _read(flag: Model) -> _LastPlan:
    is_active = When(state__in=ACTIVE_STATES, then=Value(0))
    of_flag = Plan.objects.using(conf.database).filter(flag_pk=str(flag.pk))
    ordered = with_time(of_flag).order_by(Case(is_active, default=Value(1)), "-id")
    return _LastPlan(ordered.first())


def _note(plan: Plan, now: datetime) -> SafeString:
    percent, label = present_percent(plan), State(plan.state).label
    text = (
        _("plan: %(state)s") % {"state": label}
        if percent is None
        else _("plan: %(percent)s %%, %(state)s") % {"percent": percent, "state": label}
    )
    if not is_unguarded(plan, now):
        return format_html("{}", text)
    return format_html("{} {}", text, unguarded_label())


def _links(
    site: AdminSite, request: HttpRequest, flag: Model, plan: Plan | None
) -> SafeString | str:
    if not may_view(site, request, Plan):
        return ""
    links = []
    if plan is not None:
        links.append((page_url(site, Plan, "change", plan.pk), _("Open the plan")))
    is_active = plan is not None and plan.state in ACTIVE_STATES
    if not is_active and may(site, request, "toggle", flag):
        query = urlencode({"flag": getattr(flag, "key", "")})
        links.append((f"{page_url(site, Plan, 'add')}?{query}", _("Plan a rollout")))
    return format_html_join(" · ", '<a href="{}">{}</a>', links)


def recent_events(site: AdminSite, request: HttpRequest, query: EventQuery) -> list[OtherEvent]:
    """Returns the newest events, if the user may see them. One query."""
    if not may_view(site, request, Plan):
        return []
    events = filter_events(PlanEvent.objects.using(conf.database).all(), "plan", query)
    return [
        OtherEvent(
            at=event.at,
            key=event.plan.key,
            url=page_url(site, Plan, "change", event.plan_id),
            text=_text(event),
            actor=event.actor,
            is_creation=event.kind == PlanEvent.Kind.CREATED,
        )
        for event in events
    ]


def _text(event: PlanEvent) -> str:
    return labelled(str(PlanEvent.Kind(event.kind).label), localized(event.message))
