"""The rights that an undo, a restore and a save need, beside the right to write the row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from django.contrib.admin import AdminSite, ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.rows import all_rows
from flagstaff.admin.links import admin_of
from flagstaff.admin.permissions import TOGGLE_FIELDS, may, may_toggle
from flagstaff.admin.segment_uses import why_not_release
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import Changed
from flagstaff.changes.segment_use import uses_of_segments
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Event

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


def may_write_kind(site: AdminSite, request: HttpRequest, kind: Kind, write: Write) -> bool:
    """Whether the user may do this to rows of a kind. The page of an undo checks the row itself."""
    admin = admin_of(site, kind.model)
    if admin is None or not admin.has_view_permission(request):
        return False
    return may_write(admin, request, write)


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


def require_release(
    site: AdminSite, request: HttpRequest, changes: Iterable[tuple[Kind, Changed]]
) -> None:
    """Refuses changes, or the preview of them, if the user may not release the flags concerned.

    Raises PermissionDenied, or InvalidChangeError with the flags that use a segment.
    """
    found = [*changes]
    created = [one.key for kind, one in found if kind is Kind.FLAG and _creates_for_users(one)]
    for key in created:
        if not may(site, request, "toggle", all_rows(Kind.FLAG.model).filter(key=key).first()):
            raise PermissionDenied
    segments = {
        one.key
        for kind, one in found
        if kind is Kind.SEGMENT and any("conditions" in (side or ()) for side in (one.old, one.new))
    }
    uses = uses_of_segments(segments) if segments else ()
    if why := why_not_release(site, request, segments, uses):
        raise InvalidChangeError(why)


def _creates_for_users(changed: Changed) -> bool:
    """Whether a flag is created that users have at once. A deletion checks the row."""
    if changed.field or changed.old is not None or changed.new is None:
        return False
    allowed = len(changed.new.get(ALLOWED) or ())
    return FlagState.of_fields(changed.new).reaches_users(lambda: allowed)
