"""The rows of the page: those of the history, with links and buttons, and those of other apps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Q, TextField, Value
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils.translation import gettext as _

from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.times import aware
from flagstaff.admin.app_pages import PAGES, AppPages
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.history.event_cells import EventRow, with_links
from flagstaff.admin.history.undo_buttons import may_of_kind, right_to_undo, rows_with_buttons
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.admin.recent_changes.filters import KIND_LABELS, Filters
from flagstaff.admin.recent_changes.urls import event_url, key_url
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Event


def rows_of(
    site: AdminSite, request: HttpRequest, events: Sequence[Event], back: str
) -> list[EventRow]:
    """Returns the rows of events. The number of queries does not depend on that of events."""
    existing = _existing(events)
    # Asked once for each kind and action: a project's own admin may query.
    ask = cache(partial(may_of_kind, site, request))

    def may_undo(event: Event) -> bool:
        is_deleted = (event.kind, event.object_pk) not in existing
        if is_deleted is not (event.action == "delete"):
            return False
        return ask(Kind(event.kind), right_to_undo(event))

    rows = rows_with_buttons(site, request, events, may_undo, back=back)
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
    return {pages.name: pages.label for pages in PAGES}


def other_rows(
    site: AdminSite, request: HttpRequest, filters: Filters, limit: int
) -> list[EventRow]:
    """Returns the newest events of the apps that meet the conditions, newest first. Few queries."""
    if filters.action == "delete":
        return []
    events: list[tuple[AppPages, Any]] = []
    for pages in PAGES:
        if filters.kind in {"", pages.name} and may_view(site, request, pages.model):
            problem = f"the app {pages.model._meta.app_label} cannot show its events"
            read = partial(_events, site, request, pages, filters, limit)
            found: list[Any] = value_or_default(problem, read, [])
            events += [(pages, event) for event in found]
    if filters.action:
        is_creation = filters.action == "create"
        events = [(of, one) for of, one in events if (one.kind == "created") is is_creation]
    actors = {event.actor for _pages, event in events if event.actor}
    names = actor_table().names(actors) if actors else {}
    rows = [
        EventRow(
            at=event.at,
            change=_labelled(event.get_kind_display(), event.message),
            actor=names.get(event.actor, event.actor) or _("not known"),
            source="",
            # Plans have none.
            reason=with_links(getattr(event, "reason", "")),
            key=row.key,
            url=page_url(site, pages.model, "change", row.pk),
            kind=pages.label,
        )
        for pages, event in events
        for row in [getattr(event, pages.name)]
    ]
    # Of two apps, one may have older events than the other has shown.
    return sorted(rows, key=lambda row: aware(row.at), reverse=True)[:limit]


def _events(
    site: AdminSite, request: HttpRequest, pages: AppPages, filters: Filters, limit: int
) -> list[Any]:
    """Returns the newest events of an app that meet the conditions. One query."""
    key_part = f"{pages.name}__key__icontains"
    conditions = {
        f"{pages.name}__key": filters.exact_key,
        key_part: filters.key_part or None,
        "at__gte": filters.since,
        "at__lt": filters.until,
        "actor__in": filters.actors,
    }
    events = all_rows(pages.events).filter(
        **{name: one for name, one in conditions.items() if one is not None}
    )
    if filters.text:
        events = events.filter(Q(**{key_part: filters.text}) | Q(actor__in=filters.text_actors))
    # The rows that their list shows.
    shown = site.get_model_admin(pages.model).get_queryset(request).order_by().values("pk")
    events = events.filter(**{f"{pages.name}__in": shown})
    return list(events.select_related(pages.name).order_by("-at", "-pk")[:limit])


def _labelled(kind: str, text: str) -> str:
    """Returns a text that begins with the kind of an event."""
    return text if text.casefold().startswith(kind.casefold()) else f"{kind}: {text}"
