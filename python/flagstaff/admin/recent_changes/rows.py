"""The rows of the page: one for each event, with links and the URLs of the undo pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from typing import TypeVar

from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff._extensions import EventQuery, OptionalApp, OtherEvent, optional_apps
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.local_formats import local_time_text
from flagstaff._words.times import aware
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.history.event_cells import event_cells, with_links
from flagstaff.admin.history.transactions import related_changes
from flagstaff.admin.links import admin_of, page_url
from flagstaff.admin.recent_changes.filters import KIND_LABELS, Filters
from flagstaff.admin.recent_changes.urls import key_url, undo_url
from flagstaff.admin.undo.permissions import Write, may_write, write_to_undo
from flagstaff.history import Event
from flagstaff.history.kinds import Kind

_Event = TypeVar("_Event", bound=Model)
_NO_EVENTS: Sequence[OtherEvent] = ()


@dataclass(frozen=True)
class Row:
    """An event as the page shows it."""

    at: datetime
    time: str
    kind: str
    key: str
    #: The page of the row, or the whole history of a deleted one.
    url: str
    is_deleted: bool
    change: str | SafeString
    actor: str
    source: str
    reason: str
    #: What a tooltip says about the actor.
    database_user: str = ""
    #: The version as a text; empty for events of optional apps.
    version: str = ""
    history_url: str = ""
    #: The other keys of the transaction.
    related: SafeString | str = ""
    undo_url: str = ""
    undo_label: str = ""
    undo_all_url: str = ""
    undo_all_label: str = ""


def rows_of(site: AdminSite, request: HttpRequest, events: Sequence[Event], back: str) -> list[Row]:
    """Returns the rows of events. The number of queries does not depend on that of events."""
    existing = _existing(events)
    related = related_changes(site, request, events, back)
    # Asked once for each kind and action: a project's own admin may query.
    may_write_kind = cache(partial(_may_write, site, request))
    rows = []
    for event, cells in zip(events, event_cells(request, events), strict=True):
        kind = Kind(event.kind)
        is_deleted = (event.kind, event.object_pk) not in existing
        has_page = admin_of(site, kind.model) is not None and not is_deleted
        together = related.get(event.version)
        is_possible = _is_undoable(event, is_deleted=is_deleted)
        may_undo = is_possible and may_write_kind(kind, write_to_undo(event))
        history = page_url(site, kind.model, "history", event.object_pk) if has_page else ""
        rows.append(
            Row(
                at=event.at,
                time=cells["time"],
                kind=str(KIND_LABELS[kind]),
                key=event.key,
                url=page_url(site, kind.model, "change", event.object_pk)
                if has_page
                else key_url(site, kind, event.key),
                is_deleted=is_deleted,
                change=cells["change"],
                actor=cells["actor"],
                source=cells["source"],
                reason=cells["reason"],
                database_user=event.session_user,
                version=str(event.version),
                history_url=f"{history}#version-{event.version}" if history else "",
                related=together.sentence if together else "",
                undo_url=undo_url(site, [event.version], back) if may_undo else "",
                undo_label=_("Bring back…") if event.action == "delete" else _("Undo…"),
                undo_all_url=together.undo_url if together else "",
                undo_all_label=f"{together.label}…" if together else "",
            )
        )
    return rows


def _existing(events: Sequence[Event]) -> set[tuple[str, str]]:
    """The rows of these events that exist, by kind and the text of their primary key."""
    existing: set[tuple[str, str]] = set()
    for kind in Kind:
        pks = {event.object_pk for event in events if event.kind == kind.value}
        readable = [pk for pk in pks if _is_readable(kind, pk)]
        if readable:
            rows = all_rows(kind.model).filter(pk__in=readable).order_by()
            existing |= {(kind.value, str(pk)) for pk in rows.values_list("pk", flat=True)}
    return existing


def _is_readable(kind: Kind, pk: str) -> bool:
    """Whether the table may have this primary key. Its type may have changed since."""
    try:
        kind.model._meta.pk.to_python(pk)
    except (ValidationError, ValueError):
        return False
    return True


def _is_undoable(event: Event, *, is_deleted: bool) -> bool:
    """Whether an event may be undone, if its row and the user allow it."""
    is_secret = any(difference.secret for difference in event.differences)
    is_lost = is_secret and event.action != "create"
    return not is_lost and is_deleted is (event.action == "delete")


def _may_write(site: AdminSite, request: HttpRequest, kind: Kind, write: Write) -> bool:
    """Whether the user may do this to rows of a kind. The page of an undo checks the row itself."""
    admin = admin_of(site, kind.model)
    return admin is not None and may_write(admin, request, write)


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
    wanted = replace(filters.event_query(since, until), limit=limit)
    rows: list[tuple[str, OtherEvent]] = []
    for app in optional_apps():
        kind = app.event_kind()
        if kind is not None and filters.kind in {"", kind[0]}:
            rows += [(kind[1], event) for event in _events(app, site, request, wanted)]
    if filters.action:
        is_creation = filters.action == "create"
        rows = [(label, one) for label, one in rows if one.is_creation is is_creation]
    actors = {event.actor for _label, event in rows if event.actor}
    names = actor_table().names(actors) if actors else {}
    found = [_row(label, event, names.get(event.actor, event.actor)) for label, event in rows]
    # Of two apps, one may have older events than the other has shown.
    return sorted(found, key=lambda row: aware(row.at), reverse=True)[:limit]


def filter_events(events: QuerySet[_Event], parent: str, wanted: EventQuery) -> QuerySet[_Event]:
    """Returns the newest of these events of an app. `parent` refers to the row with the key."""
    if wanted.key is not None:
        events = events.filter(**{f"{parent}__key": wanted.key})
    if wanted.key_part:
        events = events.filter(**{f"{parent}__key__icontains": wanted.key_part})
    if wanted.since is not None:
        events = events.filter(at__gte=aware(wanted.since))
    if wanted.until is not None:
        events = events.filter(at__lt=aware(wanted.until))
    if wanted.actors is not None:
        events = events.filter(actor__in=wanted.actors)
    return events.select_related(parent).order_by("-at", "-pk")[: wanted.limit]


def labelled(kind: str, text: str) -> str:
    """Returns a text that begins with the kind of an event."""
    return text if text.casefold().startswith(kind.casefold()) else f"{kind}: {text}"


def _events(
    app: OptionalApp, site: AdminSite, request: HttpRequest, wanted: EventQuery
) -> Sequence[OtherEvent]:
    show = partial(app.recent_events, site, request, wanted)
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
