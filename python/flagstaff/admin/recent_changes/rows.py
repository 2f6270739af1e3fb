"""The rows of the page: those of the history, with links and buttons, and those of other apps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, cast

from django.contrib.admin import AdminSite
from django.db.models import Model, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._extensions import EventQuery, OtherEvent, optional_apps
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.times import aware
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.history.event_cells import EventRow, with_links
from flagstaff.admin.history.undo_buttons import rows_with_buttons
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.recent_changes.filters import KIND_LABELS, Filters
from flagstaff.admin.recent_changes.urls import event_url, key_url
from flagstaff.admin.undo.permissions import may_write_kind, write_to_undo
from flagstaff.history import Event
from flagstaff.history.kinds import Kind

_NO_EVENTS: Sequence[OtherEvent] = ()


def rows_of(
    site: AdminSite, request: HttpRequest, events: Sequence[Event], back: str, *, are_newest: bool
) -> list[EventRow]:
    """Returns the rows of events. The number of queries does not depend on that of events.

    `are_newest`: no newer event of their rows is left out.
    """
    existing = _existing(events)
    # Asked once for each kind and action: a project's own admin may query.
    may_write = cache(partial(may_write_kind, site, request))

    def may_undo(event: Event) -> bool:
        is_deleted = (event.kind, event.object_pk) not in existing
        is_lost = event.action != "create" and any(one.secret for one in event.differences)
        if is_lost or is_deleted is not (event.action == "delete"):
            return False
        return may_write(Kind(event.kind), write_to_undo(event))

    rows = rows_with_buttons(site, request, events, may_undo, are_newest=are_newest, back=back)
    return [
        _with_key(site, event, row, is_deleted=(event.kind, event.object_pk) not in existing)
        for event, row in zip(events, rows, strict=True)
    ]


def _with_key(site: AdminSite, event: Event, row: EventRow, *, is_deleted: bool) -> EventRow:
    """Returns the row with the key, and the links to its page and its history."""
    kind, pk = Kind(event.kind), event.object_pk
    row = replace(
        row,
        kind="" if kind is Kind.FLAG else str(KIND_LABELS[kind]),
        key=event.key,
        is_deleted=is_deleted,
    )
    if is_deleted or admin_of(site, kind.model) is None:
        return replace(row, url=key_url(site, kind, event.key))
    return replace(
        row,
        url=page_url(site, kind.model, "change", pk),
        history_url=event_url(site, kind, pk, event.version),
    )


def _existing(events: Sequence[Event]) -> set[tuple[str, str]]:
    """The rows of these events that exist, by kind and the text of their primary key. One query."""
    found = []
    for kind in Kind:
        pks = {event.object_pk for event in events if event.kind == kind.value}
        # As texts: the type of the primary key may have changed since.
        rows = all_rows(kind.model).annotate(flagstaff_pk=Cast("pk", TextField())).order_by()
        found.append(
            rows.filter(flagstaff_pk__in=pks).values_list(Value(kind.value), "flagstaff_pk")
        )
    # The newest Django orders even a union by the fields of the model.
    return {*found[0].union(*found[1:], all=True).order_by()}


def other_kinds() -> dict[str, str]:
    """Returns the labels of the apps that have events, by name."""
    return dict(kind for app in optional_apps() if (kind := app.event_kind()) is not None)


def other_rows(
    site: AdminSite, request: HttpRequest, filters: Filters, query: EventQuery
) -> list[EventRow]:
    """Returns the newest events of the apps that meet the conditions, newest first. Few queries."""
    if filters.action == "delete":
        return []
    rows: list[tuple[str, OtherEvent]] = []
    for app in optional_apps():
        kind = app.event_kind()
        if kind is not None and filters.kind in {"", kind[0]}:
            show = partial(app.recent_events, site, request, query)
            problem = f"the app {app.label} cannot show its events"
            rows += [(kind[1], event) for event in value_or_default(problem, show, _NO_EVENTS)]
    if filters.action:
        is_creation = filters.action == "create"
        rows = [(label, one) for label, one in rows if one.is_creation is is_creation]
    actors = {event.actor for _label, event in rows if event.actor}
    names = actor_table().names(actors) if actors else {}
    found = [
        EventRow(
            at=event.at,
            change=event.text,
            actor=names.get(event.actor, event.actor) or _("not known"),
            source="",
            reason=with_links(event.reason),
            key=event.key,
            url=event.url,
            kind=label,
        )
        for label, event in rows
    ]
    # Of two apps, one may have older events than the other has shown.
    return sorted(found, key=lambda row: aware(row.at), reverse=True)[: query.limit]


def app_events(
    site: AdminSite, request: HttpRequest, model: type[Model], parent: str, query: EventQuery
) -> list[OtherEvent]:
    """Returns the newest events of an app, if the user may see them. One query.

    `model` is that of the events, and `parent` its field for the row with the key.
    """
    parent_model = cast("type[Model]", model._meta.get_field(parent).related_model)
    if not may_view(site, request, parent_model):
        return []
    return [
        OtherEvent(
            at=event.at,
            key=getattr(event, parent).key,
            url=page_url(site, parent_model, "change", getattr(event, parent).pk),
            text=_labelled(event.get_kind_display(), event.message),
            actor=event.actor,
            # Plans have none.
            reason=getattr(event, "reason", ""),
            is_creation=event.kind == "created",
        )
        for event in _selected(all_rows(model), parent, query)
    ]


def _selected(events: QuerySet[Any], parent: str, query: EventQuery) -> QuerySet[Any]:
    """The newest of these events that meet the conditions."""
    key_part = f"{parent}__key__icontains"
    conditions = {
        f"{parent}__key": query.key,
        key_part: query.key_part or None,
        "at__gte": query.since,
        "at__lt": query.until,
        "actor__in": query.actors,
    }
    events = events.filter(**{name: one for name, one in conditions.items() if one is not None})
    if query.text:
        events = events.filter(Q(**{key_part: query.text}) | Q(actor__in=query.text_actors))
    return events.select_related(parent).order_by("-at", "-pk")[: query.limit]


def _labelled(kind: str, text: str) -> str:
    """Returns a text that begins with the kind of an event."""
    return text if text.casefold().startswith(kind.casefold()) else f"{kind}: {text}"
