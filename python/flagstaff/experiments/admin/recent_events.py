"""The events of experiments on the page of recent changes."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from flagstaff._extensions import EventQuery, OtherEvent
from flagstaff._words.message import localized
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.recent_changes.rows import filter_events, labelled
from flagstaff.conf import conf
from flagstaff.experiments.models import Experiment, ExperimentEvent


def recent_events(site: AdminSite, request: HttpRequest, query: EventQuery) -> list[OtherEvent]:
    """Returns the newest events, if the user may see them. One query."""
    if not may_view(site, request, Experiment):
        return []
    events = filter_events(ExperimentEvent.objects.using(conf.database).all(), "experiment", query)
    return [
        OtherEvent(
            at=event.at,
            key=event.experiment.key,
            url=page_url(site, Experiment, "change", event.experiment_id),
            text=labelled(str(ExperimentEvent.Kind(event.kind).label), localized(event.message)),
            actor=event.actor,
            reason=event.reason,
            is_creation=event.kind == ExperimentEvent.Kind.CREATED,
        )
        for event in events
    ]
