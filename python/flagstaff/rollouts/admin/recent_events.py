"""The events of rollout plans on the page of recent changes."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from flagstaff._extensions import EventQuery, OtherEvent
from flagstaff._words.message import localized
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.recent_changes.others import filter_events, labelled
from flagstaff.conf import conf
from flagstaff.rollouts.models import Plan, PlanEvent


def recent_events(site: AdminSite, request: HttpRequest, wanted: EventQuery) -> list[OtherEvent]:
    """Returns the newest events, if the user may see them. One query."""
    if not may_view(site, request, Plan):
        return []
    found = filter_events(PlanEvent.objects.using(conf.database).all(), "plan", wanted)
    return [
        OtherEvent(
            at=event.at,
            key=event.plan.key,
            url=page_url(site, Plan, "change", event.plan_id),
            text=_text(event),
            actor=event.actor,
            is_creation=event.kind == PlanEvent.Kind.CREATED,
        )
        for event in found
    ]


def _text(event: PlanEvent) -> str:
    return labelled(str(PlanEvent.Kind(event.kind).label), localized(event.message))
