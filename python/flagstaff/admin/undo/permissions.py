"""The permission that an undo needs."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest

from flagstaff.admin.permissions import TOGGLE_FIELDS, may_toggle
from flagstaff.changes import Changed
from flagstaff.conf import conf
from flagstaff.history import Event

#: What an undo does to a row. "toggle" is a change of TOGGLE_FIELDS only.
Write: TypeAlias = Literal["add", "change", "toggle", "delete"]


def may_write(admin: ModelAdmin[Any], request: HttpRequest, write: Write, row: Any = None) -> bool:
    """Returns True if the user may do this to the row, or to rows at all.

    To undo a creation is to delete, to undo a deletion is to add. Users who may only toggle flags
    may undo what only toggles one.
    """
    if write == "add":
        return admin.has_add_permission(request)
    if write == "delete":
        return admin.has_delete_permission(request, row)
    if write == "toggle" and issubclass(admin.model, conf.flag_model):
        return may_toggle(admin, request, row)
    return admin.has_change_permission(request, row)


def write_of(changed: Changed) -> Write:
    """Returns what an undo has done to a row, or would do."""
    if changed.new is None:
        return "delete"
    if changed.old is None:
        return "add"
    return "toggle" if TOGGLE_FIELDS.issuperset(changed.new) else "change"


def write_to_undo(event: Event) -> Write:
    """Returns what an undo of an event would do to the row."""
    if event.action == "delete":
        return "add"
    if event.action == "create":
        return "delete"
    fields = {one.field for one in event.differences}
    has_users = bool(event.added.count or event.removed.count)
    return "toggle" if fields <= TOGGLE_FIELDS and not has_users else "change"
