"""The right to give a flag to users or to take it from them, beside the right to write a row."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.rows import all_rows
from flagstaff.admin.permissions import may
from flagstaff.admin.segment.plan import why_not_release
from flagstaff.changes import Changed
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.change_plan import plan_segment_changes
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind


def require_release(
    site: AdminSite, request: HttpRequest, changes: Iterable[tuple[Kind, Changed]]
) -> None:
    """Refuses changes, or the preview of them, if the user may not release the flags concerned.

    Raises PermissionDenied, or InvalidChangeError with the flags that use a segment.
    """
    changes_made = [*changes]
    created = [
        changed.key
        for kind, changed in changes_made
        if kind is Kind.FLAG and _creates_for_users(changed)
    ]
    for key in created:
        if not may(site, request, "toggle", all_rows(Kind.FLAG.model).filter(key=key).first()):
            raise PermissionDenied
    plan = plan_segment_changes(changes_made, timeout=0)
    if plan is not None and (why := why_not_release(site, request, plan)):
        raise InvalidChangeError(why)


def _creates_for_users(changed: Changed) -> bool:
    """Whether a flag is created that users have at once. A deletion checks the row."""
    if changed.field or changed.old is not None or changed.new is None:
        return False
    allowed = len(changed.new.get(ALLOWED) or ())
    return FlagState.of_fields(changed.new).reaches_users(lambda: allowed)
