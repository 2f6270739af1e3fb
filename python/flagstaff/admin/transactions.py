"""What changed together with an event of the history, as a page tells it, and who may undo it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.exceptions import NotRegistered
from django.http import HttpRequest
from django.urls import reverse

from flagstaff._tables.rows import all_rows
from flagstaff.history import Event
from flagstaff.history.describe import describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_of
from flagstaff.history.transactions import Part, parts_beside
from flagstaff.history.users import names_of_users

__all__ = ["Beside", "beside", "in_words", "may_undo"]

_MOST_NAMED = 5


@dataclass(frozen=True)
class Beside:
    """What else the transaction of an event did."""

    #: Keys, each with the address of its history, or "" where there is none to be seen.
    named: tuple[tuple[str, str], ...]
    #: How many there are besides.
    more: int
    #: How many there are, the event's own included.
    count: int
    may_undo: bool


def beside(site: AdminSite, request: HttpRequest, events: Sequence[Event]) -> dict[int, Beside]:
    """By version, for those events that were not alone."""
    parts = parts_beside(events)
    return {
        event.version: _beside(site, request, event, parts[event.transaction_id])
        for event in events
        if len(parts[event.transaction_id]) > 1
    }


def may_undo(site: AdminSite, request: HttpRequest, parts: Sequence[Part]) -> bool:
    """Whether a person may do to each of them what an undo does; each row is looked at."""
    return all(_may(site, request, part, _row(part)) for part in parts)


def in_words(parts: Sequence[Part], *, names_users: bool) -> list[tuple[Part, str]]:
    """What was done to each of them."""
    told = []
    for part in parts:
        events = events_of(part.kind, part.pk, after=part.first - 1, before=part.last + 1)
        names = names_of_users(events) if names_users else None
        told.append((part, "; ".join(describe_change(event, names) for event in reversed(events))))
    return told


def _beside(site: AdminSite, request: HttpRequest, event: Event, parts: list[Part]) -> Beside:
    others = [part for part in parts if (part.kind.value, part.pk) != (event.kind, event.object_pk)]
    seen = {kind: _may_view(site, request, kind) for kind in Kind}
    shown = [part for part in others if seen[part.kind]][:_MOST_NAMED]
    named = tuple((part.key, _address(site, part)) for part in shown)
    # Of each row it is asked once the button is pressed.
    allowed = all(_may(site, request, part, None) for part in parts)
    return Beside(named, len(others) - len(named), len(parts), allowed)


def _may(site: AdminSite, request: HttpRequest, part: Part, row: Any) -> bool:
    admin = _admin(site, part.kind)
    if admin is None:
        return False
    if part.creates and not part.deletes:
        return bool(admin.has_delete_permission(request, row))
    if part.deletes and not part.creates:
        return bool(admin.has_add_permission(request))
    return bool(admin.has_change_permission(request, row))


def _row(part: Part) -> Any:
    return all_rows(part.kind.model).filter(pk=part.pk).first()


def _may_view(site: AdminSite, request: HttpRequest, kind: Kind) -> bool:
    admin = _admin(site, kind)
    return admin is not None and bool(admin.has_view_permission(request))


def _address(site: AdminSite, part: Part) -> str:
    """Of its history; what was deleted has no page."""
    if part.deletes:
        return ""
    meta = part.kind.model._meta
    name = f"{site.name}:{meta.app_label}_{meta.model_name}_history"
    return f"{reverse(name, args=[part.pk])}#version-{part.last}"


def _admin(site: AdminSite, kind: Kind) -> Any:
    try:
        return site.get_model_admin(kind.model)
    except NotRegistered:
        return None
