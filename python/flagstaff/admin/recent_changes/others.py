"""Events of optional apps among the rows of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from django.contrib.admin import AdminSite
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._extensions import EventQuery, OptionalApp, OtherEvent, optional_apps
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.local_formats import local_time_text
from flagstaff._words.times import aware
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.history.event_cells import with_links
from flagstaff.admin.recent_changes.filters import Filters
from flagstaff.admin.recent_changes.rows import Row

_Event = TypeVar("_Event", bound=Model)

_NO_EVENTS: Sequence[OtherEvent] = ()


def other_kinds() -> dict[str, str]:
    """Returns the labels of the apps that have events, by name."""
    return dict(kind for app in optional_apps() if (kind := app.event_kind()) is not None)


def other_rows(  # noqa: PLR0913, PLR0917 (which events, for whom)
    site: AdminSite,
    request: HttpRequest,
    filters: Filters,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> list[Row]:
    """Returns the newest events of the apps between two times, newest first. Few queries."""
    if filters.action == "delete":
        return []
    query = replace(filters.event_query(since, until), limit=limit)
    rows: list[tuple[str, OtherEvent]] = []
    for app in optional_apps():
        kind = app.event_kind()
        if kind is not None and filters.kind in {"", kind[0]}:
            rows += [(kind[1], event) for event in _events(app, site, request, query)]
    if filters.action:
        is_creation = filters.action == "create"
        rows = [(label, event) for label, event in rows if event.is_creation is is_creation]
    actors = {event.actor for _label, event in rows if event.actor}
    names = actor_table().names(actors) if actors else {}
    event_rows = [_row(label, event, names.get(event.actor, event.actor)) for label, event in rows]
    # Of two apps, one may have older events than the other has shown.
    return sorted(event_rows, key=lambda row: aware(row.at), reverse=True)[:limit]


def filter_events(events: QuerySet[_Event], parent: str, query: EventQuery) -> QuerySet[_Event]:
    """Returns the newest of these events of an app. `parent` refers to the row with the key."""
    if query.key is not None:
        events = events.filter(**{f"{parent}__key": query.key})
    if query.key_part:
        events = events.filter(**{f"{parent}__key__icontains": query.key_part})
    if query.since is not None:
        events = events.filter(at__gte=aware(query.since))
    if query.until is not None:
        events = events.filter(at__lt=aware(query.until))
    if query.actors is not None:
        events = events.filter(actor__in=query.actors)
    return events.select_related(parent).order_by("-at", "-pk")[: query.limit]


def labelled(kind: str, text: str) -> str:
    """Returns a text that begins with the kind of an event."""
    return text if text.casefold().startswith(kind.casefold()) else f"{kind}: {text}"


def _events(
    app: OptionalApp, site: AdminSite, request: HttpRequest, query: EventQuery
) -> Sequence[OtherEvent]:
    show = partial(app.recent_events, site, request, query)
    return value_or_default(f"the app {app.label} cannot show its events", show, _NO_EVENTS)


def _row(kind: str, event: OtherEvent, actor: str) -> Row:
    return Row(
        at=event.at,
        time=local_time_text(event.at),
        kind=kind,
        key=event.key,
        url=event.url,
        is_deleted=False,
        change=event.text,
        actor=actor or _("not known"),
        source="",
        reason=with_links(event.reason),
    )
