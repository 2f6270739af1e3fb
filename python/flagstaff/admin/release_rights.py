"""The right to give a flag to users or to take it from them, beside the right to write a row."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from flagstaff.admin.flag_permissions import may
from flagstaff.admin.segment_plan import why_not_release
from flagstaff.changes import Changed
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.consequence import FlagState
from flagstaff.changes.segment_plan import changed_conditions, plan_segment
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind

__all__ = ["require_release"]


def require_release(
    site: AdminSite, request: HttpRequest, kind: Kind, changed: Changed, row: Any = None
) -> None:
    """Refuses a change, or the preview of one, if the user may not release the flags concerned.

    `row` is the row before or after the change, if there is one. Raises PermissionDenied, or
    InvalidChangeError with the flags that use a segment.
    """
    if kind is Kind.FLAG and _creates_for_users(changed):
        if not may(site, request, "toggle", row):
            raise PermissionDenied
    elif kind is Kind.SEGMENT and (conditions := changed_conditions(changed)):
        plan = plan_segment(changed.key, *conditions, timeout=0)
        if plan is not None and (why := why_not_release(site, request, plan)):
            raise InvalidChangeError(why)


def _creates_for_users(changed: Changed) -> bool:
    """Whether a flag is created that users have at once. A deletion checks the row."""
    if changed.field or changed.old is not None or changed.new is None:
        return False
    allowed = len(changed.new.get(ALLOWED) or ())
    return FlagState.of_fields(changed.new).reaches_users(lambda: allowed)
